"""How a recipe run ends: its state, what is wrong, and what an operator can do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.prefect_limits import state_message
from flows.recipe.language.recipe import Recipe, reachable
from flows.recipe.run_record.progress import NodeProgress
from tasks.step import ABORT


def final_state(progress: Mapping[int, NodeProgress], recipe: Recipe, run: str) -> State[None]:
    """Return the state in which a run ends.

    Parameters
    ----------
    progress
        How far each node has come, by its number.
    run
        Its id, by which commands name it.
    """
    nodes = progress.values()
    faults = [f"step {node.label}: {node.fault}" for node in nodes if node.fault]
    if faults:
        faults += _warnings(progress)
        return Failed(message=f"{state_message('; '.join(faults))} ({'; '.join(_ways_on(progress, recipe, run))})")
    done = sum(node.received > 0 for node in nodes)
    left = [f"; step {node.label} left {node.left} messages undone: {node.first_left}" for node in nodes if node.left]
    left += [f"; {way}" for way in (*_look_once_more(progress, recipe, run), *_warnings(progress))]
    return Completed(message=state_message(f"{done} step{'s' * (done != 1)} done{''.join(left)}"))


def _warnings(progress: Mapping[int, NodeProgress]) -> list[str]:
    """Say what somebody should look at though it's no fault of the run's."""
    return [f"step {node.label}: {warning}" for node in progress.values() for warning in node.notes.warnings()]


def _ways_on(progress: Mapping[int, NodeProgress], recipe: Recipe, run: str) -> Iterator[str]:
    """Say what an operator can do about messages that were refused, left undone, or never came."""
    nodes = progress.values()
    if any(node.refused for node in nodes):
        yield f"see `plaza dlq list --run {run}`"
    if any(node.left and not node.refused for node in nodes):
        yield f"what is left undone comes again when the run is taken up: `plaza resume {run}`"
    for node in nodes:
        if _is_done_in_vain(node):
            again = f"`plaza resume {run} --from {node.node}` has them come again"
            yield f"step {node.label} was done with {node.messages_done} messages before: {again}"
    yield from _look_once_more(progress, recipe, run)


def _look_once_more(progress: Mapping[int, NodeProgress], recipe: Recipe, run: str) -> Iterator[str]:
    """Say how what never came is looked for once more: what would bring it, such as a watcher, is done."""
    if begin := sorted({begin for node in progress.values() for begin in _beginnings(node, progress, recipe)}):
        commands = " or ".join(f"`plaza resume {run} --from {number}`" for number in begin)
        yield f"what didn't come is looked for once more by {commands}"


def _is_done_in_vain(node: NodeProgress) -> bool:
    """Tell whether a node called messages done that its missing answer needs."""
    has_answered = bool(node.sent.keys() - {ABORT})
    gave_up = node.gave_up or node.without_answer or (node.left and node.done_before and not has_answered)
    return bool(gave_up and node.messages_done)


def _beginnings(node: NodeProgress, progress: Mapping[int, NodeProgress], recipe: Recipe) -> list[int]:
    """Return where to begin anew for what never came to a node; none if some of it waits in the run."""
    if node.refused or not (node.without_answer or node.left):
        return []
    upstream = {other for other in recipe.nodes if other != node.node and node.node in reachable(recipe, [other])}
    if any(progress[other].refused or progress[other].left for other in upstream):
        return []
    return [start for start, _ in recipe.start if start in upstream]
