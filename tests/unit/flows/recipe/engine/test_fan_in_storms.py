"""Grids whose processes are killed anywhere, whose images are refused, and that operators take up again and again.

Each ends with its centre told once, or as a failed run that says what is missing, and that is completed when it's taken
up once more.
"""

from __future__ import annotations

import errno
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocks.errors import MessageRefused, PassingFault
from flows.recipe.engine.node import RefusedMessage
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Manifest
from flows.recipe.run_record.resumption import repeat_from, take_up
from tasks.confinement import write_confined
from tasks.step import Send, StepParameters, message_step, registry, stream_step
from tasks.xray_centring.centring import centre_crystal
from tests.support.grid_information import grid_information
from tests.support.interruptions import Killed
from tests.support.trial_world import RUN, SOON, MortalJournal, World, run_trial

IMAGES = 12
GRID = grid_information(4, 3)


def end_process() -> None:
    raise Killed


class Grid:
    """A grid scan's run, from process to process.

    Parameters
    ----------
    dice
        Decides on all that happens.
    success_leads_on
        The centre goes to another node; otherwise it's in a file only.
    hears_abort
        A node hears when centring gives up.
    """

    def __init__(self, folder: Path, dice: random.Random, *, success_leads_on: bool, hears_abort: bool) -> None:
        self.folder, self.letters = RunFolder(folder / RUN), DeadLetters(folder / "dead-letters")
        self.folder.path.mkdir()
        self.dice, self.world = dice, World()
        self.is_calm = False
        self.told: dict[str, list[Any]] = {"success": [], "abort": []}
        self.result = folder / "centre.json"
        outputs = {"success": 4} if success_leads_on else {}
        self.document: dict[str, Any] = {
            "1": {"queue": "watch", "output": 2},
            "2": {"queue": "analyse", "output": 3},
            "3": {
                "queue": "centre",
                "parameters": {"dcid": 7, "beamline": "i03", "output": str(self.result)},
                "gridinfo": GRID,
                "output": {**outputs, "abort": 5} if hears_abort else outputs,
            },
            "4": {"queue": "success"},
            "5": {"queue": "abort"},
            "start": [[1, IMAGES]],
        }
        Manifest("grid", "grid.json", "", 7, {}, {}, self.document).write(self.folder)

    def steps(self) -> dict[str, Any]:
        @stream_step(queue="watch", parameters=StepParameters, outputs=("every",), default_output="every")
        async def watch(parameters, inbox, context):
            async for message in inbox:
                for number in range(1, message.payload + 1):
                    yield Send({"file-number": number, "file-seen-at": 1e9}, follows=message)
                context.done(message)

        @stream_step(
            queue="analyse", parameters=StepParameters, outputs=("result",), default_output="result", retries=SOON
        )
        async def analyse(parameters, inbox, context):
            async for message in inbox:
                if self.is_calm or self.dice.random() < 0.8:
                    result = {**message.payload, "n_spots_total": message.payload["file-number"]}
                    yield Send(result, follows=message, completes=(message,))
                else:
                    fault = self.dice.choice([MessageRefused, PassingFault])
                    context.refuse(message, fault("its DIALS process was killed"))

        def hear(queue: str) -> Any:
            @message_step(queue=queue, parameters=StepParameters)
            async def hear(parameters, message, context):
                if self.world.is_alive:
                    self.told[queue].append((context.key(message), message.payload))
                return ()

            return hear

        return {"watch": watch, "analyse": analyse, "centre": centre_crystal, "success": hear("success")} | {
            "abort": hear("abort")
        }

    def write(self, path: Path, content: bytes, also: Sequence[Path]) -> None:
        if not self.is_calm and self.dice.random() < 0.3:
            raise OSError(errno.EROFS, "it can't be written now")
        write_confined(path, content, also)

    def process(self, bytes_left: float) -> bool | None:
        """Take the run up, to its end or until its process is killed; tell whether it has failed, None if killed."""
        self.world.is_alive = True
        with MortalJournal(self.folder.journal, self.world, int(bytes_left)) as journal:
            journal.kill = end_process
            try:
                state = take_up(self.folder, journal, self.letters)
            except Killed:
                return None
            journal.record(Began.now())
            with pytest.MonkeyPatch.context() as patch:
                steps = self.steps()
                patch.setattr(registry, "STEPS", dict.fromkeys(steps, ""))
                patch.setattr("flows.recipe.engine.run.load_step", steps.__getitem__)
                patch.setattr(self.world, "keep_dead_letter", self.keep)
                patch.setattr("tasks.xray_centring.centring.write_confined", self.write)
                records = run_trial(self.document, self.world, journal, state)
            if records is None:
                return None
            journal.record(Ended(time.time(), "Failed"))
        return any(record.fault for record in records.values())

    def keep(self, refused: RefusedMessage) -> None:
        if not self.world.is_alive:
            return
        message = refused.message
        letter = DeadLetter(
            *(RUN, message.number, "grid", 7, refused.node, "", "", message.payload, message.environment),
            *(refused.error, "", refused.history, 1.0),
        )
        self.letters.put(letter)

    def operate(self) -> None:
        """Do what operators do between two processes."""
        act = self.dice.random()
        letters = list(self.letters.all())
        if act < 0.3 and letters:
            self.letters.reinject(self.dice.choice(letters), self.folder)
        elif act < 0.4:
            repeat_from(self.folder, self.dice.choice([2, 3]), {}, self.letters)
            self.told = {"success": [], "abort": []}

    def storm(self) -> None:
        """Let everything happen, for a while."""
        for _ in range(self.dice.randrange(1, 9)):
            failed = self.process(self.dice.choice([10**9, self.dice.randrange(6000)]))
            if failed is False:
                self.assert_centred()
            self.operate()

    def assert_centred(self) -> None:
        """Check that the centre was told, once: what the next node hears once more has the same number."""
        assert json.loads(self.result.read_text())["max_count"] == IMAGES
        if "success" in self.document["3"]["output"]:
            assert len({key for key, _ in self.told["success"]}) == 1
            assert self.told["success"][0][1]["results"][0]["max_count"] == IMAGES


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(60))
def test_a_grid_is_centred_once_or_its_run_has_failed(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    grid = Grid(tmp_path, dice, success_leads_on=seed % 3 > 0, hears_abort=seed % 4 == 0)
    grid.storm()
    grid.is_calm = True
    for _ in range(2):  # after a process that was killed, the first does what it left, the second what it had refused
        failed = grid.process(10**9)
    assert failed is False
    grid.assert_centred()
    assert len({key for key, _ in grid.told["abort"]}) <= 1
    assert list(grid.letters.all()) == []
