"""The rules that a command asks: those in force, or a file's that is tried out."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.errors import ConfigurationError
from flows.display_text import one_line

if TYPE_CHECKING:
    from flows.mimas.rules import RuleSet

RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="Try out this rule file, in the place of the site's.",
        show_default=False,
        exists=True,
        dir_okay=False,
    ),
]


def rules_to_ask(file: Path | None) -> RuleSet:
    """Return the rules in force, or those with a file in the place of the site's.

    Parameters
    ----------
    file
        Rules to try out; None: as the site has it.

    Raises
    ------
    ConfigurationError
        The file that is to be tried out can't be used as it is: nothing could be learnt.
    """
    from flows.mimas.rules import load_rules, rules_in_force

    with redirect_stdout(sys.stderr):  # of rule files, which may print: what is printed here is for programs
        rules = rules_in_force() if file is None else load_rules(file.absolute())
        if file is not None and (faults := [fault for fault in rules.faults if fault not in load_rules().faults]):
            raise ConfigurationError("; ".join(faults))
    for fault in (*rules.faults, *rules.oddities):
        warn(fault)
    return rules


def warn(what: str) -> None:
    """Tell people of something, beside what is printed for programs."""
    typer.echo(f"plaza: warning: {one_line(what)}", err=True)
