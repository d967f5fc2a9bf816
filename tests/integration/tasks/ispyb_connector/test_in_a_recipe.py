"""A pipeline's results on their way through a recipe: from its registration to its end, on the engine."""

import asyncio
import os
import signal

import pytest
from sqlalchemy import select

from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import replay
from tasks.ispyb_access.schema.tables import METADATA
from tasks.step.resources import Resources

SHELL = {"r_merge": 0.05, "completeness": 99.5, "multiplicity": 6.6, "n_tot_obs": 1000, "res_lim_high": 1.5}
RESULTS = [
    {"ispyb_command": "write_autoproc", "program_id": "$ispyb_autoprocprogram_id", "spacegroup": "P41212",
     "store_result": "ispyb_autoproc_id"},
    {"ispyb_command": "insert_scaling", "autoproc_id": "$ispyb_autoproc_id", "overall": SHELL,
     "innerShell": SHELL, "outerShell": SHELL, "store_result": "ispyb_autoprocscaling_id"},
    {"ispyb_command": "upsert_integration", "scaling_id": "$ispyb_autoprocscaling_id",
     "program_id": "$ispyb_autoprocprogram_id", "store_result": "ispyb_integration_id"},
    {"ispyb_command": "add_program_message", "program_id": "${ispyb_autoprocprogram_id}", "severity": "INFO",
     "message": "scaled as $ispyb_autoprocscaling_id"},
    {"ispyb_command": "create_ispyb_job", "DCID": "$dcid", "recipe": "postprocessing-dimple", "autostart": True,
     "parameters": [{"key": "scaling_id", "value": "1"}], "source": "automatic"},
]  # fmt: skip


def connector(command, output=(), **parameters):
    return {
        "queue": "ispyb_connector",
        "parameters": {"ispyb_command": command, **parameters},
        "output": dict(output),
    }


def pipeline(dcid):
    """Register a program; then its results, then its end; tell of the job that follows."""
    program = {"program_id": "$ispyb_autoprocprogram_id"}
    results = [item | {"DCID": dcid} if "DCID" in item else item for item in RESULTS]
    return recipe_from_document(
        {
            "1": connector(
                "register_processing",
                {"output": 2},
                program="xia2 dials",
                cmdline="xia2 $ID",
                store_result="ispyb_autoprocprogram_id",
            ),
            "2": connector(
                "multipart_message",
                {"output": 3, "trigger": 4},
                dcid=dcid,
                ispyb_command_list=results,
                store_result="ispyb_job_id",
            ),
            "3": connector("update_processing_status", status="success", message="job $ispyb_job_id", **program),
            "4": connector(
                "add_program_message",
                severity="INFO",
                message="triggered, $ispyb_integration_id of $ispyb_autoprocscaling_id",
                **program,
            ),
            "start": [[1, []]],
        }
    )


@pytest.fixture
def rows(engine):
    def rows(name, *columns):
        table = METADATA.tables[name]
        with engine.connect() as connection:
            chosen = select(*(table.c[column] for column in columns)).order_by(*table.primary_key.columns)
            return [tuple(row) for row in connection.execute(chosen)]

    return rows


@pytest.fixture
def check_written(rows):
    """Check that all rows of the pipeline are there, once, and refer to each other."""

    def check(dcid):
        ((program, *facts),) = rows(
            "AutoProcProgram", "autoProcProgramId", "processingStatus", "processingMessage", "processingCommandLine"
        )
        ((autoproc, of_program),) = rows("AutoProc", "autoProcId", "autoProcProgramId")
        ((scaling, of_autoproc),) = rows("AutoProcScaling", "autoProcScalingId", "autoProcId")
        ((job, of_collection),) = rows("ProcessingJob", "processingJobId", "dataCollectionId")
        ((integration, *of),) = rows(
            "AutoProcIntegration", "autoProcIntegrationId", "dataCollectionId", "autoProcProgramId"
        )
        assert facts == [1, f"job {job}", "xia2 run-1"]
        assert (of_program, of_autoproc, of_collection, of) == (program, autoproc, dcid, [dcid, program])
        assert rows("AutoProcScaling_has_Int", "autoProcScalingId", "autoProcIntegrationId") == [(scaling, integration)]
        assert len(rows("AutoProcScalingStatistics", "autoProcScalingStatisticsId")) == 3
        assert sorted(rows("AutoProcProgramMessage", "autoProcProgramId", "message")) == [
            (program, f"scaled as {scaling}"),
            (program, f"triggered, {integration} of {scaling}"),
        ]

    return check


async def test_results_go_through_a_recipe_and_each_step_finds_what_earlier_ones_wrote(
    resources, add_collection, check_written
):
    dcid = add_collection()
    records = await asyncio.wait_for(RecipeRun(pipeline(dcid), "run-1", resources).run(), 60)
    assert {number: record.fault for number, record in records.items()} == dict.fromkeys((1, 2, 3, 4))
    check_written(dcid)


class MortalJournal(Journal):
    """A journal whose process is killed at one of the moments at which it would be written."""

    lives = 0

    def flush(self) -> None:
        if self._waiting:
            self.lives -= 1
            if self.lives == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        super().flush()


def let_a_process_work(path, settings, dcid, lives):
    """Have a process of its own begin the run or go on with it; return whether it came to its end."""

    async def work():
        with MortalJournal(path) as journal:
            journal.lives = lives
            state = replay(read_journal(path))
            async with Resources(settings) as resources:
                run = RecipeRun(pipeline(dcid), "run-1", resources, journal=journal)
                await run.run(state if state.all else None)

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work())
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL


@pytest.mark.parametrize("lives", [(2, 1, 1), (3, 2, 3), (3, 1, 2, 1), (1, 5), (1, 1)])
def test_all_is_written_once_though_processes_are_killed_between_commit_and_journal(
    lives, settings, add_collection, engine, check_written, tmp_path
):
    dcid = add_collection()
    engine.dispose()  # or the processes would share its connections
    ended = [let_a_process_work(tmp_path / "journal", settings, dcid, count) for count in (*lives, 0)]
    assert (ended[0], ended[-1]) == (False, True)
    check_written(dcid)
