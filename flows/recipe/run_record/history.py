"""What happened in a recipe run, from its manifest and its journal; also while they are being written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from blocks.errors import RecipeError, UnknownRecipeRun
from blocks.identifiers import Dcid
from flows.recipe.language.recipe import Recipe
from flows.recipe.run_record.activity import is_at_work
from flows.recipe.run_record.children import Child, read_children
from flows.recipe.run_record.entries import Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import read_journal
from flows.recipe.run_record.manifest import Manifest, read_manifest
from flows.recipe.run_record.progress import NodeProgress
from flows.recipe.run_record.run_state import Delivery, MessageState, RunState, replay
from tasks.step.registry import step_name


@dataclass(frozen=True)
class MessageStatus:
    """What became of a message, in words, and when; `is_over` if nothing is left to be done."""

    words: str
    at: float | None = None
    is_over: bool = False


@dataclass(frozen=True)
class RunHistory:
    """A recipe run as it stands.

    Parameters
    ----------
    manifest, recipe
        None before the recipe was filled, and if they can't be read.
    state
        What became of its messages.
    is_at_work
        Whether a process had it when it was read.
    headline
        How it stands, in a line.
    complaints
        What can't be read of it.
    """

    folder: RunFolder
    manifest: Manifest | None
    recipe: Recipe | None
    state: RunState
    is_at_work: bool
    headline: str
    complaints: tuple[str, ...] = ()

    def messages_of(self, node: int) -> list[Delivery]:
        """Return the messages that were sent to a node, in order."""
        return [delivery for delivery in self.state.all.values() if delivery.node == node]

    @property
    def recipe_id(self) -> str:
        """Zocalo's recipe ID: that of the run's message, else the run's id."""
        return (self.manifest.recipe_id if self.manifest else "") or self.folder.recipe_run

    @property
    def children(self) -> list[Child]:
        """The runs that its steps have started."""
        return read_children(self.folder)

    @cached_property
    def progress(self) -> Mapping[int, NodeProgress]:
        """What each node did so far, by number."""
        recipe_nodes = self.recipe.nodes if self.recipe else {}
        numbers = recipe_nodes or {delivery.node for delivery in self.state.all.values()}
        labels = {number: f"{number} · {step_name(number, node)}" for number, node in recipe_nodes.items()}
        return {number: self._progress(number, labels.get(number, str(number))) for number in sorted(numbers)}

    def _progress(self, node: int, label: str) -> NodeProgress:
        progress = NodeProgress(node, label)
        progress.restore(self.state)
        progress.without_answer = self.state.without_answer.get(node)
        for entry in self.state.left[node].values():
            progress.received += 1
            progress.leave_undone(1, entry.reason, is_heard=entry.is_heard)
        # The journal doesn't say when; that they're set is what the node's state goes by
        if progress.received or any(delivery.node == node for delivery in self.state.waiting.values()):
            progress.started = 0.0
        if self.state.ended:
            progress.finished = 0.0
        return progress


@dataclass(frozen=True)
class RunHeadline:
    """A recipe run in a line of a list; `at` is when it began, in seconds since the epoch, `recipe_id` Zocalo's."""

    recipe_run: str
    recipe: str
    dcid: Dcid | None
    at: float
    state: str
    recipe_id: str = ""


def message_status(message: Delivery) -> MessageStatus:
    """Say what became of a message."""
    state, words = message.state, message.state.value
    if state is MessageState.WAITING:
        return MessageStatus("is delayed" if message.due and message.due > time.time() else words)
    if state is MessageState.SENT_AGAIN:
        words = f"{words} as {message.sent_again_as}"
    is_over = state in {MessageState.DONE, MessageState.SENT_AGAIN, MessageState.FORGOTTEN}
    return MessageStatus(words, message.state_at, is_over)


def read_history(folder: RunFolder) -> RunHistory:
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
    manifest = _manifest(folder, complaints)
    state = replay(read_journal(folder.journal, complaints.append))
    recipe = None
    if manifest is not None:
        try:
            recipe = manifest.filled_recipe()
        except RecipeError as error:
            complaints.append(f"{folder.manifest}: the recipe in it can't be read: {error}")
    headline = _how_it_stands(folder, manifest, at_work, state.ended)
    return RunHistory(folder, manifest, recipe, state, at_work, headline, tuple(complaints))


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
    manifest = _manifest(folder, [])
    first = next(read_journal(folder.journal, on_damage=lambda _: None), None)
    return RunHeadline(
        folder.recipe_run,
        manifest.recipe if manifest else "",
        manifest.dcid if manifest else None,
        first.at if first else touched_at,
        _how_it_stands(folder, manifest, is_at_work(folder), _end_without_manifest(folder, manifest)),
        (manifest.recipe_id if manifest else "") or folder.recipe_run,
    )


def _end_without_manifest(folder: RunFolder, manifest: Manifest | None) -> Ended | None:
    return replay(read_journal(folder.journal, on_damage=lambda _: None)).ended if manifest is None else None


def _how_it_stands(folder: RunFolder, manifest: Manifest | None, at_work: bool, ended: Ended | None) -> str:
    if manifest is None:
        if ended and not at_work:  # from outside, while it read what its recipe asks for
            return f"{ended.state}: {ended.message}"
        failure = f"failed before its recipe was filled (see `plaza logs {folder.recipe_run}`)"
        return "reads what its recipe asks for" if at_work else failure
    if manifest.ended and not at_work:
        return f"{manifest.ended.get('state')}: {manifest.ended.get('message')}"
    return "at work" if at_work else "not at work, and not at its end: its process was killed (see `plaza resume`)"


def _manifest(folder: RunFolder, complaints: list[str]) -> Manifest | None:
    try:
        return read_manifest(folder)
    except UnknownRecipeRun:
        return None
    except (ValueError, RecursionError) as error:
        complaints.append(f"{folder.manifest} can't be read: {error}")
        return None
