"""What happened to a data collection, as Mimas is told and as a drop file says it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from blocks.broker_names import BrokerName
from flows.prefect_limits import DcidParameter, ExtraParameters, tag
from flows.run_marks import extras_that_count

EventKind = Literal["start", "end", "start-group", "end-group"]
KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
ID_CHARACTERS: Final = 200
"""Of a recipe ID and of a queue's name: both are told in runs' parameters and tags."""
_SENDER_CHARACTERS: Final = 200
_DATE: Final = re.compile(r"\s*[0-9]{4}-")


def _written_out(value: Any) -> Any:
    if isinstance(value, datetime | None) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError(f"expected a time in ISO 8601, seen {value!r:.60}")  # seconds since 1970 to pydantic, or ms?


def _kind(value: Any) -> Any:
    """Accept Zocalo's names in any case: START_GROUP."""
    return value.strip().lower().replace("_", "-") if isinstance(value, str) else value


def _text_or_none(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return None if value == "" else value


_Id = Annotated[
    str | None, Field(max_length=ID_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*$"), BeforeValidator(_text_or_none)
]
_Queue = Annotated[BrokerName | None, Field(max_length=ID_CHARACTERS), BeforeValidator(_text_or_none)]


class CollectionEvent(BaseModel):
    """An event of a data collection, which may come from a file that somebody else has written."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    event: Annotated[EventKind, BeforeValidator(_kind)] = Field(description="What happened")
    dcid: DcidParameter = Field(description="The data collection, by its id in ISPyB")
    parameters: ExtraParameters = Field({}, description="Parameters for the recipes; they win over what ISPyB says")
    guid: _Id = Field(
        None, description="The recipe ID that Mimas's run is to have; it makes the event another than one without it"
    )
    wait_for_run_status: bool = Field(
        False, description="Decide only when the beamline has said in ISPyB how the collection ended"
    )
    run_status_timeout: float = Field(120.0, ge=0, le=86400, description="Seconds to wait for that, a day at most")
    error_queue: _Queue = Field(None, description="A queue that is sent the event if that doesn't come in time")
    at: Annotated[AwareDatetime | None, BeforeValidator(_written_out)] = Field(
        None, description="When, in ISO 8601 with its time zone; without it the file's own time counts"
    )
    sender: str = Field("", alias="from", max_length=_SENDER_CHARACTERS, description="Who says so: host and program")

    @classmethod
    def now(
        cls, event: EventKind, dcid: int, parameters: dict[str, Any] | None = None, **others: Any
    ) -> CollectionEvent:
        """Return an event that this program tells now; the others are those of the model's fields that it has.

        Raises
        ------
        pydantic.ValidationError
            The dcid is none, or the parameters can't go through Prefect's API.
        """
        return cls.model_validate(
            {"event": event, "dcid": dcid, "parameters": parameters or {}, **others}
            | {"at": datetime.now(UTC), "from": this_sender()}
        )

    @property
    def key(self) -> str:
        """What the same event has in common, whoever tells it, whenever."""
        key = f"{self.dcid}-{self.event}"
        if extras := extras_that_count(self.parameters):
            key += f"-{_digest(extras)}"
        return f"{key}-guid-{_digest(self.guid)}" if self.guid else key

    @property
    def flow_parameters(self) -> dict[str, Any]:
        """What Mimas's flow is told, beside the event: those of its parameters that aren't as usual."""
        return {"dcid": self.dcid, **self.model_dump(exclude={"event", "dcid", "at", "sender"}, exclude_defaults=True)}

    @property
    def tags(self) -> list[str]:
        """What its run of Mimas is found by."""
        return [tag(f"dcid:{self.dcid}"), *([tag(f"guid:{self.guid}")] if self.guid else [])]

    def __str__(self) -> str:
        return f"{self.event} of data collection {self.dcid}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def this_sender() -> str:
    """Return who this program is: host and program."""
    program = Path(sys.argv[0]).name or "python"
    return f"{platform.node()} {program} ({os.getpid()})"[:_SENDER_CHARACTERS]
