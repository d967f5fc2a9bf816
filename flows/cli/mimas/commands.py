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
        """Put the command's name before what isn't one."""
        is_command = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        if not is_command and (args[0].startswith("-") or args[0][:1].isdigit()):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=MimasGroup,
    help="Say what Mimas would run, and why; nothing is run. `plaza mimas DCID…` says it of data collections in ISPyB.",
    no_args_is_help=True,
)
for _command in (show, decide, replay):
    app.command()(_command)
