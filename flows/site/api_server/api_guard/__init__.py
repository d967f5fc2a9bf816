"""The door of Prefect's API and UI: who may pass, by what name and from what page, and with what in a body."""

from flows.site.api_server.api_guard.answers import App
from flows.site.api_server.api_guard.credentials import Credentials
from flows.site.api_server.api_guard.guard import ApiGuard
from flows.site.api_server.api_guard.hosts import KnownHosts

__all__ = ["ApiGuard", "App", "Credentials", "KnownHosts"]
