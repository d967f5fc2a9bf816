"""The page that shows a decision holds the outcome for programs."""

from uuid import UUID

import pytest

from flows.mimas.record import DecisionRecord
from flows.mimas.record.outcome import (
    CreatedJob,
    MimasOutcome,
    describe_faults,
    describe_job,
)
from flows.mimas.record.outcome_page import from_markdown, to_markdown
from flows.mimas.rules import decide
from flows.mimas.scenario import DCClass, DetectorClass, Event, ImageRange, Scenario
from flows.prefect_limits import PAGE_CHARACTERS
from tasks.step.ports import FailedLaunch, LaunchedRecipe

RUN = UUID(int=5)
FATES = {
    "xia2 dials": CreatedJob(job_id=8, flow_run_id=RUN),
    "xia2 3dii": CreatedJob(job_id=9),
    "fast_dp": CreatedJob(job_id=10, flow_run_id=RUN, taken_up=True),
    "autoPROC": FailedLaunch(recipe="ispyb-autoprocessing-autoPROC-eiger", reason="409 | Conflict"),
}


@pytest.fixture
def decision():
    sweeps = (ImageRange(11, 1, 100), ImageRange(12, 1, 50))
    return decide(Scenario(12, DCClass.ROTATION, Event.END, "i03", detector_class=DetectorClass.EIGER, sweeps=sweeps))


@pytest.fixture
def outcome(decision):
    return MimasOutcome(
        dcid=12,
        event="end",
        beamline="i03",
        dc_class="rotation",
        launched=(
            LaunchedRecipe(recipe="archive-nexus", flow_run_id=RUN),
            LaunchedRecipe(recipe="per-image-analysis-rotation-swmr", flow_run_id=RUN, earlier=True),
            LaunchedRecipe(
                recipe="processing-mmcif-gen", flow_run_id=RUN, earlier=True, taken_up=True, state="Crashed: a | b"
            ),
        ),
        not_installed=("processing-rlv-eiger",),
        failed=(FailedLaunch(recipe="generate-diffraction-preview", reason="409 | Conflict\nfor url"),),
        jobs=tuple(describe_job(job, FATES.get(job.display_name)) for job in decision.jobs),
        matched=decision.matched,
        warnings=("unit cell '1' in ISPyB is left out: ```json\n",),
    )


def test_outcome_is_read_back_from_its_page(outcome, decision):
    assert from_markdown(to_markdown(outcome, DecisionRecord.of(decision))) == outcome


def test_page_says_what_runs_and_what_does_not(outcome, decision):
    lines = to_markdown(outcome, DecisionRecord.of(decision)).splitlines()
    assert lines[0] == "## End of data collection 12: rotation on i03, Eiger"
    assert f"| archive-nexus | [launched](/runs/flow-run/{RUN}) |" in lines
    assert f"| per-image-analysis-rotation-swmr | [launched before by the same event](/runs/flow-run/{RUN}) |" in lines
    taken_up = f"[launched before by the same event, taken up again](/runs/flow-run/{RUN})"
    assert rf"| processing-mmcif-gen | {taken_up}: it was Crashed\: a \| b |" in lines
    assert "| processing-rlv-eiger | not installed here |" in lines
    assert r"| generate-diffraction-preview | **could not be launched**: 409 \| Conflict for url |" in lines
    for state in (
        f"[job 8 is launched](/runs/flow-run/{RUN})",
        f"[job 10 is taken up again](/runs/flow-run/{RUN})",
        "job 9 is held: `plaza job start 9` starts it",
        r"could not be launched: 409 \| Conflict",
    ):
        assert sum(line.endswith(f"| {state} |") for line in lines) == 1


def test_page_says_why(outcome, decision):
    page = to_markdown(outcome, DecisionRecord.of(decision))
    assert "- **Eiger images end on i03** (beamline is i03: yes, it is i03; event is END: yes, it is END" in page
    assert "- **Pilatus images start**: event is START: no, it is END; detector is PILATUS: no, it is EIGER" in page


def test_a_job_is_described_with_what_it_is_to_do(decision):
    job = describe_job(decision.jobs[-1], CreatedJob(job_id=7))
    assert (job.job_id, job.flow_run_id) == (7, None)
    assert job.parameters == (("resolution.cc_half_significance_level", "0.1"),)
    assert job.sweeps == ((11, 1, 100), (12, 1, 50))


def test_page_of_nothing_says_so():
    nothing = decide(Scenario(12, DCClass.GRIDSCAN, Event.START, "b21"))
    outcome = MimasOutcome(
        dcid=12, event="start", beamline="b21", dc_class="grid scan",
        launched=(), not_installed=(), failed=(), jobs=(), matched=(), warnings=(),
    )  # fmt: skip
    page = to_markdown(outcome, DecisionRecord.of(nothing))
    assert "No recipe is to run." in page
    assert "- **Eiger files are complete**: beamline is" in page
    assert from_markdown(page) == outcome


def test_the_faults_of_many_launches_make_a_line_that_a_state_can_show():
    failed = [FailedLaunch(recipe=f"recipe-{number}", reason="409\0\n" * 100) for number in range(200)]
    told = describe_faults(failed)
    assert told.startswith("recipe-0 (409")
    assert len(told) < 2100
    assert told.isprintable()


def test_page_is_bounded_and_still_read_back(outcome, decision):
    long = outcome.model_copy(update={"warnings": ("x" * 2**20,)})
    page = to_markdown(long, DecisionRecord.of(decision))
    assert from_markdown(page) == long
    assert len(page) - len(long.model_dump_json()) < PAGE_CHARACTERS + 10_000
