"""What has to do with a data collection: samples, groups, scans, models, events; in how many statements."""

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import event
from sqlalchemy.orm import Session

from tasks.ispyb_access.reading.reader import read_data_collection
from tasks.ispyb_access.reading.visit.files import FileAccess


def read(engine, dcid, access=FileAccess.FULL):
    return read_data_collection(engine, dcid, "guid-1", access).recipe_parameters()


@pytest.fixture
def change(engine):
    def change(model, key, **values):
        with Session(engine) as session:
            row = session.get(model, key)
            for name, value in values.items():
                setattr(row, name, value)
            session.commit()

    return change


@pytest.fixture
def add_sample(engine, add, facility):
    """Add a sample, of the same crystal unless it's said otherwise."""

    def make(name, **columns):
        columns = {"crystalId": facility.crystal, "containerId": facility.container, "location": name} | columns
        return add(models.BLSample(name=name, **columns)).blSampleId

    return make


@pytest.fixture
def add_samples_group(add):
    def make(name, *samples):
        group = add(models.BLSampleGroup(name=name)).blSampleGroupId
        add(*(models.BLSampleGroupHasBLSample(blSampleGroupId=group, blSampleId=sample) for sample in samples))
        return group

    return make


def test_collections_of_the_same_sample_are_related(engine, add_collection, add_group, add_sample, facility):
    one, two = add_collection(), add_collection()
    by_group = add_collection(BLSAMPLEID=None, dataCollectionGroupId=add_group(blSampleId=facility.sample))
    other = add_sample("x2")
    add_collection(BLSAMPLEID=other, dataCollectionGroupId=add_group(blSampleId=facility.sample))
    add_collection(BLSAMPLEID=None)
    expected = [{"dcids": [one, two, by_group], "sample_id": facility.sample, "name": "x1"}]
    for dcid in (one, two, by_group):
        assert read(engine, dcid)["ispyb_related_dcids"] == expected


def test_without_sample_those_in_the_same_directory_are_related(engine, add_collection):
    one, two = (add_collection(BLSAMPLEID=None) for _ in range(2))
    three = add_collection()  # whatever its sample
    add_collection(BLSAMPLEID=None, imageDirectory="/dls/i03/data/2024/mx12345-1/lys/X1/")
    add_collection(BLSAMPLEID=None, imageDirectory="/dls/i03/data/2024/mx12345-1/lys/")
    assert read(engine, one)["ispyb_related_dcids"] == [{"dcids": [two, three]}]


def test_without_sample_and_directory_none_is_related(engine, add_collection):
    dcids = [add_collection(BLSAMPLEID=None, imageDirectory=None) for _ in range(2)]
    assert read(engine, dcids[0])["ispyb_related_dcids"] == [{"dcids": []}]


def test_sample_groups_come_first(engine, add_collection, add_group, add_sample, add_samples_group, facility):
    second, third = add_sample("x2"), add_sample("x3")
    one = add_collection()
    two = add_collection(BLSAMPLEID=second)
    three = add_collection(BLSAMPLEID=None, dataCollectionGroupId=add_group(blSampleId=third))
    both, all_three = (
        add_samples_group("both", facility.sample, second),
        add_samples_group("all", facility.sample, second, third),
    )
    add_samples_group("others", second, third)
    assert read(engine, one)["ispyb_related_dcids"] == [
        {"dcids": [one, two], "sample_group_id": both, "name": "both"},
        {"dcids": [one, two, three], "sample_group_id": all_three, "name": "all"},
        {"dcids": [one], "sample_id": facility.sample, "name": "x1"},
    ]


@pytest.fixture
def visit_directory(tmp_path):
    folder = tmp_path / "mx12345-1"
    (folder / "processing").mkdir(parents=True)
    return folder


