"""How recipe runs look in a terminal, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from flows.cli.tables import print_table
from flows.display_text import moment, one_line
from flows.recipe.drawing import draw_text
from flows.recipe.drawing.run_drawing import counts
from flows.recipe.drawing.run_page import flattened, shortened
from flows.recipe.run_record.history import Attempt, RunHeadline, RunStory
from flows.recipe.run_record.manifest import Logbook
from flows.recipe.run_record.replay import Delivery

VALUE_CHARACTERS = 120


def print_headlines(runs: Sequence[RunHeadline]) -> None:
    """Print a line for each run."""
    if not runs:
        Console().print("No recipe has run so far.")
        return
    print_table(
        ("recipe run", "recipe", "dcid", "began", "state"),
        (
            (
                run.recipe_run,
                run.recipe,
                "" if run.dcid is None else str(run.dcid),
                moment(run.at),
                shortened(one_line(run.state), VALUE_CHARACTERS),
            )
            for run in runs
        ),
    )


def as_document(story: RunStory, nodes: Sequence[int], count: int | None) -> dict[str, Any]:
    """Return a run as a JSON document, with the messages of some nodes, or the first few of each."""
    return {
        "recipe_run": story.folder.recipe_run,
        "state": story.state,
        "is_at_work": story.is_at_work,
        "folder": str(story.folder.path),
        "logbook": asdict(story.logbook) if story.logbook else None,
        "attempts": [asdict(attempt) for attempt in story.attempts],
        "steps": [
            {
                "node": number,
                "step": record.label.partition(" · ")[2],
                "state": record.state,
                "received": record.received,
                "sent": record.sent,
                "refused": record.refused,
            }
            for number, record in story.records.items()
        ],
        "messages": [
            {**asdict(delivery), "fate": asdict(story.fates[delivery.number])}
            for node in nodes
            for delivery in story.messages_of(node)[:count]
        ],
    }


class StoryPrinter:
    """Prints a run.

    Parameters
    ----------
    is_cut
        Long values lose their middle.
    """

    def __init__(self, story: RunStory, *, is_cut: bool) -> None:
        self._story, self._is_cut = story, is_cut
        self._console = Console(highlight=False, soft_wrap=True)

    def print(self, nodes: Sequence[int], count: int | None, *, only_messages: bool) -> None:
        """Print the run, with the messages of some nodes, at most `count` of each."""
        if not only_messages:
            self._print_head()
            if self._story.logbook is not None:
                self._print_parameters(self._story.logbook)
            self._print_recipe()
        for node in nodes:
            self._print_messages(node, count)

    def _print_head(self) -> None:
        story, logbook = self._story, self._story.logbook
        facts: list[tuple[str, object]] = [("recipe run", story.folder.recipe_run)]
        if logbook is not None:
            facts.append(("recipe", f"{logbook.recipe} for dcid {'none' if logbook.dcid is None else logbook.dcid}"))
        facts.append(("state", story.state))
        facts += [(f"attempt {number}", _attempt(attempt)) for number, attempt in enumerate(story.attempts, 1)]
        if logbook is not None:
            facts += [("recipe file", logbook.file), ("its SHA-256", logbook.digest)]
            facts += [("changed", _change(change)) for change in logbook.changes]
            facts.append(("versions", ", ".join(f"{name} {version}" for name, version in logbook.versions.items())))
        facts.append(("kept in", story.folder.path))
        for name, value in facts:
            self._console.print(Text.assemble((f"{name:<12} ", "bold"), one_line(str(value))))

    def _print_parameters(self, logbook: Logbook) -> None:
        read = {name: value for name, value in logbook.parameters.items() if name not in logbook.received}
        for title, parameters in (("received", logbook.received), ("read from ISPyB and the settings", read)):
            self._title(title)
            known = [(name, text) for name, text in flattened(parameters) if text != "null" or not self._is_cut]
            width = max((len(name) for name, _ in known), default=0)
            for name, text in known:
                self._line(Text.assemble((f"  {one_line(name):{width}}  ", "dim"), self._value(text)))
            if not known:
                self._line(Text("  nothing", "dim"))

    def _print_recipe(self) -> None:
        if self._story.recipe is None:
            return
        records = self._story.records
        self._title("recipe, filled in")
        states = {number: record.state for number, record in records.items()}
        notes = {number: counts(record) for number, record in records.items()}
        self._console.print(draw_text(self._story.recipe, states, notes), soft_wrap=False)
        if not self._is_cut and self._story.logbook is not None:
            self._line(Text(json.dumps(self._story.logbook.filled, indent=2, ensure_ascii=False)))

    def _print_messages(self, node: int, count: int | None) -> None:
        messages = self._story.messages_of(node)
        fates = Counter(self._story.fates[message.number].words.partition(" as ")[0] for message in messages)
        label = self._story.records[node].label
        summary = ", ".join(f"{number} {words}" for words, number in fates.items()) or "no messages"
        self._title(f"{label}: {summary}")
        chosen = messages if count is None else self._choose(messages, count)
        width = max([5, *(len(str(message.number)) for message in chosen)])
        for message in chosen:
            self._print_message(message, width)
        if left_out := len(messages) - len(chosen):
            self._line(Text(f"  … and {left_out} more (see --messages, --step and --all)", "dim"))

    def _choose(self, messages: Sequence[Delivery], count: int) -> list[Delivery]:
        """Choose some messages, first of all those with which something is left to be done; in order."""
        by_need = sorted(messages, key=lambda message: self._story.fates[message.number].is_over)
        return sorted(by_need[:count], key=lambda message: message.number)

    def _print_message(self, message: Delivery, width: int) -> None:
        fate = self._story.fates[message.number]
        source = f"from {message.source}" if message.source else "from the start"
        when = f" {moment(fate.at)}" if fate.at is not None else ""
        style = "green" if fate.words == "done" else "red" if fate.words == "refused" else "yellow"
        self._line(
            Text.assemble(
                f"  {message.number:>{width}}  {moment(message.sent_at)} {source}, ",
                (f"{fate.words}{when}", style),
                (f", message {message.again} once more" if message.again != message.number else "", "dim"),
            )
        )
        indent = " " * (width + 4)
        self._line(Text(f"{indent}{self._value(_json(message.payload))}"))
        for entry in message.history:
            deed = entry.get("error") or f"{entry.get('done')} by {entry.get('by')}"
            self._line(Text(f"{indent}{moment(entry.get('at'))} {self._value(str(deed))}", "red"))

    def _value(self, text: str) -> str:
        return one_line(shortened(text, VALUE_CHARACTERS) if self._is_cut else text)

    def _title(self, text: str) -> None:
        self._line(Text(f"\n{one_line(text)}", "bold"))

    def _line(self, line: RenderableType) -> None:
        self._console.print(line)


def _attempt(attempt: Attempt) -> str:
    began, ended = attempt.began, attempt.ended
    process = f"{moment(began.get('at'))}, process {began.get('pid')} of {began.get('user')} on {began.get('host')}"
    if ended is None:
        return f"{process}, no end so far"
    try:
        seconds = f"{ended['at'] - began['at']:.1f} s"
    except (KeyError, TypeError):
        seconds = "?"
    return f"{process}, {seconds}: {ended.get('state')}"


def _change(change: Mapping[str, Any]) -> str:
    deed = f"node {change.get('node')}, {_json(change.get('parameters'))}"
    return f"{moment(change.get('at'))} by {change.get('by')}: {deed}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
