"""GDA notification: tell the beamline's control system (GDA) about each analysed image, by UDP.

At least once, as far as UDP arrives at all: an image is told again if the process was killed before that was noted.
GDA draws the same point once more.
"""

import asyncio
import socket
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from blocks.errors import MessageRefused, NodeRefused, PassingFault, PlazaError
from blocks.identifiers import Dcid
from blocks.validation_faults import describe
from tasks.host_addresses import HostAddresses
from tasks.step import Message, Retries, Send, StepContext, StepParameters, message_step

RETRIES = Retries(tries=3)  # some seconds: a point that comes later is of no use at the beamline
SILENT_HOST = "mx-control"  # a beamline without a listening GDA
UNKNOWN_HOST: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
"""What a name server says that knows better."""

_addresses = HostAddresses()


class GdaParameters(StepParameters):
    """Whom to tell."""

    dcid: Annotated[Dcid, Field(gt=0)]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]


class AnalysedImage(BaseModel):
    """What GDA hears about an image, of all that per-image analysis says."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    image: int = Field(validation_alias=AliasChoices("file-pattern-index", "file-number"))
    n_spots_total: int | float = 0  # None is refused: an image that wasn't analysed isn't one without spots
    n_spots_no_ice: int | float | None = 0
    estimated_d_min: int | float | None = 0
    total_intensity: int | float | None = 0

    def datagram(self, dcid: Dcid) -> bytes:
        """Return the message in GDA's words."""
        values = (self.n_spots_total, self.n_spots_no_ice or 0, self.estimated_d_min or 0, self.total_intensity or 0)
        return ":".join(map(str, ("PIA", dcid, self.image, *values))).encode("latin-1")


@message_step(queue="notify_gda", parameters=GdaParameters, retries=RETRIES)
async def notify_gda(parameters: GdaParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Send an image's quality indicators to GDA."""
    # Unknown placeholders stay in a recipe as they are.
    if "{" in parameters.host:
        raise NodeRefused(f"GDA's host is a placeholder that wasn't filled in: {parameters.host!r:.100}")
    datagram = _read(message).datagram(parameters.dcid)
    if parameters.host == SILENT_HOST:
        return []
    try:
        await send_datagram(parameters.host, parameters.port, datagram)
    except UnicodeError as error:
        raise NodeRefused(f"GDA's host {parameters.host!r:.100} is no name of a host: {error}") from error
    except OSError as error:
        raise _fault(error)(f"GDA at {parameters.host}:{parameters.port} can't be told: {error}") from error
    context.logger.debug("told GDA %r", datagram)
    return []


def _fault(error: OSError) -> type[PlazaError]:
    """Return what it means: a name server or the network may do its part a little later, or there's no such host."""
    if isinstance(error, socket.gaierror):
        if error.errno in UNKNOWN_HOST:
            return NodeRefused
        may_pass = error.errno in {socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY}
        return PassingFault if may_pass else MessageRefused
    return PassingFault if RETRIES.may_pass(error) else MessageRefused


async def send_datagram(host: str, port: int, datagram: bytes) -> None:
    """Send one UDP datagram.

    Raises
    ------
    OSError
        The host's name isn't known, or there's no way to it.
    """
    family, address = await _addresses.find(host, port)
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        await asyncio.get_running_loop().sock_sendto(sender, datagram, address)


def _read(message: Message) -> AnalysedImage:
    try:
        return AnalysedImage.model_validate(message.payload)
    except ValidationError as error:
        raise MessageRefused(
            "expected an image's analysis with file-number and n_spots_total; "
            f"seen {message.payload!r:.200} ({describe(error)})"
        ) from error