def test_sample_groups_of_the_visits_file_are_related(engine, add_collection, visit_directory, facility):
    (visit_directory / "processing" / "sample_groups.yml").write_text("- [x1, x2]\n- [x3]\n- [x4, x1]\n")
    one, two, three = (add_collection(imageDirectory=f"{visit_directory}/{name}/") for name in ("x1", "a/x2", "x3"))
    add_collection(imageDirectory="/elsewhere/x2/")
    found = read(engine, one)["ispyb_related_dcids"]
    assert found[:-1] == [{"dcids": [one, two]}, {"dcids": [one]}]
    assert found[-1]["sample_id"] == facility.sample
    assert read(engine, three)["ispyb_related_dcids"][0] == {"dcids": [three]}


def test_sample_groups_of_ispyb_go_before_the_visits_file(
    engine, add_collection, add_samples_group, visit_directory, facility
):
    (visit_directory / "processing" / "sample_groups.yml").write_text("- [x1, x2]\n")
    group = add_samples_group("mine", facility.sample)
    dcid = add_collection(imageDirectory=f"{visit_directory}/x1/")
    assert [some.get("sample_group_id") for some in read(engine, dcid)["ispyb_related_dcids"]] == [group, None]


def test_cell_of_the_visits_file_counts_if_ispyb_has_none(engine, add_collection, visit_directory):
    text = "ispyb_unit_cell: [1, 2, 3, 90, 91, 92]\nispyb_space_group: P2\n"
    (visit_directory / "processing" / "x1.yml").write_text(text)
    place = {"imageDirectory": f"{visit_directory}/X1/"}
    without, sampled = read(engine, add_collection(BLSAMPLEID=None, **place)), read(engine, add_collection(**place))
    assert (without["ispyb_space_group"], without["ispyb_unit_cell"]) == ("P2", (1, 2, 3, 90, 91, 92))
    assert sampled["ispyb_space_group"] == "P41212"


def test_files_may_be_left_alone(engine, add_collection, visit_directory):
    (visit_directory / "processing" / "x1.yml").write_text("ispyb_space_group: P2\n")
    dcid = add_collection(BLSAMPLEID=None, imageDirectory=f"{visit_directory}/x1/")
    assert read(engine, dcid, FileAccess.NONE)["ispyb_space_group"] == ""


def test_models_of_the_protein_are_named_or_written(engine, add, add_collection, facility, visit_directory):
    rows = [
        models.PDB(name="1abc", code="1abc"),
        models.PDB(name="mine.pdb", contents="ATOM  1\n", source="me"),
        models.PDB(name="other.pdb", contents="of another protein"),
    ]
    add(*rows)
    with Session(engine) as session:
        protein = session.get(models.Crystal, facility.crystal).proteinId
    add(*(models.ProteinHasPDB(proteinid=protein, pdbid=row.pdbId) for row in rows[:2]))
    first, second = read(engine, add_collection(imageDirectory=f"{visit_directory}/x1/"))["ispyb_pdb"]
    assert first == {"code": "1abc", "filepath": None, "source": None}
    assert (second["code"], second["source"]) == (None, "me")
    written = visit_directory / "tmp" / "pdb"
    (path,) = written.glob("*/mine.pdb")
    assert (second["filepath"], path.read_text()) == (str(path), "ATOM  1\n")


def test_energy_scan_of_the_session_on_the_protein_is_chosen(engine, add, add_collection, add_sample, facility):
    with Session(engine) as session:
        proposal = session.get(models.BLSession, facility.session).proposalId
    elsewhere = add(models.BLSession(proposalId=proposal, beamLineName="i04", visit_number=2)).sessionId
    protein = add(models.Protein(proposalId=proposal, acronym="other")).proteinId
    stranger = add_sample("x9", crystalId=add(models.Crystal(proteinId=protein)).crystalId)
    selenium = {"element": "Se", "peakEnergy": 12660, "inflectionEnergy": 12656, "peakFPrime": -8.5}
    sibling = add_sample("x2")
    add(models.EnergyScan(sessionId=elsewhere, blSampleId=facility.sample, **selenium))
    add(models.EnergyScan(sessionId=facility.session, blSampleId=stranger, **selenium))
    add(models.EnergyScan(sessionId=facility.session, blSampleId=facility.sample, **(selenium | {"element": None})))
    dcid = add_collection(wavelength=12398.42 / 12660)
    assert read(engine, dcid)["ispyb_energy_scan_info"] == {}
    scan = add(models.EnergyScan(sessionId=facility.session, blSampleId=sibling, **selenium)).energyScanId
    assert read(engine, dcid)["ispyb_energy_scan_info"] == {
        "energyscanid": scan, "atom_type": "Se", "edge_position": "peak", "fp": -8.5, "fpp": None,
    }  # fmt: skip


