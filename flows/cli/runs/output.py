"""How recipe runs look in a terminal, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from msgspec import structs, to_builtins
from rich.console import Console, RenderableType
from rich.text import Text

from blocks.errors import UnknownRecipeRun
from flows.cli.tables import print_table
from flows.display_text import moment, one_line, shortened
from flows.recipe.drawing import draw_text
from flows.recipe.drawing.run_drawing import counts
from flows.recipe.drawing.run_page import flattened
from flows.recipe.run_record.children import Child
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.history import RunHeadline, RunHistory, message_status
from flows.recipe.run_record.manifest import Manifest, read_manifest
from flows.recipe.run_record.run_state import Attempt, Delivery

VALUE_CHARACTERS = 120
MESSAGE_KEYS = ("number", "node", "source", "payload", "environment", "sent_at", "due", "again", "is_void")


def print_headlines(runs: Sequence[RunHeadline]) -> None:
    """Print a line for each run."""
    if not runs:
        Console().print("No recipe has run so far.")
        return
    has_own = any(run.recipe_id != run.recipe_run for run in runs)
    print_table(
        ("recipe run", *["recipe ID"] * has_own, "recipe", "dcid", "began", "state"),
        (
            (
                run.recipe_run,
                *[run.recipe_id if run.recipe_id != run.recipe_run else ""] * has_own,
                run.recipe,
                "" if run.dcid is None else str(run.dcid),
                moment(run.at),
                shortened(one_line(run.state), VALUE_CHARACTERS),
            )
            for run in runs
        ),
    )


def as_document(history: RunHistory, nodes: Sequence[int], count: int | None) -> dict[str, Any]:
    """Return a run as a JSON document, with the messages of some nodes, or the first few of each."""
    return {
        "recipe_run": history.folder.recipe_run,
        "recipe_ID": history.recipe_id,
        "parent": history.manifest.parent if history.manifest else None,
        "children": [asdict(child) for child in history.children],
        "state": history.headline,
        "is_at_work": history.is_at_work,
        "folder": str(history.folder.path),
        "manifest": asdict(history.manifest) if history.manifest else None,
        "attempts": [_attempt_document(attempt) for attempt in history.state.attempts],
        "steps": [
            {
                "node": number,
                "step": progress.label.partition(" · ")[2],
                "state": progress.state,
                "received": progress.received,
                "sent": progress.sent,
                "refused": progress.refused,
                "left_undone": progress.left,
                "notes": [{**structs.asdict(note), "words": progress.notes.words(note)} for note in progress.notes],
                "fault": progress.fault,
            }
            for number, progress in history.progress.items()
        ],
        "messages": [_message_document(message) for node in nodes for message in history.messages_of(node)[:count]],
    }


class HistoryPrinter:
    """Prints a run.

    Parameters
    ----------
    is_cut
        Long values lose their middle.
    """

    def __init__(self, history: RunHistory, *, is_cut: bool) -> None:
        self._history, self._is_cut = history, is_cut
        self._console = Console(highlight=False, soft_wrap=True)

    def print(self, nodes: Sequence[int], count: int | None, *, only_messages: bool) -> None:
        """Print the run, with the messages of some nodes, at most `count` of each."""
        if not only_messages:
            self._print_head()
            if self._history.manifest is not None:
                self._print_parameters(self._history.manifest)
            self._print_recipe()
        for node in nodes:
            self._print_messages(node, count)

    def _print_head(self) -> None:
        history, manifest = self._history, self._history.manifest
        facts: list[tuple[str, object]] = [("recipe run", history.folder.recipe_run)]
        if history.recipe_id != history.folder.recipe_run:
            facts.append(("recipe ID", history.recipe_id))
        if manifest is not None:
            facts.append(("recipe", f"{manifest.recipe} for dcid {'none' if manifest.dcid is None else manifest.dcid}"))
        facts.append(("state", history.headline))
        facts += [(f"attempt {number}", _attempt(attempt)) for number, attempt in enumerate(history.state.attempts, 1)]
        if manifest is not None:
            facts += [("recipe file", manifest.file), ("its SHA-256", manifest.digest)]
            facts += [("changed", _change(change)) for change in manifest.changes]
            facts.append(("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())))
            if manifest.parent:
                facts.append(("started by", f"recipe run {_with_recipe_id(manifest.parent, history.folder)}"))
        facts += [("has started", _child(child)) for child in history.children]
        facts.append(("kept in", history.folder.path))
        for name, value in facts:
            self._console.print(Text.assemble((f"{name:<12} ", "bold"), one_line(str(value))))

    def _print_parameters(self, manifest: Manifest) -> None:
        read = {name: value for name, value in manifest.parameters.items() if name not in manifest.received}
        for title, parameters in (("received", manifest.received), ("read from ISPyB and the settings", read)):
            self._title(title)
            known = [(name, text) for name, text in flattened(parameters) if text != "null" or not self._is_cut]
            width = max((len(name) for name, _ in known), default=0)
            for name, text in known:
                self._line(Text.assemble((f"  {one_line(name):{width}}  ", "dim"), self._value(text)))
            if not known:
                self._line(Text("  nothing", "dim"))

    def _print_recipe(self) -> None:
        if self._history.recipe is None:
            return
        progress = self._history.progress
        self._title("recipe, filled in")
        states = {number: node.state for number, node in progress.items()}
        notes = {number: counts(node) for number, node in progress.items()}
        self._console.print(draw_text(self._history.recipe, states, notes), soft_wrap=False)
        if not self._is_cut and self._history.manifest is not None:
            self._line(Text(json.dumps(self._history.manifest.filled, indent=2, ensure_ascii=False)))

    def _print_messages(self, node: int, count: int | None) -> None:
        messages = self._history.messages_of(node)
        # "sent again as 12" is one kind, whatever the number
        states = Counter(message_status(message).words.partition(" as ")[0] for message in messages)
        progress = self._history.progress[node]
        summary = ", ".join(f"{number} {words}" for words, number in states.items()) or "no messages"
        self._title(f"{progress.label}: {summary}")
        for note in progress.notes:
            words = one_line(progress.notes.words(note))
            self._line(Text(f"  {words}", "bold yellow" if note.is_warning else "dim"))
        for reason in dict.fromkeys(entry.reason for entry in self._history.state.left[node].values()):
            self._line(Text(f"  left undone: {self._value(reason)}", "red"))
        if progress.without_answer:
            self._line(Text(f"  without an answer: {self._value(progress.without_answer)}", "red"))
        chosen = messages if count is None else self._choose(messages, count)
        width = max([5, *(len(str(message.number)) for message in chosen)])
        for message in chosen:
            self._print_message(message, width)
        if left_out := len(messages) - len(chosen):
            self._line(Text(f"  … and {left_out} more (see --messages, --step and --all)", "dim"))

    def _choose(self, messages: Sequence[Delivery], count: int) -> list[Delivery]:
        """Choose some messages, first of all those with which something is left to be done; in order."""
        by_need = sorted(messages, key=lambda message: message_status(message).is_over)
        return sorted(by_need[:count], key=lambda message: message.number)

    def _print_message(self, message: Delivery, width: int) -> None:
        status = message_status(message)
        source = f"from {message.source}" if message.source else "from the start"
        when = f" {moment(status.at)}" if status.at is not None else ""
        style = "green" if status.words == "done" else "red" if status.words == "refused" else "yellow"
        self._line(
            Text.assemble(
                f"  {message.number:>{width}}  {moment(message.sent_at)} {source}, ",
                (f"{status.words}{when}", style),
                (f", message {message.again} once more" if message.again != message.number else "", "dim"),
            )
        )
        indent = " " * (width + 4)
        self._line(Text(f"{indent}{self._value(_json(message.payload))}"))
        for entry in message.history:
            action = entry.error or f"{entry.done} by {entry.by}"
            self._line(Text(f"{indent}{moment(entry.at)} {self._value(action)}", "red"))

    def _value(self, text: str) -> str:
        return one_line(shortened(text, VALUE_CHARACTERS) if self._is_cut else text)

    def _title(self, text: str) -> None:
        self._line(Text(f"\n{one_line(text)}", "bold"))

    def _line(self, line: RenderableType) -> None:
        self._console.print(line)


def _with_recipe_id(recipe_run: str, beside: RunFolder) -> str:
    """Name another run of the same home, with its recipe ID if it has one of its own."""
    try:
        recipe_id = read_manifest(RunFolder(beside.path.with_name(recipe_run))).recipe_id
    except (UnknownRecipeRun, OSError, ValueError):
        return recipe_run
    return recipe_run if recipe_id in ("", recipe_run) else f"{recipe_run} (recipe ID {recipe_id})"


def _child(child: Child) -> str:
    own = f" (recipe ID {child.recipe_id})" if child.recipe_id != child.flow_run else ""
    by = "" if child.node is None else f", by node {child.node}"
    return f"{child.what}: flow run {child.flow_run}{own}{by}"


def _attempt(attempt: Attempt) -> str:
    began, ended = attempt.began, attempt.ended
    process = f"{moment(began.at)}, process {began.pid} of {began.user} on {began.host}"
    if ended is None:
        return f"{process}, no end so far"
    return f"{process}, {ended.at - began.at:.1f} s: {ended.state}"


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    ended = attempt.ended
    return {"began": structs.asdict(attempt.began), "ended": structs.asdict(ended) if ended else None}


def _message_document(message: Delivery) -> dict[str, Any]:
    document = {name: getattr(message, name) for name in MESSAGE_KEYS}
    return {**document, "history": to_builtins(message.history), "status": asdict(message_status(message))}


def _change(change: Mapping[str, Any]) -> str:
    action = f"node {change.get('node')}, {_json(change.get('parameters'))}"
    return f"{moment(change.get('at'))} by {change.get('by')}: {action}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
