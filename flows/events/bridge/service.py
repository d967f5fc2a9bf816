"""The bridge as a resident: it finds the broker, serves it, and comes back to it whenever it was away."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Final

from blocks.broker_address import BrokerAddress
from blocks.errors import ConfigurationError, PrefectUnavailable
from blocks.retrying import Pauses, first_only, retry
from blocks.settings import Settings
from blocks.site_broker import NO_BROKER, find_broker
from flows.events.bridge.broadcasts import host_name
from flows.events.bridge.connection import BrokerUnavailable
from flows.events.bridge.intake import Site
from flows.events.bridge.journal import Journal
from flows.events.bridge.own_site import OwnSite
from flows.events.bridge.publishing import Publisher
from flows.events.bridge.session import Bridge, HomeUnavailable, Stopped
from flows.events.bridge.state import Tally
from flows.events.drop_folder.folder import DropFolder
from flows.resources import SiteResources

logger = logging.getLogger(__name__)

PAUSES: Final = Pauses(first_s=0.5, longest_s=10.0)
_LOOK_FOR_ADDRESS_S: Final = 10.0


async def serve(settings: Settings) -> None:
    """Run the bridge until SIGTERM, SIGINT or a command of Zocalo's."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tally = Tally(settings.home)
    address = await _find_address(settings, tally, stop)
    if address is None:
        return
    DropFolder.of(settings.home).make()
    async with SiteResources(settings) as resources:
        await serve_broker(address, OwnSite(resources), settings, tally, stop)


async def serve_broker(
    address: BrokerAddress, site: Site, settings: Settings, tally: Tally, stop: asyncio.Event
) -> None:
    """Serve a broker until the bridge is to end, through all the times that it's away."""
    tally.broker = str(address)
    journal = await retry(lambda: asyncio.to_thread(Journal.of, settings.home), OSError, PAUSES, tell=first_only(_tell))
    host = await asyncio.to_thread(host_name)
    bridge = Bridge(address, site, journal, tally, Publisher(settings.home, tally), host, stop)
    failures = 0
    while not stop.is_set():
        connections = tally.connections
        try:
            await bridge.serve()
        except Stopped:
            break
        except BrokerUnavailable as error:
            failures = 1 if tally.connections > connections else failures + 1
            if failures == 1:
                logger.warning("the broker %s is away; nothing is lost, it's tried again: %s", address, error)
            tally.note_error(f"the broker is away: {error}")
        except HomeUnavailable as error:
            failures += 1
            if failures == 1:
                logger.warning("%s; it's tried again", error)
            tally.note_error(str(error))
        except Exception as error:  # whatever the broker or a disk can bring about: the site goes on
            failures += 1
            logger.exception("the bridge begins anew")
            tally.note_error(repr(error))
        await asyncio.to_thread(tally.write)
        await _pause(PAUSES.after(max(1, failures)), stop)
    await asyncio.to_thread(tally.write)


async def _find_address(settings: Settings, tally: Tally, stop: asyncio.Event) -> BrokerAddress | None:
    """Look for the broker's address until there is one; None: the bridge is to end."""
    told = ""
    while not stop.is_set():
        try:
            address = await asyncio.to_thread(find_broker, settings)
            reason = "" if address is not None else NO_BROKER
        except (ConfigurationError, PrefectUnavailable) as error:
            address, reason = None, str(error)
        if address is not None:
            return address
        if reason != told:
            logger.error("%s", reason)
        told = reason
        tally.note_error(reason)
        await asyncio.to_thread(tally.write)
        await _pause(_LOOK_FOR_ADDRESS_S, stop)
    return None


def _tell(fault: BaseException, _pause_s: float) -> None:
    logger.warning("the bridge's folder in the home can't be used, it's tried again: %s", fault)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    """Wait for some time, or until the bridge is to end."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
