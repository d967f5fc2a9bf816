"""`plaza pickup`: send what waits in the home's drop folder, as `zocalo.pickup` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.events.drop_folder.file import DropFile
    from flows.events.drop_folder.sender import StartedRun

NOT_NEEDED = "As zocalo.pickup has it; not needed here."


def pickup(
    wait: Annotated[float, typer.Option("--wait", "-w", help=NOT_NEEDED, show_default=False)] = 0.0,
    delay: Annotated[float, typer.Option("--delay", "-d", help=NOT_NEEDED, show_default=False)] = 0.0,
) -> None:
    """Send the events and requests that wait in the home, oldest first, each once.

    What can't be sent now is kept: the exit status is 0 then, too.
    """
    import asyncio

    from blocks.settings import get_settings
    from flows.cli.events.site_of_events import use_site_of_events
    from flows.display_text import escaped
    from flows.events.drop_folder.folder import DropFolder

    folder = DropFolder.of(get_settings().home)
    if not folder.files():
        typer.echo(f"Nothing waits in {folder.path}.")
        return
    use_site_of_events()
    from flows.events.pickup import pick_up

    picked = asyncio.run(pick_up(folder, _tell))
    if picked.waiting:
        reason = picked.why or "they may be half written; `plaza event list` shows them"
        typer.echo(f"{len(picked.waiting)} file(s) still wait in {folder.path}: {escaped(reason)}")


def _tell(file: DropFile, runs: tuple[StartedRun, ...]) -> None:
    from flows.display_text import escaped

    named = ", ".join(f"{run.recipe} as flow run {run.flow_run_id}, recipe ID {run.recipe_id}" for run in runs)
    typer.echo(escaped(f"{file.path.name}: {named}"))
