"""What the recipe engine costs: per message, in memory, at a resume, and per run under Prefect.

    python -m tests.benchmarks.recipe_engine [messages|memory|resume|run …] [--count 50000] [--rounds 3]

messages    messages/s through three trivial steps of each kind, without and with journal and logs, and as a share of
            three bare tasks joined by `asyncio.Queue`s in the same round
memory      how much a process grows while a fast source sends a million messages to a slow sink
resume      seconds to take up a run that was killed when its journal held 100,000 messages
run         seconds that a run of five trivial steps takes on a real Prefect server, from its first line to its end
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import RunState, replay
from tasks.logs.run_log import run_log
from tasks.step import Send, Step, StepParameters, message_step, registry, stream_step
from tasks.step.identity import StepIdentity
from tasks.step.resources import Resources

TRIAL_STEPS = Path(__file__).parents[1] / "support" / "trial_steps"
MEGABYTE = 2**20


class Count(StepParameters):
    count: int


OUTPUT: dict[str, Any] = {"outputs": ("every",), "default_output": "every"}


@stream_step(queue="source", parameters=Count, **OUTPUT)
async def source(parameters, inbox, context):
    """Send what a file watcher does for each file."""
    async for message in inbox:
        for number in range(parameters.count):
            yield Send({"file": "/dls/i03/data/2026/a_0001.cbf", "file-number": number}, follows=message)
        context.done(message)


@stream_step(queue="stream", parameters=StepParameters, **OUTPUT)
async def forward(parameters, inbox, context):
    async for message in inbox:
        yield Send(message.payload, follows=message, completes=(message,))


@message_step(queue="async", parameters=StepParameters, **OUTPUT)
async def forward_at_once(parameters, message, context):
    return (Send(message.payload),)


@message_step(queue="plain", parameters=StepParameters, **OUTPUT)
def forward_in_thread(parameters, message, context):
    return (Send(message.payload),)


@stream_step(queue="slow", parameters=StepParameters)
async def take_slowly(parameters, inbox, context):
    """Let others have the processor between two messages, many times."""
    async for message in inbox:
        for _ in range(5):
            await asyncio.sleep(0)
        context.done(message)
    return
    yield


STEPS = {step.queue: step for step in (source, forward, forward_at_once, forward_in_thread, take_slowly)}


@contextmanager
def steps_known(steps: dict[str, Step]) -> Iterator[None]:
    """Have the engine know these steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "STEPS", dict.fromkeys(steps, ""))
        patch.setattr("flows.recipe.engine.run.load_step", steps.__getitem__)
        yield


def chain(kind: str, count: int) -> dict[Any, Any]:
    """Return a recipe of a source, a step that forwards and a sink."""
    return {
        1: {"queue": "source", "parameters": {"count": count}, "output": 2},
        2: {"queue": kind, "output": 3},
        3: {"queue": kind},
        "start": [[1, None]],
    }


async def run_recipe(document: dict[Any, Any], journal: Journal | None = None, state: RunState | None = None) -> float:
    """Run a recipe; return how long it took."""
    async with Resources() as resources:
        run = RecipeRun(recipe_from_document(document), "run-1", resources, journal=journal)
        begun = time.perf_counter()
        await run.run(state)
        return time.perf_counter() - begun


async def run_bare(count: int) -> float:
    """Send as many messages through three tasks that do nothing else; return how long it took."""
    first: asyncio.Queue[Any] = asyncio.Queue(64)
    second: asyncio.Queue[Any] = asyncio.Queue(64)

    async def produce() -> None:
        for number in range(count):
            await first.put({"file": "/dls/i03/data/2026/a_0001.cbf", "file-number": number})
        await first.put(None)

    async def pass_on() -> None:
        while (message := await first.get()) is not None:
            await second.put(message)
        await second.put(None)

    async def consume() -> None:
        while await second.get() is not None:
            continue

    begun = time.perf_counter()
    await asyncio.gather(produce(), pass_on(), consume())
    return time.perf_counter() - begun


def measure_messages(count: int, rounds: int) -> None:
    """Time each kind of step in turn, round by round, so that a busy machine hits all alike."""
    bare: list[float] = []
    engine: dict[tuple[str, bool], list[float]] = {}
    for _ in range(rounds):
        bare.append(count / asyncio.run(run_bare(count)))
        for kind in ("stream", "async", "plain"):
            messages = count // 10 if kind == "plain" else count
            for recorded in (False, True):
                rate = messages / _time_chain(kind, messages, recorded=recorded)
                engine.setdefault((kind, recorded), []).append(rate)
    print(f"messages/s through three steps, best of {rounds} rounds, {count:,} messages, load {os.getloadavg()[0]:.1f}")
    print(f"  bare tasks and queues        {max(bare):>9,.0f}")
    for (kind, recorded), rates in engine.items():
        share = statistics.median(rate / base for rate, base in zip(rates, bare, strict=True))
        how = "journal, log" if recorded else "in memory"
        print(f"  {kind + ' steps':14} {how:14}{max(rates):>9,.0f}   1/{1 / share:.1f} of bare")


