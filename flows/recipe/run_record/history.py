"""What happened in a recipe run, from its logbook and its journal; also while they are being written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from blocks.errors import RecipeError, UnknownRecipeRun
from flows.recipe.drawing import RecipeGraph
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import read_journal
from flows.recipe.run_record.manifest import Logbook, read_logbook
from flows.recipe.run_record.progress import NodeRecord
from flows.recipe.run_record.replay import Delivery, Replay, replay
from flows.recipe.run_record.resumption import is_at_work


@dataclass(frozen=True)
class Fate:
    """What became of a message, in words, and when; `is_over` if nothing is left to be done."""

    words: str
    at: float | None = None
    is_over: bool = False


@dataclass(frozen=True)
class Attempt:
    """A process that carried the run out: `at`, `host`, `pid` and `user` of its begin; `at`, `state` of its end."""

    began: Mapping[str, Any]
    ended: Mapping[str, Any] | None


@dataclass(frozen=True)
class RunStory:
    """A recipe run as it stands.

    Parameters
    ----------
    logbook, recipe
        None before the recipe was filled, and if they can't be read.
    replayed
        The state of its messages.
    fates
        What became of each message, by number.
    complaints
        What can't be read of it.
    """

    folder: RunFolder
    logbook: Logbook | None
    recipe: Recipe | None
    replayed: Replay
    fates: Mapping[int, Fate]
    attempts: tuple[Attempt, ...]
    is_at_work: bool
    complaints: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """How it stands, in a line."""
        return _state(self.folder, self.logbook, self.is_at_work)

    def messages_of(self, node: int) -> list[Delivery]:
        """Return the messages that were sent to a node, in order."""
        return [delivery for delivery in self.replayed.all.values() if delivery.node == node]

    @cached_property
    def records(self) -> dict[int, NodeRecord]:
        """What each node did so far."""
        numbers = self.recipe.nodes if self.recipe else {delivery.node for delivery in self.replayed.all.values()}
        names = {number: node.name for number, node in RecipeGraph(self.recipe).nodes.items()} if self.recipe else {}
        return {number: self._record(number, names.get(number, "")) for number in sorted(numbers)}

    def _record(self, node: int, name: str) -> NodeRecord:
        state = self.replayed
        record = NodeRecord(node, f"{node} · {name}" if name else str(node), received=state.received(node))
        record.sent = Counter(state.sent.get(node, {}))
        record.retried = sum("error" in entry for delivery in self.messages_of(node) for entry in delivery.history)
        for reason in state.refused.get(node, {}).values():
            record.refuse(reason)
        if any(delivery.node == node for delivery in state.waiting.values()) or record.received:
            record.started = 0.0
        if state.ended:
            record.finished = 0.0
        return record


@dataclass(frozen=True)
class RunHeadline:
    """A recipe run in a line of a list."""

    recipe_run: str
    recipe: str
    dcid: int | None
    at: float
    state: str


def read_story(folder: RunFolder) -> RunStory:
    """Read what happened in a recipe run.

    Raises
    ------
    UnknownRecipeRun
        Its folder is gone.
    """
    if not folder.path.is_dir():
        raise UnknownRecipeRun(f"recipe run {folder.recipe_run} has no folder any more ({folder.path})")
    complaints: list[str] = []
    at_work = is_at_work(folder)
    logbook = _logbook(folder, complaints)
    entries = list(read_journal(folder.journal, complaints.append))
    try:
        state, fates = replay(entries), _fates(entries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        complaints.append(f"{folder.journal} can't be followed: {error!r}")
        state, fates = Replay(), {}
    recipe = None
    if logbook is not None:
        try:
            recipe = logbook.filled_recipe()
        except RecipeError as error:
            complaints.append(f"{folder.logbook}: the recipe in it can't be read: {error}")
    return RunStory(folder, logbook, recipe, state, fates, tuple(_attempts(entries)), at_work, tuple(complaints))


def latest_runs(runs: Path, count: int) -> list[RunHeadline]:
    """Return the recipe runs of a folder in which something happened last, newest first."""
    folders = []
    for path in runs.iterdir() if runs.is_dir() else ():
        try:
            folders.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # removed just now
            continue
    return [_headline(RunFolder(path), at) for at, path in sorted(folders, reverse=True)[:count]]


def _headline(folder: RunFolder, touched_at: float) -> RunHeadline:
    logbook = _logbook(folder, [])
    first: Mapping[str, Any] = next(read_journal(folder.journal, on_damage=lambda _: None), {})
    at = _mapping(first.get("began", first)).get("at", touched_at)
    state = _state(folder, logbook, is_at_work(folder))
    return RunHeadline(
        folder.recipe_run, logbook.recipe if logbook else "", logbook.dcid if logbook else None, at, state
    )


def _state(folder: RunFolder, logbook: Logbook | None, at_work: bool) -> str:
    if logbook is None:
        failure = f"failed before its recipe was filled (see `plaza logs {folder.recipe_run}`)"
        return "reads what its recipe asks for" if at_work else failure
    if logbook.ended and not at_work:
        return f"{logbook.ended.get('state')}: {logbook.ended.get('message')}"
    return "at work" if at_work else "not at work, and not at its end: its process was killed (see `plaza resume`)"


def _logbook(folder: RunFolder, complaints: list[str]) -> Logbook | None:
    try:
        return read_logbook(folder)
    except UnknownRecipeRun:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        complaints.append(f"{folder.logbook} can't be read: {error}")
        return None


def _attempts(entries: Iterable[Mapping[str, Any]]) -> Iterator[Attempt]:
    began = None
    for entry in entries:
        if "began" in entry:
            if began is not None:
                yield Attempt(began, None)
            began = _mapping(entry["began"])
        if "ended" in entry and began is not None:
            yield Attempt(began, _mapping(entry["ended"]))
            began = None
    if began is not None:
        yield Attempt(began, None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@dataclass
class _Fates:
    by_number: dict[int, Fate] = field(default_factory=dict)
    nodes: dict[int, int] = field(default_factory=dict)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Go on with an entry of the journal."""
        at = entry.get("at")
        if "repeated" in entry:
            for number, node in self.nodes.items():
                if node in entry["repeated"]:
                    self.by_number[number] = Fate("forgotten: its node began anew", at, is_over=True)
        for send in entry.get("sends", ()):
            for node, number, *due in send["to"]:
                self.nodes[number] = node
                self.by_number[number] = Fate("is delayed" if due and due[0] > time.time() else "waits")
                if (replaced := send.get("replaces", send.get("again"))) is not None:
                    self.by_number[replaced] = Fate(f"sent again as {number}", at, is_over=True)
        for number in entry.get("done", ()):
            self.by_number[number] = Fate("done", at, is_over=True)
        if "tried" in entry:
            self.by_number[entry["tried"]] = Fate("failed, will be tried again", at)
        if "refused" in entry:
            self.by_number[entry["refused"]] = Fate("refused", at)


def _fates(entries: Iterable[Mapping[str, Any]]) -> dict[int, Fate]:
    fates = _Fates()
    for entry in entries:
        fates.take(entry)
    return fates.by_number
