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
    """Print a line for each letter."""
    names = short_names(dead_letters)
    rows = [
        (
            names[letter.name],
            age_text(time.time() - letter.at),
            letter.recipe,
            "" if letter.dcid is None else str(letter.dcid),
            f"{letter.node} · {letter.step}",
            letter.error.partition("\n")[0],
        )
        for letter in dead_letters
    ]
    print_table(TITLES, rows, is_cut=True)


def dead_letter_text(letter: DeadLetter) -> None:
    """Print all of a letter."""
    console = Console(highlight=False, soft_wrap=True)
    facts = {
        "dead letter": letter.name,
        "recipe": letter.recipe,
        "dcid": "none" if letter.dcid is None else letter.dcid,
        "recipe run": letter.recipe_run,
        "message": letter.number,
        "node": f"{letter.node} · {letter.step} (queue {letter.queue})",
        "given up": f"{moment(letter.at)} on {letter.host}",
        "cause": letter.error,
    }
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<12}", "bold"), printable(str(value))))
    for title, content in (("payload", letter.payload), ("environment", dict(letter.environment))):
        console.print(Text(f"\n{title}", "bold"))
        console.print(Text(printable(json.dumps(content, indent=2, ensure_ascii=False))))
    console.print(Text("\nhistory", "bold"))
    for entry in letter.history:
        deed = f"{entry.done} by {entry.by}" if entry.done else str(entry.error)
        console.print(Text(f"{moment(entry.at)}  {one_line(deed)}"))
    console.print(Text("\ntraceback", "bold"))
    console.print(Text(printable(letter.traceback)))
