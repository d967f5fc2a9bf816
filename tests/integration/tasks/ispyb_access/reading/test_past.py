"""Past data collections, read by the thousand, give the scenarios that each gives when it's read by itself."""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from flows.mimas.scenario import DCClass, DetectorClass, Event
from flows.mimas.scenarios.ispyb_scenario import InvalidScenario, scenario_from_ispyb
from tasks.ispyb_access.reading.past import visit_crystals
from tasks.ispyb_access.reading.past.facts import UnreadCollection
from tasks.ispyb_access.reading.past.reader import read_period
from tasks.ispyb_access.reading.past.statements import Period
from tasks.ispyb_access.reading.reader import read_data_collection
from tasks.ispyb_access.reading.visit.files import FileAccess
from tests.support.dev_mariadb import only_sqlite
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

LONG_AGO, STARTED = datetime(1990, 1, 1), datetime(2024, 5, 1, 12, 30, 15)
AT_ALL_TIMES = Period(LONG_AGO)


def scenarios(collection):
    try:
        return [scenario_from_ispyb(collection, event) for event in Event]
    except InvalidScenario as error:
        return str(error)


@pytest.fixture
def compare(engine):
    """Compare all collections, read in small pages, with each as it's read by itself; return their scenarios."""

    def compare(period=AT_ALL_TIMES, size=3):
        found = [some for page in read_period(engine, period, size=size) for some in page.collections]
        for some in found:
            alone = read_data_collection(engine, some.dcid, "guid", FileAccess.READ)
            assert scenarios(some) == scenarios(alone)
        assert [some.dcid for some in found] == sorted({some.dcid for some in found})
        return {some.dcid: scenarios(some) for some in found}

    return compare


def _first(engine, model):
    with Session(engine) as session:
        return session.scalars(select(model)).first()


def facts(scenarios_of_events):
    return scenarios_of_events[0][0]


def test_classes_are_those_of_single_collections(compare, add, add_group, add_collection):
    def of_type(kind, **columns):
        return add_collection(dataCollectionGroupId=add_group(experimentType=kind), **columns)

    with_grid, grid_group = add_collection(), add_group(experimentType="Mesh")
    by_group = [add_collection(dataCollectionGroupId=grid_group) for _ in range(2)]
    add(models.GridInfo(dataCollectionId=with_grid, steps_x=2), models.GridInfo(dataCollectionGroupId=grid_group))
    expected = {
        with_grid: DCClass.GRIDSCAN,
        **dict.fromkeys(by_group, DCClass.GRIDSCAN),
        add_collection(): DCClass.ROTATION,
        add_collection(numberOfImages=1): DCClass.SCREENING,
        add_collection(numberOfImages=3, overlap=-44.5): DCClass.SCREENING,
        of_type("Serial Fixed"): DCClass.SERIAL_FIXED,
        of_type("Serial Jet", numberOfImages=1): DCClass.SERIAL_JET,
        of_type("Characterization"): DCClass.CHARACTERIZATION,
        of_type("Diamond Anvil High Pressure"): DCClass.DIAMOND_ANVIL_CELL,
        add_collection(numberOfImages=None, overlap=None, axisRange=None): DCClass.UNDEFINED,
        of_type(None, axisRange=0): DCClass.UNDEFINED,
    }
    assert {dcid: facts(found).dc_class for dcid, found in compare().items()} == expected


def test_sweeps_are_those_of_the_group(compare, add_group, add_collection):
    group = add_group()
    several = [add_collection(dataCollectionGroupId=group, numberOfImages=10 * n) for n in (1, 2, 3)]
    for nothing in ("imageDirectory", "fileTemplate", "startImageNumber", "numberOfImages"):
        add_collection(dataCollectionGroupId=group, **{nothing: None})
    add_collection(dataCollectionGroupId=group, numberOfImages=0)  # ends before it starts
    alone = add_collection()
    found = compare()
    assert [(sweep.dcid, sweep.end) for sweep in facts(found[several[1]]).sweeps] == list(
        zip(several, (10, 20, 30), strict=True)
    )
    assert [sweep.dcid for sweep in facts(found[alone]).sweeps] == [alone]
    assert found[several[0]][0][1] != ()  # the warning of the sweep that makes no sense


def test_group_beyond_the_period_counts_whole(compare, add_group, add_collection):
    group = add_group()
    later = [add_collection(dataCollectionGroupId=group, startTime=STARTED + timedelta(days=n)) for n in range(3)]
    found = compare(Period(STARTED + timedelta(days=1), STARTED + timedelta(days=2)))
    assert list(found) == [later[1]]
    assert [sweep.dcid for sweep in facts(found[later[1]]).sweeps] == later


