"""What a site's ISPyB lacks of what Plaza uses is named."""

import re

import pytest
from sqlalchemy import event, text
from typer.testing import CliRunner

from blocks.ispyb_connection import open_engine
from blocks.sqlite_file import make_file
from flows.cli.ispyb.tables import app
from tasks.ispyb_access.schema.check import NOT_USED, USED, check_schema
from tasks.ispyb_access.schema.rights import READ
from tasks.ispyb_access.schema.tables import METADATA, SCHEMA_VERSION
from tests.support.checkout import CHECKOUT


@pytest.fixture
def alter(engine):
    """Change the tables for the time of the test."""
    undo = []

    def alter(statement, back):
        undo.append(back)
        with engine.begin() as connection:
            connection.execute(text(statement))

    yield alter
    with engine.begin() as connection:
        for statement in undo:
            connection.execute(text(statement))


def check(engine):
    return CliRunner().invoke(app, ["check", "--ispyb", engine.url.render_as_string(hide_password=False)])


def test_schema_of_our_own_has_all(engine):
    found = check_schema(engine)
    assert (found.version, found.lacks_any, found.warnings) == (SCHEMA_VERSION, False, ())
    told = check(engine)
    assert (told.exit_code, "has all that Plaza uses" in told.output) == (0, True)


def test_missing_columns_and_tables_are_named(engine, alter):
    alter("ALTER TABLE GridInfo RENAME COLUMN snaked TO wound", "ALTER TABLE GridInfo RENAME COLUMN wound TO snaked")
    alter("ALTER TABLE AutoProcProgram RENAME COLUMN jobUuid TO uuid",
          "ALTER TABLE AutoProcProgram RENAME COLUMN uuid TO jobUuid")  # fmt: skip
    alter("ALTER TABLE PDB RENAME TO Structures", "ALTER TABLE Structures RENAME TO PDB")
    alter("UPDATE AdminVar SET value = '5.0.0'", f"UPDATE AdminVar SET value = '{SCHEMA_VERSION}'")
    found = check_schema(engine)
    assert (found.missing_columns, found.missing_tables, found.version) == (("GridInfo.snaked",), ("PDB",), "5.0.0")
    told = check(engine)
    assert told.exit_code == 1
    assert "GridInfo.snaked" in told.output
    assert "only to others: PDB" in told.output
    assert f"version 5.0.0, Plaza's models are of {SCHEMA_VERSION}" in told.output


def test_other_version_alone_is_a_warning(engine, alter):
    alter("DELETE FROM AdminVar", f"INSERT INTO AdminVar VALUES (1, 'schemaVersion', '{SCHEMA_VERSION}')")
    told = check(engine)
    assert told.exit_code == 0
    assert "version unknown" in told.output


def test_only_what_is_used_is_looked_at(engine):
    statements = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, statement, *_: statements.append(statement))
    check_schema(engine)
    assert not any("Tomogram" in statement for statement in statements)
    assert len(statements) < 3 * len(USED)


def test_database_without_tables_says_how_to_make_them(tmp_path):
    empty = open_engine(f"sqlite:///{tmp_path}/empty.sqlite")
    make_file(empty)
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE other (x)"))
    assert check_schema(empty).warnings == ("ISPyB has none of its tables: make them with `plaza ispyb create`.",)
    assert check(empty).exit_code == 1
    empty.dispose()


def test_list_of_used_tables_is_that_of_the_code():
    named = re.compile(r"""(?:(?:tables|TABLES)\[|\btable\()"(\w+)"[\])]""")
    sources = (CHECKOUT / "tasks" / "ispyb_access").rglob("*.py")
    assert set(USED) == {name for file in sources for name in named.findall(file.read_text())} - {"AdminVar"}
    assert {name.split(".")[0] for name in NOT_USED} <= set(USED) <= set(METADATA.tables)


def test_list_of_tables_that_are_read_is_that_of_the_code():
    named = re.compile(r"""(?:tables|TABLES)\["(\w+)"\]""")
    rooms = [CHECKOUT / "tasks" / "ispyb_access" / room for room in ("reading", "overviews")]
    read = {name for room in rooms for file in room.rglob("*.py") for name in named.findall(file.read_text())}
    assert set(READ) == read
