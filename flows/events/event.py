"""What happened to a data collection, as Mimas is told and as a drop file says it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from flows.prefect_limits import DcidParameter, ExtraParameters

EventKind = Literal["start", "end"]
_SENDER_CHARACTERS: Final = 200
_DATE: Final = re.compile(r"\s*[0-9]{4}-")


def _written_out(value: Any) -> Any:
    if isinstance(value, datetime | None) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError(f"expected a time in ISO 8601, seen {value!r:.60}")  # seconds since 1970 to pydantic, or ms?


class CollectionEvent(BaseModel):
    """An event of a data collection, which may come from a file that somebody else has written."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    event: EventKind = Field(description="What happened")
    dcid: DcidParameter = Field(description="The data collection, by its id in ISPyB")
    parameters: ExtraParameters = Field({}, description="Parameters for the recipes; they win over what ISPyB says")
    at: Annotated[AwareDatetime | None, BeforeValidator(_written_out)] = Field(
        None, description="When, in ISO 8601 with its time zone; without it the file's own time counts"
    )
    sender: str = Field("", alias="from", max_length=_SENDER_CHARACTERS, description="Who says so: host and program")

    @classmethod
    def now(cls, event: EventKind, dcid: int, parameters: dict[str, Any] | None = None) -> CollectionEvent:
        """Return an event that this program tells now.

        Raises
        ------
        pydantic.ValidationError
            The dcid is none, or the parameters can't go through Prefect's API.
        """
        return cls.model_validate(
            {"event": event, "dcid": dcid, "parameters": parameters or {}, "at": datetime.now(UTC), "from": _sender()}
        )

    @property
    def key(self) -> str:
        """What the same event has in common, whoever tells it, whenever."""
        key = f"{self.dcid}-{self.event}"
        if not self.parameters:
            return key
        canonical = json.dumps(self.parameters, sort_keys=True).encode()
        return f"{key}-{hashlib.sha256(canonical).hexdigest()[:16]}"

    def __str__(self) -> str:
        return f"{self.event} of data collection {self.dcid}"


def _sender() -> str:
    program = Path(sys.argv[0]).name or "python"
    return f"{platform.node()} {program} ({os.getpid()})"[:_SENDER_CHARACTERS]