def test_crystal_plan_container_and_detector(compare, engine, add, add_group, add_collection, facility):
    pipeline = add(models.ProcessingPipeline(name="autoPROC", discipline="MX"))
    container = add(models.Container(code="puck-2", priorityPipelineId=pipeline.processingPipelineId))
    protein = _first(engine, models.Protein).proteinId
    crystal = add(models.Crystal(proteinId=protein, spaceGroup="nonsense", cell_a=10, cell_b=10, cell_c=0))
    crystal_id, container_id = crystal.crystalId, container.containerId
    sample = add(models.BLSample(name="x2", crystalId=crystal_id, containerId=container_id, location="4"))
    pilatus, odd = add(models.Detector(detectorModel="Pilatus3 6M")), add(models.Detector(detectorModel=None))
    known = add_collection()
    of_group = add_collection(BLSAMPLEID=0, dataCollectionGroupId=add_group(blSampleId=sample.blSampleId))
    add_collection(BLSAMPLEID=None, SESSIONID=0, detectorId=pilatus.detectorId)
    add_collection(detectorId=odd.detectorId, fileTemplate="x_master.h5", runStatus="DataCollection Stopped")
    add_collection(detectorId=None, fileTemplate=None, imageDirectory="/elsewhere/")
    add_collection(imageDirectory=None, runStatus="é" * 40)
    found = compare()
    assert len(found) == 6
    scenario = facts(found[known])
    assert (scenario.space_group.string, scenario.anomalous_scatterer.string) == ("P41212", "S")
    assert (scenario.visit, scenario.detector_class) == ("mx12345-1", DetectorClass.EIGER)
    assert scenario.preferred_processing == "xia2/DIALS"
    scenario, warnings = found[of_group][0]
    assert scenario.preferred_processing == "autoPROC"
    assert scenario.space_group is scenario.unit_cell is None
    assert len(warnings) == 1


def test_electron_microscopes_nulls_and_collections_without_beamline(compare, engine, add, add_group):
    nothing = add(models.DataCollection(dataCollectionGroupId=add_group(experimentType="EM"), startTime=STARTED))
    nowhere = add(models.DataCollectionGroup(sessionId=_session_without_beamline(engine)))
    lost = add(
        models.DataCollection(dataCollectionGroupId=nowhere.dataCollectionGroupId, startTime=STARTED)
    ).dataCollectionId
    found = compare()
    assert facts(found[nothing.dataCollectionId]).dc_class is DCClass.UNDEFINED
    assert "names no beamline" in found[lost]


def _session_without_beamline(engine):
    with Session(engine) as session:
        session.add(visit := models.BLSession(proposalId=_first(engine, models.Proposal).proposalId))
        session.commit()
        return visit.sessionId


@pytest.fixture
def visits():
    """Folders of two visits; the first has so many YAML files that they aren't all looked at."""
    with TemporaryDirectory(dir="/tmp") as facility:
        # As deep as at Diamond, by which a visit is told from what is in it; pytest's own folder may be deeper
        folders = [Path(facility, "data", "2026", name) for name in ("mx12345-1", "mx12345-2")]
        for folder in folders:
            (folder / "processing").mkdir(parents=True)
        yield folders


def test_visits_yaml_files_count_where_ispyb_says_nothing(compare, add_collection, visits):
    one, two = visits
    for number in range(12):
        (one / "processing" / f"x{number}.yml").write_text(f"ispyb_space_group: P{1 + number % 2}\n")
    (two / "processing" / "Lys.yaml").write_text("ispyb_unit_cell: [78, 78, 37, 90, 90, 90]\n")
    (two / "processing" / "bad.yml").write_text("- no mapping\n")
    without = {"BLSAMPLEID": None}
    last = add_collection(imageDirectory=f"{one}/X11/", **without)
    add_collection(imageDirectory=f"{one}/a/x2/", **without)
    add_collection(imageDirectory=f"{one}/x2/")  # the sample's crystal counts
    cell = add_collection(imageDirectory=f"{two}/lys/", **without)
    for name in ("bad", "none"):
        add_collection(imageDirectory=f"{two}/{name}/", **without)
    add_collection(imageDirectory=f"{two.parent}/mx12345-3/x/", **without)
    found = compare(size=10)
    assert facts(found[last]).space_group.string == "P121"
    assert facts(found[cell]).unit_cell.a == 78


def test_file_system_that_does_not_answer_is_told_once(engine, add_collection, visits, monkeypatch, caplog):
    def hangs(_questions):
        raise TimeoutError

    monkeypatch.setattr(visit_crystals, "look_into_all", hangs)
    dcids = [add_collection(imageDirectory=f"{visits[0]}/x/", BLSAMPLEID=None) for _ in range(4)]
    with caplog.at_level(logging.WARNING):
        pages = list(read_period(engine, AT_ALL_TIMES, size=2))
    assert [some.dcid for page in pages for some in page.collections] == dcids
    assert len(caplog.records) == 1
    assert "couldn't be read within 10 s" in caplog.text


