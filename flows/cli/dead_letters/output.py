"""How dead letters look in a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from flows.cli.tables import print_table
from flows.display_text import moment, one_line, printable
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.selection import age_text, short_names

TITLES = ("id", "age", "recipe", "dcid", "step", "error")


def dead_letter_table(dead_letters: Sequence[DeadLetter]) -> None:
    """Print a line for each dead letter."""
    names = short_names(dead_letters)
    rows = [
        (
            names[dead_letter.name],
            age_text(time.time() - dead_letter.at),
            dead_letter.recipe,
            "" if dead_letter.dcid is None else str(dead_letter.dcid),
            f"{dead_letter.node} · {dead_letter.step}",
            _cause(dead_letter),
        )
        for dead_letter in dead_letters
    ]
    print_table(TITLES, rows, is_cut=True)


def _cause(dead_letter: DeadLetter) -> str:
    """Return the error in a line, after what else waits with it: a table cuts what is long."""
    first_line = dead_letter.error.partition("\n")[0]
    return f"({dead_letter.stands_for}) {first_line}" if dead_letter.stands_for else first_line


def dead_letter_text(dead_letter: DeadLetter) -> None:
    """Print all of a dead letter."""
    console = Console(highlight=False, soft_wrap=True)
    facts = {
        "dead letter": dead_letter.name,
        "recipe": dead_letter.recipe,
        "dcid": "none" if dead_letter.dcid is None else dead_letter.dcid,
        "recipe run": dead_letter.recipe_run,
        "message": dead_letter.number,
        "node": f"{dead_letter.node} · {dead_letter.step} (queue {dead_letter.queue})",
        "given up": f"{moment(dead_letter.at)} on {dead_letter.host}",
        "cause": dead_letter.error,
    }
    if dead_letter.stands_for:
        facts["stands for"] = f"others too: {dead_letter.stands_for}"
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<12}", "bold"), printable(str(value))))
    for title, content in (("payload", dead_letter.payload), ("environment", dict(dead_letter.environment))):
        console.print(Text(f"\n{title}", "bold"))
        console.print(Text(printable(json.dumps(content, indent=2, ensure_ascii=False))))
    console.print(Text("\nhistory", "bold"))
    for entry in dead_letter.history:
        action = f"{entry.done} by {entry.by}" if entry.done else str(entry.error)
        console.print(Text(f"{moment(entry.at)}  {one_line(action)}"))
    console.print(Text("\ntraceback", "bold"))
    console.print(Text(printable(dead_letter.traceback)))
