"""On whose behalf code runs: which recipe run, and which of its steps. Log lines carry it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from blocks.identifiers import Dcid


@dataclass(frozen=True, slots=True)
class StepIdentity:
    """A step of a recipe run; without node and step, the run as a whole.

    Parameters
    ----------
    recipe_run
        Its id: that of its flow run.
    recipe
        The recipe's name.
    dcid
        The data collection, if the run is for one.
    node
        The node's number in the recipe.
    step
        What the node's step does, as in `Step.name`.
    recipe_ID
        Zocalo's recipe ID, spelt as in its log lines: what the run's message called it, else the run's id.
    """

    recipe_run: str
    recipe: str
    dcid: Dcid | None = None
    node: int | None = None
    step: str | None = None
    recipe_ID: str = ""  # noqa: N815  # Zocalo's spelling, by which logs are searched

    def __post_init__(self) -> None:
        if not self.recipe_ID:
            object.__setattr__(self, "recipe_ID", self.recipe_run)

    def __str__(self) -> str:
        words = [self.recipe_run[:8], self.recipe]
        if self.dcid is not None:
            words.append(f"dcid {self.dcid}")
        if self.node is not None:
            words.append(f"{self.node} {self.step}")
        return " · ".join(words)


_current: ContextVar[StepIdentity | None] = ContextVar("step_identity", default=None)


def current_identity() -> StepIdentity | None:
    """Return on whose behalf this code runs; None outside of recipe runs."""
    return _current.get()


@contextmanager
def acting_for(identity: StepIdentity | None) -> Iterator[None]:
    """Let the code within run on somebody's behalf, with the asyncio tasks and `asyncio.to_thread` that it starts.

    Not around a `yield` of an async generator: what's set there is set for who asks the generator, too.
    """
    token = _current.set(identity)
    try:
        yield
    finally:
        _current.reset(token)
