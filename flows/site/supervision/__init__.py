"""supervisord, which keeps the site's services: its configuration, its process, and talking to it."""

from flows.site.supervision.control import (
    Service,
    ServiceFailed,
    ServiceState,
    SiteGoesDown,
    Supervisor,
    SupervisorAway,
    tail,
)

__all__ = ["Service", "ServiceFailed", "ServiceState", "SiteGoesDown", "Supervisor", "SupervisorAway", "tail"]
