"""Data collections that happen, with files that stand for images: the rows, the events and what goes wrong."""

import asyncio

import psutil
import pytest
from ispyb.sqlalchemy import BLSession, DataCollection, DataCollectionGroup, Detector, GridInfo, Proposal
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.schema.tables import create_schema
from tasks.simulation.collection import collect
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import describe_plan
from tasks.simulation.jobs import BeamlineFault
from tasks.simulation.plan import CollectionPlan, Truth
from tasks.simulation.visit import Visit


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/ispyb.sqlite")
    create_schema(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def visit(tmp_path):
    return Visit.parse("mx12345-1", beamline="i03", root=tmp_path / "dls")


@pytest.fixture
def make_sweep(tmp_path):
    def make(plan):
        folder = tmp_path / "ready" / plan.digest
        folder.mkdir(parents=True)
        sweep = describe_plan(plan, folder)
        for name in sweep.file_names():
            (folder / name).write_text("counts")
        truth = Truth(
            plan=plan, unit_cell=(78, 78, 37, 90, 90, 90), space_group="P43212", orientation=(0,) * 9, reflections=1
        )
        (folder / sweep.truth_file).write_text(truth.model_dump_json())
        return sweep

    return make


class Hearer:
    """Mimas, as far as a beamline knows: keeps what it's told, and what was true then."""

    def __init__(self, engine):
        self.engine = engine
        self.heard = []

    async def __call__(self, event, dcid):
        with Session(self.engine) as session:
            row = session.get(DataCollection, dcid)
            self.heard.append((event, dcid, row.runStatus))


@pytest.fixture
def mimas(engine):
    return Hearer(engine)


def read(engine, model, **key):
    with Session(engine) as session:
        rows = session.scalars(select(model).filter_by(**key)).all()
        session.expunge_all()
        return rows


async def test_events_come_when_they_are_true(engine, visit, mimas, make_sweep):
    there = []
    record = await collect(
        make_sweep(CollectionPlan.rotation(4)),
        visit,
        engine,
        mimas,
        rate_hz=200,
        on_image=lambda n, at: there.append(n),
    )
    assert mimas.heard == [("start", record.dcid, None), ("end", record.dcid, "DataCollection Successful")]
    assert there == [1, 2, 3, 4]
    assert len(list(record.directory.glob("lysozyme_1_*.cbf"))) == 4
    assert record.started_at <= record.first_image_at < record.last_image_at <= record.ended_at
    assert record.truth is not None
    assert record.truth.space_group == "P43212"


async def test_rotation_rows_are_what_the_dispatcher_reads(engine, visit, mimas, make_sweep):
    plan = CollectionPlan.rotation(4, 0.5, start_deg=10)
    record = await collect(make_sweep(plan), visit, engine, mimas, rate_hz=200)
    (row,) = read(engine, DataCollection)
    assert row.imageDirectory == f"{record.directory}/"
    assert row.imageDirectory.startswith(f"{visit.folder}/")
    assert (row.fileTemplate, row.imagePrefix, row.dataCollectionNumber) == ("lysozyme_1_#####.cbf", "lysozyme", 1)
    assert (row.axisStart, row.axisRange, row.axisEnd, row.overlap) == (10, 0.5, 12, 0)
    assert (row.numberOfImages, row.startImageNumber) == (4, 1)
    assert float(row.wavelength) == pytest.approx(0.9795)
    assert row.endTime >= row.startTime
    (group,) = read(engine, DataCollectionGroup)
    assert (group.experimentType, group.endTime) == ("SAD", row.endTime)
    (detector,) = read(engine, Detector)
    assert (detector.detectorId, detector.detectorModel) == (row.detectorId, "Pilatus3 300K")
    (session,) = read(engine, BLSession)
    assert (session.beamLineName, session.visit_number, session.sessionId) == ("i03", 1, row.SESSIONID)
    (proposal,) = read(engine, Proposal)
    assert (proposal.proposalCode, proposal.proposalNumber) == ("mx", "12345")
    assert read(engine, GridInfo) == []


async def test_grid_scan_has_its_grid(engine, visit, mimas, make_sweep):
    grid = GridScan(steps_x=3, steps_y=2, orientation="vertical", snaked=True)
    record = await collect(make_sweep(CollectionPlan.grid_scan(grid)), visit, engine, mimas, rate_hz=200)
    (row,) = read(engine, GridInfo)
    assert (row.dataCollectionId, row.dataCollectionGroupId) == (record.dcid, record.group_id)
    assert (row.steps_x, row.steps_y, row.orientation, bool(row.snaked)) == (3, 2, "vertical", True)
    assert (float(row.dx_mm), row.micronsPerPixelX) == (0.02, 1.25)
    (collection,) = read(engine, DataCollection)
    assert (collection.axisRange, collection.numberOfImages) == (0, 6)
    (group,) = read(engine, DataCollectionGroup)
    assert group.experimentType == "Mesh"


async def test_screening_overlaps(engine, visit, mimas, make_sweep):
    await collect(make_sweep(CollectionPlan.screening()), visit, engine, mimas, rate_hz=200)
    (row,) = read(engine, DataCollection)
    assert (row.numberOfImages, row.overlap, row.axisEnd) == (3, -44.5, 90.5)
    (group,) = read(engine, DataCollectionGroup)
    assert group.experimentType == "OSC"


async def test_second_data_collection_shares_what_is_there(engine, visit, mimas, make_sweep):
    sweep = make_sweep(CollectionPlan.rotation(2))
    first = await collect(sweep, visit, engine, mimas, rate_hz=200)
    second = await collect(sweep, visit, engine, mimas, rate_hz=200, group_id=first.group_id)
    assert second.dcid != first.dcid
    assert second.directory != first.directory
    assert second.group_id == first.group_id
    with Session(engine) as session:
        for model in (Proposal, BLSession, Detector, DataCollectionGroup):
            assert session.scalar(select(func.count()).select_from(model)) == 1


async def test_missing_image_ends_the_run_unsuccessful_and_is_named(engine, visit, mimas, make_sweep):
    sweep = make_sweep(CollectionPlan.rotation(4))
    (sweep.folder / sweep.file_name(3)).unlink()
    with pytest.raises(BeamlineFault, match=r"lysozyme_1_00003\.cbf"):
        await collect(sweep, visit, engine, mimas, rate_hz=200)
    (row,) = read(engine, DataCollection)
    assert (row.runStatus, row.numberOfImages) == ("DataCollection Unsuccessful", 2)
    assert [event for event, _, _ in mimas.heard] == ["start", "end"]


async def test_killed_writer_ends_the_run_unsuccessful(engine, visit, mimas, make_sweep):
    def kill_writer(number, at):
        for child in psutil.Process().children():
            if "tasks.simulation.child" in child.cmdline():
                child.kill()

    with pytest.raises(BeamlineFault, match="ended by SIGKILL"):
        await collect(make_sweep(CollectionPlan.rotation(50)), visit, engine, mimas, rate_hz=50, on_image=kill_writer)
    assert mimas.heard[-1][::2] == ("end", "DataCollection Unsuccessful")


async def test_cancelled_collection_is_stopped_and_its_end_announced(engine, visit, mimas, make_sweep):
    first_image = asyncio.Event()
    running = asyncio.create_task(
        collect(
            make_sweep(CollectionPlan.rotation(50)),
            visit,
            engine,
            mimas,
            rate_hz=20,
            on_image=lambda number, at: first_image.set(),
        )
    )
    await asyncio.wait({running, asyncio.create_task(first_image.wait())}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (row,) = read(engine, DataCollection)
    assert row.runStatus == "DataCollection Stopped"
    assert 1 <= row.numberOfImages < 50
    assert mimas.heard[-1][::2] == ("end", "DataCollection Stopped")
    assert not [child for child in psutil.Process().children() if "tasks.simulation.child" in child.cmdline()]


async def test_collection_stands_in_ispyb_though_mimas_is_deaf(engine, visit, make_sweep):
    async def fail(event, dcid):
        raise RuntimeError(f"no {event}")

    with pytest.raises(RuntimeError, match="no end"):
        await collect(make_sweep(CollectionPlan.rotation(2)), visit, engine, fail, rate_hz=200)
    (row,) = read(engine, DataCollection)
    assert row.runStatus == "DataCollection Unsuccessful"
