"""Send what waits in the home's drop folder, once: `plaza pickup`, and the deployment pickup/live each minute.

The site's worker looks every second, too (`flows.events.drop_folder.delivery`); only one of them sends at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prefect import flow, get_run_logger
from pydantic import BaseModel, ConfigDict

from blocks.settings import get_settings
from flows.events.drop_folder.delivery import TRIES_IN_ORDER, Delivery
from flows.events.drop_folder.file import DropFile
from flows.events.drop_folder.folder import DropFolder, LockTaken
from flows.events.drop_folder.sender import StartedRun
from flows.events.sending import EventNotTaken, MimasUnreachable

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 30.0  # with somebody else who sends


class PickedUp(BaseModel):
    """What was sent, and what still waits.

    Parameters
    ----------
    why
        Why something waits, if it's known.
    """

    model_config = ConfigDict(frozen=True)

    sent: int
    waiting: tuple[Path, ...]
    why: str = ""


async def pick_up(
    folder: DropFolder,
    on_sent: Callable[[DropFile, tuple[StartedRun, ...]], None] = lambda file, runs: None,
    patience_s: float = PATIENCE_S,
) -> PickedUp:
    """Send what waits in a drop folder, oldest first, each once; what can't be sent now stays.

    Parameters
    ----------
    on_sent
        Told of each as soon as it's sent.
    patience_s
        How long to wait while somebody else sends, in seconds.

    Raises
    ------
    OSError
        The folder can't be read or written.
    """
    sent = 0

    def count(file: DropFile, runs: tuple[StartedRun, ...]) -> None:
        nonlocal sent
        sent += 1
        on_sent(file, runs)

    if not folder.files():
        return PickedUp(sent=0, waiting=())
    delivery, why, is_to_go_on = Delivery(folder, count), "", True
    try:
        while is_to_go_on:
            async with folder.lock(patience_s):
                why = await _send(delivery)
            is_to_go_on = delivery.is_cut_short
    except LockTaken as error:
        why = str(error)
    waiting = tuple(folder.files())
    reasons = (str(delivery.why_waiting(path) or "") for path in waiting)
    return PickedUp(sent=sent, waiting=waiting, why=why or next(filter(None, reasons), ""))


async def _send(delivery: Delivery) -> str:
    """Send what waits; what is answered with an error is overtaken by the others. Return why something still waits."""
    why = ""
    for _ in range(TRIES_IN_ORDER):
        try:
            await delivery.send_waiting()
        except EventNotTaken as error:
            why = str(error)
        except MimasUnreachable as error:
            return str(error)
        except OSError:
            raise
        except Exception as error:  # whatever one file brings about
            logger.exception("one of those that wait can't be sent")
            why = repr(error)
        else:
            break
    return why


@flow(name="pickup", flow_run_name="pickup")
async def pickup() -> PickedUp:
    """Send what waits in the site's drop folder, oldest first, each once."""
    run_logger = get_run_logger()

    def tell(file: DropFile, runs: tuple[StartedRun, ...]) -> None:
        named = ", ".join(f"{run.recipe}: flow run {run.flow_run_id}, recipe ID {run.recipe_id}" for run in runs)
        run_logger.info("sent %s (%s): %s", file.content, file.path.name, named)

    picked = await pick_up(DropFolder.of(get_settings().home), tell, patience_s=0)
    if picked.waiting:
        run_logger.warning("%d file(s) still wait: %s", len(picked.waiting), picked.why or "they may be half written")
    return picked