def _time_chain(kind: str, count: int, *, recorded: bool) -> float:
    if not recorded:
        return asyncio.run(run_recipe(chain(kind, count)))
    with TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(run_log(Path(folder) / "log.jsonl", StepIdentity("run-1", "chain", 7)))
        journal = stack.enter_context(Journal(Path(folder) / "journal.jsonl"))
        return asyncio.run(run_recipe(chain(kind, count), journal))


def measure_memory(count: int) -> None:
    """Watch the process while a source that could send all at once waits for a slow sink."""
    process = psutil.Process()

    def document(count: int) -> dict[Any, Any]:
        return {
            1: {"queue": "source", "parameters": {"count": count}, "output": 2},
            2: {"queue": "slow"},
            "start": [[1, None]],
        }

    async def watch(journal: Journal) -> list[float]:
        await run_recipe(document(1000), journal)  # warms up
        gc.collect()
        samples = [process.memory_full_info().uss / MEGABYTE]
        running = asyncio.create_task(run_recipe(document(count), journal))
        while not running.done():
            await asyncio.wait([running], timeout=0.5)
            samples.append(process.memory_full_info().uss / MEGABYTE)
        await running
        return samples

    with TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        first, *later = asyncio.run(watch(journal))
    print(f"{count:,} messages from a fast source to a slow sink: {first:.1f} MiB before, at most {max(later):.1f} MiB")


def measure_resume(count: int) -> None:
    """Time the parts of taking up a run in the midst of its messages."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        document = chain("stream", 3 * count // 4)  # two messages of each
        with Journal(path) as journal:
            asyncio.run(run_recipe(document, journal))
        left = _two_thirds(path)
        path.write_bytes(left)
        seconds, state = _timed(lambda: replay(read_journal(path)))
        waiting, opened = len(state.waiting), _timed(lambda: Journal(path).close())[0]
        with Journal(path) as journal:
            rest = asyncio.run(run_recipe(document, journal, state))
    print(
        f"a journal of {len(state.all):,} messages ({len(left) / 1e6:.0f} MB, {waiting:,} of them waiting): "
        f"opened in {opened:.2f} s, read in {seconds:.2f} s; its run ended {rest:.2f} s later"
    )


def _two_thirds(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.index(b"\n", 2 * len(content) // 3) + 1]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def measure_run(rounds: int) -> None:
    """Time whole runs of five steps that do nothing, on a site of their own."""
    from tests.benchmarks.bench_site import await_run, bench_site, run_seconds

    five: dict[str, Any] = {str(number): {"queue": "trial.pass", "output": number + 1} for number in range(1, 5)}
    five |= {"5": {"queue": "trial.pass"}, "start": [[1, None]]}
    with TemporaryDirectory() as recipes, pytest.MonkeyPatch.context() as patch:
        (Path(recipes) / "five-steps.json").write_text(json.dumps(five))
        patch.setenv("PYTHONPATH", str(TRIAL_STEPS), prepend=os.pathsep)
        with bench_site(recipe_directory=Path(recipes), analysis_workers=1) as settings:
            asyncio.run(await_run(asyncio.run(_start("five-steps"))))  # warms up
            runs = [asyncio.run(await_run(asyncio.run(_start("five-steps")))) for _ in range(rounds)]
            seconds = [run_seconds(run) for run in runs]
            own = [_engine_seconds(settings.home / "recipe-runs" / str(run.id) / "journal.jsonl") for run in runs]
    print(
        f"a run of five trivial steps under Prefect: {statistics.median(seconds):.2f} s (median of {rounds}; "
        f"{min(seconds):.2f} to {max(seconds):.2f}), of which {statistics.median(own):.2f} s from the first message "
        f"to the last; load {os.getloadavg()[0]:.1f}"
    )


async def _start(recipe: str) -> Any:
    from prefect.deployments import run_deployment

    run = await run_deployment(f"{recipe}/live", parameters={"parameters": {}}, timeout=0)  # type: ignore[misc]
    return run.id


def _engine_seconds(journal: Path) -> float:
    """Return how long the messages of a run took, by its journal."""
    times = [entry.at for entry in read_journal(journal) if not isinstance(entry, Began | Ended)]
    return times[-1] - times[0]


def main() -> None:
    """Measure what is asked for, everything if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["messages", "memory", "resume", "run", []], default=[])
    parser.add_argument("--count", type=int, default=50_000, help="messages through the chain")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    what = arguments.what or ["messages", "memory", "resume", "run"]
    with steps_known(STEPS):
        if "messages" in what:
            measure_messages(arguments.count, arguments.rounds)
        if "memory" in what:
            measure_memory(1_000_000)
        if "resume" in what:
            measure_resume(100_000)
    if "run" in what:
        measure_run(max(5, arguments.rounds))


if __name__ == "__main__":
    sys.exit(main())
