"""`plaza mimas …`: what would run, without running anything."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from flows.cli.mimas.decide import decide
from flows.cli.mimas.replay import replay
from flows.cli.mimas.show import show


class MimasGroup(TyperGroup):
    """Takes data collections, and options, in place of a command's name: shows what would run for them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before what isn't one.

        Raises
        ------
        typer.BadParameter
            The first is neither a command nor a data collection.
        """
        is_command = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        if not is_command:
            if not args[0].startswith("-") and not args[0][:1].isdigit():
                known = ", ".join(sorted(self.commands))
                raise typer.BadParameter(
                    f"{args[0]!r:.60} is neither a command nor the id of a data collection, a whole number; commands "
                    f"are: {known}",
                    ctx=ctx,
                )
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=MimasGroup,
    help="Say what Mimas would run, and why; nothing is run. `plaza mimas DCID…` says it of data collections in ISPyB.",
    no_args_is_help=True,
)
for _command in (show, decide, replay):
    app.command()(_command)
