"""What a run knows of Plaza's own way: trusted, until a check of any of its nodes has found it to be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

from tasks.diffraction.dials_checks.differences import Difference, Differences
from tasks.step import BY_HAND, StepContext
from tasks.step.resources import Resources

DIFFERED: Final = "checked images differed from DIALS"
"""The note that warns of it: a run's record has it even where nothing else could be kept."""
KEPT_AGAIN_AFTER_S: Final = 10.0  # a full disk, say: what couldn't be kept is tried again


class Trust:
    """What the nodes of a run share in one process, and what is kept of it for later ones.

    Parameters
    ----------
    context
        Of the first node that asks.
    differences
        Where it's kept that Plaza's own way was wrong; None: nowhere, for a step that is run by hand.

    Attributes
    ----------
    distrust
        Why all images are to be DIALS's; None: they needn't be.
    own_way
        Images by Plaza's own way that no check has seen, by node: those are wrong, maybe, if it is.
    """

    def __init__(self, context: StepContext, differences: Differences | None) -> None:
        self.distrust: str | None = None
        self.own_way: dict[int | None, int] = {}
        self._run, self._logger, self._differences = context.recipe_run, context.logger, differences
        self._kept: Difference | None = None
        self._told: set[int | None] = set()
        self._ended: set[int | None] = set()
        self._unkept, self._kept_at = False, 0.0
        found = differences.of_run(self._run) if differences else None
        if found is not None and found.is_of_this_software:
            self._kept = found
            self._begin_distrust(found.image)
        elif found is None and DIFFERED in context.warned_before:
            self.distrust = "numbers of this run differed from DIALS's before"

    def join(self, node: int | None, own_way: int) -> None:
        """Take in a node, and how many of its images Plaza's own way did, unchecked, in earlier processes."""
        self.own_way[node] = own_way
        self._ended.discard(node)

    def leave(self, node: int | None) -> None:
        """Take in that a node has come to its end: others tell what may be wrong of it."""
        self._ended.add(node)

    def lose(self, image: str, make_difference: Callable[[dict[int, int]], Difference]) -> None:
        """Take in that a check found Plaza's own way wrong, for the first time in this run."""
        self._begin_distrust(image)
        of_nodes = {node: count for node, count in self.own_way.items() if node is not None and count}
        self._kept = make_difference(of_nodes)
        self._keep()

    def untold(self, node: int | None) -> dict[int | None, int]:
        """Return how many images may be wrong, of this node and of those at their end, that nobody has told of yet."""
        if self.distrust is None:
            return {}
        counts = {
            each: count
            for each, count in self.own_way.items()
            if count and each not in self._told and (each == node or each in self._ended)
        }
        self._told |= counts.keys()
        return counts

    def note_may_be_wrong(self, node: int | None, count: int) -> None:
        """Have it kept how many images of a node may be wrong."""
        if node is None or self._kept is None or self._kept.may_be_wrong.get(node, 0) == count:
            return
        of_nodes = {**self._kept.may_be_wrong, node: count}
        self._kept = replace(self._kept, may_be_wrong={each: some for each, some in of_nodes.items() if some})
        self._keep()

    def note_done_by_dials(self, node: int | None, count: int) -> None:
        """Take in that DIALS did all images of a node; none is wrong if they're as many as may be wrong."""
        if node is not None and self._kept is not None and count >= self._kept.may_be_wrong.get(node, 0):
            self.note_may_be_wrong(node, 0)

    def keep_what_was_not(self) -> None:
        """Try again to keep what couldn't be, now and then."""
        if self._unkept and time.monotonic() - self._kept_at >= KEPT_AGAIN_AFTER_S:
            self._keep()

    def _begin_distrust(self, image: str) -> None:
        self.distrust = f"the kernel's numbers differed from DIALS's on {image}"

    def _keep(self) -> None:
        if self._differences is None or self._kept is None:
            return
        was_told, self._kept_at = self._unkept, time.monotonic()
        try:
            self._differences.keep(self._kept)
            self._unkept = False
        except OSError as error:  # the run goes on, and says it itself
            self._unkept = True
            if not was_told:
                self._logger.error("`plaza status` won't tell of it, since that can't be kept: %s", error)


_trusts: WeakKeyDictionary[Resources, dict[str, Trust]] = WeakKeyDictionary()


def trust_of(context: StepContext, differences: Differences) -> Trust:
    """Return what the nodes of a run share: those of a run have the same resources, and these end with it."""
    if context.recipe_run == BY_HAND:
        return Trust(context, None)
    of_runs = _trusts.setdefault(context.resources, {})
    if context.recipe_run not in of_runs:
        of_runs[context.recipe_run] = Trust(context, differences)
    return of_runs[context.recipe_run]
