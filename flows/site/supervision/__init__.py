"""supervisord, which keeps the site's services: its configuration, its process, and talking to it."""

from flows.site.supervision.control import Service, ServiceFailed, ServiceState, Supervisor, tail

__all__ = ["Service", "ServiceFailed", "ServiceState", "Supervisor", "tail"]
