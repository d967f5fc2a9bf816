"""What deploying did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flows.display_text import one_line


@dataclass(frozen=True)
class Change:
    """What `deploy` did to one deployment or automation; the name is Prefect's, of a deployment FLOW/DEPLOYMENT."""

    name: str
    what: Literal["created", "updated", "unchanged", "removed", "refused"]
    reason: str = ""

    def __str__(self) -> str:
        return one_line(f"{self.what:9} {self.name}" + (f": {self.reason}" if self.reason else ""))
