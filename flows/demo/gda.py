"""A stand-in for the beamline's control computer: it is told of each image."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from blocks.identifiers import Dcid


@dataclass
class ControlComputer(asyncio.DatagramProtocol):
    """Keeps when it was told of which image: `received[(dcid, image)]` in seconds since the epoch."""

    received: dict[tuple[Dcid, int], float] = field(default_factory=dict)
    port: int = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Note an image: `PIA:<dcid>:<image>:…`."""
        # Zocalo's datagram, which GDA knows
        fields = data.decode("latin-1").split(":")
        if fields[0] == "PIA" and len(fields) >= 3:
            self.received[Dcid(int(fields[1])), int(fields[2])] = time.time()

    def images_of(self, dcid: Dcid) -> int:
        """Return how many images of a data collection it was told of."""
        return sum(known == dcid for known, _ in self.received)


async def listen() -> tuple[asyncio.DatagramTransport, ControlComputer]:
    """Listen on a free UDP port of this machine."""
    computer = ControlComputer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: computer, local_addr=("127.0.0.1", 0)
    )
    computer.port = transport.get_extra_info("sockname")[1]
    return transport, computer
