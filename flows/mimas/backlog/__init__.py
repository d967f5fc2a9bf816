"""Jobs that are held until there's room for them, kept on disk with what they are to be started with."""

from flows.mimas.backlog.held_job import HeldJob
from flows.mimas.backlog.store import Backlog

__all__ = ["Backlog", "HeldJob"]
