"""Whatever a test of this folder has a command do, or call, has to be among what the command declares."""

from dataclasses import replace

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS
from tasks.ispyb_access.writing.grants.needs import NONE, Right
from tasks.ispyb_access.writing.procedures.calling import Connector
from tasks.ispyb_access.writing.procedures.coverage import PROCEDURES, called
from tasks.ispyb_access.writing.procedures.routines import PARAMETERS
from tests.support import ispyb_roles
from tests.support.ispyb_procedures import drop_procedures, make_procedures
from tests.support.statement_rights import rights_used


@pytest.fixture(scope="module")
def made(mariadb):
    """The databases that have their procedures, for as long as a module's tests last."""
    made = set()
    yield made
    for database in made:
        drop_procedures(mariadb, database)


@pytest.fixture
def ispyb(settings, mariadb, made):
    """The test's database, as its owner; it has procedures."""
    url = make_url(settings.ispyb_url)
    if url.database not in made:
        make_procedures(mariadb, url.database)
        made.add(url.database)
    return url


@pytest.fixture
def users(mariadb, ispyb):
    """Make the users anew, by the rights of the role that writes; return their URLs."""

    def make(tables=ispyb_roles.NEW):
        if "plaza_ledger" not in tables:
            mariadb.execute("DROP TABLE IF EXISTS ispyb.plaza_ledger")  # which these users may neither have nor make
        return ispyb_roles.make_users(mariadb, ispyb, tables)

    yield make
    mariadb.execute("DROP USER IF EXISTS zocalo@'127.0.0.1', reader@'127.0.0.1', one_user@'127.0.0.1'")


@pytest.fixture
def grid(engine, add_group, add_collection):
    """A data collection of a grid; its dcid, its group, and the grid's id."""
    group = add_group(experimentType="Mesh")
    dcid = add_collection(dataCollectionGroupId=group, numberOfImages=20)
    with Session(engine) as session:
        info = models.GridInfo(dataCollectionId=dcid, steps_x=5, steps_y=4)
        session.add(info)
        session.commit()
        return dcid, group, info.gridInfoId


@pytest.fixture
def rows(engine):
    def rows(table, *columns):
        chosen = METADATA.tables[table]
        statement = select(*(chosen.c[name] for name in columns)).order_by(*chosen.primary_key.columns)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(statement)]

    return rows


@pytest.fixture(autouse=True)
def used_rights(monkeypatch):
    """Note which rights commands use, by their names; a command that uses more than it declares fails."""
    noted = {}

    def watched(name, command):
        def write(connection, parameters):
            with rights_used() as used:
                answer = command.write(connection, parameters)
            needs = command.needs_for(parameters)
            declared = {name: needs.own.get(name, NONE) | needs.if_granted.get(name, NONE) for name in used}
            more = {
                table: right & ~declared[table] & ~(Right.SELECT if table in needs.read else NONE)
                for table, right in used.items()
            }
            assert not any(more.values()), f"{name} uses more than it declares: {more}"
            for table, right in used.items():
                noted.setdefault(name, {})[table] = noted.get(name, {}).get(table, NONE) | right
            return answer

        return replace(command, write=write)

    for commands in (COMMANDS, BUFFER_COMMANDS):
        for name, command in commands.items():
            monkeypatch.setitem(commands, name, watched(name, command))
    return noted


@pytest.fixture(autouse=True)
def calls_watched(monkeypatch):
    """A command that calls procedures which it doesn't declare, or with another number of parameters, fails."""
    declared = {}

    def watched(name, procedure):
        def call(ispyb, parameters):
            declared.clear()
            declared.update(called(name, parameters))
            answer = procedure(ispyb, parameters)
            declared.clear()
            return answer

        return call

    for name, procedure in PROCEDURES.items():
        monkeypatch.setitem(PROCEDURES, name, watched(name, procedure))
    write, retrieve = Connector.call_sp_write, Connector.call_sp_retrieve

    def writing(self, procname, args):
        assert not declared or declared.get(procname) == len(args), f"{procname} is called with {len(args)} parameters"
        return write(self, procname, args)

    def retrieving(self, procname, args):  # some look only if they may
        assert PARAMETERS[procname] == len(args)
        return retrieve(self, procname, args)

    monkeypatch.setattr(Connector, "call_sp_write", writing)
    monkeypatch.setattr(Connector, "call_sp_retrieve", retrieving)