def test_period_and_beamlines(engine, add, add_collection, facility):
    person = _first(engine, models.Person).personId
    proposal = add(models.Proposal(proposalCode="cm", proposalNumber="1", personId=person)).proposalId
    i04 = add(models.BLSession(proposalId=proposal, beamLineName="i04", visit_number=1)).sessionId
    times = [STARTED + timedelta(days=n) for n in range(4)]
    dcids = [add_collection(startTime=at, SESSIONID=i04 if n % 2 else facility.session) for n, at in enumerate(times)]
    add_collection(startTime=None)

    def found(*period):
        pages = read_period(engine, Period(*period), size=2)
        return [some.dcid for page in pages for some in page.collections]

    assert found(times[0]) == dcids
    assert found(times[1], times[3]) == dcids[1:3]
    assert found(times[0], None, ("i04",)) == dcids[1::2]
    assert found(times[0], None, ("i03", "i04")) == dcids
    assert found(times[3] + timedelta(seconds=1)) == []


def test_zero_dates_are_at_no_time(engine, add_collection):
    add_collection()
    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            connection.execute(text("SET sql_mode = ''"))
        connection.execute(text("UPDATE DataCollection SET startTime = '0000-00-00 00:00:00'"))
        connection.commit()
        connection.invalidate()
    assert [page for page in read_period(engine, AT_ALL_TIMES) if page.collections] == []


def test_a_page_takes_few_statements(engine, add_collection):
    for _ in range(20):
        add_collection()
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    (page,) = read_period(engine, AT_ALL_TIMES)
    assert len(page.collections) == 20
    assert len([one for one in statements if one.startswith("SELECT") and "FROM" in one]) == 5
    assert page.read == 1


@only_sqlite
def test_a_collection_that_started_at_no_time_is_told(engine, add_collection):
    dcids = [add_collection() for _ in range(3)]
    with engine.begin() as connection:
        statement = text("UPDATE DataCollection SET startTime = 'yesterday' WHERE dataCollectionId = :dcid")
        connection.execute(statement, {"dcid": dcids[1]})
    (page,) = read_period(engine, AT_ALL_TIMES)
    assert [one.dcid for one in page.collections] == dcids
    told = page.collections[1]
    assert isinstance(told, UnreadCollection)
    assert told.reason.startswith("expected a time as its startTime in ISPyB")


@only_sqlite
def test_a_collection_whose_values_no_reader_foresaw_does_not_stop_the_others(engine, add_collection, monkeypatch):
    from tasks.ispyb_access.reading.past import reader

    dcids, right = [add_collection() for _ in range(3)], reader.facts_of

    def facts_of(row, *args, **options):
        if row.dcid == dcids[1]:
            raise ValueError("no such thing")
        return right(row, *args, **options)

    monkeypatch.setattr(reader, "facts_of", facts_of)
    (page,) = read_period(engine, AT_ALL_TIMES)
    assert [some.dcid for some in page.collections] == dcids
    assert page.collections[1] == UnreadCollection(dcids[1], "ValueError: no such thing")


HOSTILE = {
    "text": "'many'",
    "huge number": "1e300",
    "infinite": "9e999",
    "64 bits": "9223372036854775807",
    "negative": "-9223372036854775807",
    "blob": "x'00ff1b5b33316d'",
    "NUL": "'a' || char(0) || 'b'",
    "climbs": "'/../../../etc/'",
    "hashes": "printf('%.*c', 50000, '#') || 'a#'",
    "empty": "''",
}
READ_OF = {
    "DataCollection": (
        *("runStatus", "startImageNumber", "numberOfImages", "overlap", "axisRange", "imageDirectory", "fileTemplate"),
    ),
    "DataCollectionGroup": ("experimentType",),
    "BLSession": ("beamLineName", "visit_number"),
    "Proposal": ("proposalCode", "proposalNumber"),
    "Detector": ("detectorModel",),
    "Crystal": ("spaceGroup", "cell_a", "cell_b", "cell_alpha"),
    "DiffractionPlan": ("anomalousScatterer",),
}


@only_sqlite
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_any_value_in_any_column_is_read_as_by_itself(engine, compare, add_collection, value):
    add_collection()
    for tables in (["DataCollection"], READ_OF):
        with engine.begin() as connection:
            for table in tables:
                changes = ", ".join(f"{column} = {value}" for column in READ_OF[table])
                connection.exec_driver_sql(f"UPDATE OR IGNORE {table} SET {changes}")
        assert len(compare()) == 1
