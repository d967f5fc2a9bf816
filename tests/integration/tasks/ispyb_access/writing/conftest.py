"""Whatever a test of this folder has a command do has to be among what the command declares that it does."""

from dataclasses import replace

import pytest

from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS
from tasks.ispyb_access.writing.grants.needs import NONE, Right
from tests.support.statement_rights import rights_used


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
            looked_up = needs.looked_up | needs.asked
            more = {
                table: right & ~declared[table] & ~(Right.SELECT if table in looked_up else NONE)
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
