"""Whether a run would start on the site now: facts are gathered, and rules say what is in the way."""

from flows.site.health.site_status import SiteStatus, status

__all__ = ["SiteStatus", "status"]
