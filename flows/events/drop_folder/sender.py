"""Send what drop files hold: events to Mimas, and what requests ask for to the recipes that they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from blocks.errors import ConfigurationError, DatabaseUnavailable, PassingFault, PlazaError, PrefectUnavailable
from flows.events.drop_folder.file import DroppedRequest
from flows.events.event import CollectionEvent
from flows.events.sending import EventNotTaken, MimasUnreachable, Sender, SendingRefused, told_as_ours
from flows.recipe.run_record.recipe_ids import recipe_id_of
from tasks.step.ports import FailedLaunch, Launch

if TYPE_CHECKING:
    from tasks.step.resources import Resources


@dataclass(frozen=True)
class StartedRun:
    """A flow run that an event or a request has made, or that it had made before.

    Parameters
    ----------
    recipe
        Its flow; `mimas` for an event.
    recipe_id
        Zocalo's guid of the run: the message's own, else the flow run's id.
    """

    recipe: str
    flow_run_id: UUID
    recipe_id: str


class DropSender:
    """Sends events and requests as long as the sender's client is open, each once by its mark."""

    def __init__(self, sender: Sender, resources: Resources) -> None:
        self._sender = sender
        self._resources = resources

    async def send(self, content: CollectionEvent | DroppedRequest, mark: str) -> tuple[StartedRun, ...]:
        """Have what is asked for run, and return the runs; sent again with the same mark, they are the same.

        Raises
        ------
        SendingRefused
            It can't be sent as it is, today or later.
        EventNotTaken, MimasUnreachable
            Prefect's server doesn't take it now.
        DatabaseUnavailable
            The recipe of a job is asked for, and ISPyB doesn't answer, or isn't where the settings say.
        """
        if isinstance(content, CollectionEvent):
            return (await self._tell(content, mark),)
        from flows.events.dispatching import dispatch

        with _told_as_ours():
            dispatched = await dispatch(content.message, mark, self._resources)
            # First: what is refused then leaves nothing half done
            launched = [await self._launch(launch) for launch in [dispatched.launch] if launch is not None]
            return (*launched, *[await self._tell(event, mark) for event in dispatched.events])

    async def _tell(self, event: CollectionEvent, mark: str) -> StartedRun:
        run = await self._sender.send(event, mark)
        return StartedRun("mimas", run, event.guid or str(run))

    async def _launch(self, launch: Launch) -> StartedRun:
        launcher = self._resources.launcher
        (launched,) = await launcher.launch([launch])
        if isinstance(launched, FailedLaunch):
            if launch.recipe not in await launcher.installed([launch.recipe]):
                raise EventNotTaken(
                    f"Prefect's server has no deployment {launch.recipe}/{launch.deployment}: make it with "
                    "`plaza deploy` (`plaza up` does so too)"
                )
            raise SendingRefused(f"{launch.recipe} can't be run: {launched.reason}")
        run = launched.flow_run_id
        return StartedRun(launch.recipe, run, recipe_id_of(launch.parameters, str(run)).text)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """Raise what asking and launching bring about as this module's errors; what nobody expects stays as it is."""
    from httpx import HTTPError

    try:
        yield
    except PrefectUnavailable as error:
        cause = error.__cause__
        with told_as_ours():
            raise cause if isinstance(cause, HTTPError) else MimasUnreachable(str(error)) from error
    except HTTPError:
        with told_as_ours():
            raise
    except (DatabaseUnavailable, MimasUnreachable, SendingRefused):
        raise
    except ConfigurationError as error:  # the site's, not the request's: an ISPyB that isn't mounted, or has moved
        raise DatabaseUnavailable(str(error)) from error
    except PassingFault as error:  # a recipe that isn't deployed yet
        raise EventNotTaken(str(error)) from error
    except PlazaError as error:  # a recipe, a job or an id that there is not
        raise SendingRefused(str(error)) from error