@pytest.fixture
def add_events(add):
    def make(dcid, *repetitions):
        detection, laser = add(models.EventType(name="XrayDetection")), add(models.EventType(name="LaserExcitation"))
        chain = add(models.EventChain(dataCollectionId=dcid, name="pump-probe")).eventChainId
        rows = [
            models.Event(eventChainId=chain, eventTypeId=detection.eventTypeId, offset=0.5, repetition=number)
            for number in repetitions
        ]
        add(*rows, models.Event(eventChainId=chain, eventTypeId=laser.eventTypeId, offset=0, repetition=7))

    return make


def test_events_of_serial_collections_are_told(engine, add_collection, add_group, add_events):
    dcid = add_collection(dataCollectionGroupId=add_group(experimentType="Serial Fixed"), overlap=None)
    add_events(dcid, 3, 2, None)
    found = read(engine, dcid)
    assert [one["eventType"] for one in found["ispyb_ssx_events"]] == [*3 * ["XrayDetection"], "LaserExcitation"]
    assert found["ispyb_ssx_events"][0]["offset"] == 0.5
    assert {column.name for column in models.Event.__table__.columns} < set(found["ispyb_ssx_events"][0])
    assert found["ispyb_ssx_shots_per_image"] == 5


@pytest.mark.parametrize("columns", [{"numberOfImages": 1}, {"axisRange": None, "overlap": None}])
def test_events_of_others_are_not(engine, add_collection, add_events, columns):
    dcid = add_collection(**columns)
    add_events(dcid, 3)
    assert "ispyb_ssx_events" not in read(engine, dcid)


KINDS = {
    "rotation": {},
    "grid": {"axisRange": 0.0},
    "screening": {"numberOfImages": 3, "overlap": -44.5},
    "without sample": {"BLSAMPLEID": None},
    "electron microscope": {"overlap": None, "axisRange": None, "numberOfImages": None, "startImageNumber": None},
}


@pytest.mark.parametrize("kind", [*KINDS, "serial"])
def test_it_takes_eight_statements_at_most(
    engine, add, add_collection, add_group, add_samples_group, add_events, change, visit_directory, facility, kind
):
    change(models.BLSample, facility.sample, loopType="multipin_3x50+10", subLocation=1)
    (visit_directory / "processing" / "sample_groups.yml").write_text("- [x1]\n")
    group = add_group(experimentType="Serial Fixed" if kind == "serial" else "SAD")
    columns = {"dataCollectionGroupId": group, "imageDirectory": f"{visit_directory}/x1/"} | KINDS.get(kind, {})
    dcids = [add_collection(**columns) for _ in range(3)]
    if kind == "grid":
        add(models.GridInfo(dataCollectionId=dcids[0], steps_x=5, steps_y=4))
    add_events(dcids[0], 1)
    statements = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
    found = read(engine, dcids[0])
    assert found["ispyb_dcg_dcids"] == dcids[1:]
    assert found["ispyb_related_dcids"][0] == {"dcids": dcids}  # of the file: that's the eighth
    selects = [statement for statement in statements if not statement.startswith("BEGIN")]
    assert 4 <= len(selects) <= 8
    if kind in {"rotation", "serial"}:
        assert len(selects) == 8
