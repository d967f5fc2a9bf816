"""Commands declare the rights that they use, no less (see conftest) and no more; procedures, those that they call."""

from functools import reduce
from operator import or_

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session

from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.grants.granted import EMPTIED
from tasks.ispyb_access.writing.grants.needs import CHANGE, NONE, Right
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter
from tests.support.dev_mariadb import only_sqlite
from tests.support.ispyb_script import SCRIPT, command
from tests.support.statement_rights import rights_of

CRYSTAL = {"centre_of_mass": [2.5, 1.25], "n_voxels": 4}
RESULT = {
    "auto_proc_program": {"command_line": "dimple", "programs": "dimple", "status": True,
                          "start_time": "2024-05-01 12:00:00", "end_time": "2024-05-01 12:05:00"},
    "blobs": [{"xyz": [1, 2, 3]}],
    "attachments": [{"file_type": "log", "file_path": "/dls", "file_name": "x.log"}],
}  # fmt: skip


def more(dcid, other, protein, folder, scaling, program):
    """Return the commands that the script hasn't, or hasn't in all their ways."""
    (folder / "x.log").touch()
    file = {"file_name": "x.log", "file_path": str(folder)}
    scaled = {"mxmrrun": {"auto_proc_scaling_id": scaling}}
    again = {"mxmrrun": {"auto_proc_scaling_id": scaling, "auto_proc_program_id": program}}
    results = [[CRYSTAL], [CRYSTAL, CRYSTAL], []]
    return [
        *(command("insert_xray_centring", dcid=dcid, status="success" if found else "x", results=found)
          for found in results),
        command("insert_xray_centring", dcid=other, results=[CRYSTAL]),
        command("insert_dimple_result", **RESULT, **scaled), command("insert_metal_id_result", **RESULT, **scaled),
        command("insert_dimple_result", **RESULT, **again), command("insert_metal_id_result", **RESULT, **again),
        command("insert_pdb_files", protein_id=protein, pdb_files=[str(folder / "x.log")]),
        command("insert_mxmr_run", id="$run", scaling_id=scaling, message="again"),
        command("store_dimple_failure", scaling_id="$scaling", directory="/dls"),
        command("register_processing", program="dimple", scaling_id="$scaling"),
        command("add_program_attachment", program_id="$program", **file),
        command("add_datacollection_attachment", dcid=dcid, **file),
        command("register_integration", integration_id="$integration", scaling_id="$scaling", cell_a=1),
        command("retrieve_program_attachments_for_program_id", program_id="$program"),
    ]  # fmt: skip


def references(program):
    return [
        {"ispyb_command": "buffer", "program_id": program, "buffer_store": 1,
         "buffer_command": {"ispyb_command": "write_autoproc", "program_id": program}},
        {"ispyb_command": "buffer", "program_id": program, "buffer_store": 1, "buffer_lookup": {"autoproc_id": 1},
         "buffer_command": {"ispyb_command": "write_autoproc"}},
    ]  # fmt: skip


@only_sqlite
def test_each_right_that_is_declared_is_used(engine, facility, add_group, add_collection, used_rights, tmp_path):
    group = add_group(experimentType="Mesh")
    dcid, other = add_collection(dataCollectionGroupId=group), add_collection()
    with Session(engine) as session:
        session.add_all(models.GridInfo(dataCollectionId=one, steps_x=5, steps_y=4) for one in (dcid, other))
        session.commit()
        protein = session.query(models.Protein.proteinId).scalar()
    environment = {"dcid": dcid, "session_id": facility.session, "visit": "mx12345-1"}
    items = [item | {"sweeps": []} if item["ispyb_command"] == "create_ispyb_job" else item for item in SCRIPT]
    outcome = fulfil(Request(MULTIPART, ({"ispyb_command_list": items},), environment), SqlWriter(engine), None)
    found = outcome.stored
    items = more(dcid, other, protein, tmp_path, found["scaling"], found["program"])
    fulfil(Request(MULTIPART, ({"ispyb_command_list": items},), found), SqlWriter(engine), None)
    for item in references(1):
        fulfil(Request("buffer", (item,), {}), SqlWriter(engine), None)
    assert used_rights.keys() == COMMANDS.keys() | BUFFER_COMMANDS.keys()
    unused = {}
    for name, one in {**COMMANDS, **BUFFER_COMMANDS}.items():
        needs = reduce(or_, (other.needs for other in one.sometimes), one.needs)
        declared = dict.fromkeys(needs.read, Right.SELECT)
        for rights in (needs.own, needs.if_granted):
            for table, right in rights.items():
                declared[table] = declared.get(table, NONE) | right
        idle = {table: right & ~used_rights[name].get(table, NONE) for table, right in declared.items()}
        unused |= {f"{name}: {table}": right for table, right in idle.items() if right}
    assert unused == {"insert_xray_centring: XrayCentringResult": Right.UPDATE}, "for who may not delete: test_grants"


def test_tables_from_which_rows_are_deleted_are_asked_about():
    deleted = {
        table
        for one in COMMANDS.values()
        for needs in (one.needs, *(other.needs for other in one.sometimes))
        for rights in (needs.own, needs.if_granted)
        for table, right in rights.items()
        if Right.DELETE in right
    }
    assert deleted == set(EMPTIED)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("INSERT INTO PDB (x) VALUES (1)", {"PDB": Right.INSERT}),
        ("INSERT IGNORE INTO PDB (x) VALUES (1)", {"PDB": Right.INSERT}),
        ("INSERT INTO PDB (x) VALUES (1) ON DUPLICATE KEY UPDATE x = 1", {"PDB": Right.INSERT | CHANGE}),
        ("UPDATE PDB SET x = 1 WHERE y = 2", {"PDB": CHANGE}),
        ("DELETE FROM PDB WHERE y = 2", {"PDB": Right.DELETE | Right.SELECT}),
        ('SELECT 1 \nFROM `PDB` JOIN "Protein" ON x', {"PDB": Right.SELECT, "Protein": Right.SELECT}),
        ("SELECT 1 FROM information_schema.COLUMNS", {}),
    ],
)  # fmt: skip
def test_statements_are_read_right(statement, expected):
    assert rights_of(statement) == expected
