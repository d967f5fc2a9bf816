"""A command is an entry in its family's module, and named nowhere else."""

import ast
from collections import Counter

import pytest
from sqlalchemy import create_engine

from tasks.ispyb_access.writing import ledger, writer
from tasks.ispyb_access.writing.commands import COMMANDS, FAMILIES, Command
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters
from tests.support.checkout import CHECKOUT

TASKS = CHECKOUT / "tasks"
OF_FAMILIES = {"commands", "procedures"}


def test_each_command_is_of_one_family():
    assert Counter(name for family in FAMILIES for name in family.COMMANDS) == Counter(list(COMMANDS))


def test_each_family_is_joined():
    modules = {path.stem for path in (TASKS / "ispyb_access" / "writing" / "commands").glob("*.py")}
    joined = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    assert (
        modules - {"__init__", "command", "references", "table"} == joined
    )  # recipes don't name what buffer is made of


def test_no_command_is_listed_outside_its_family():
    paths = [*(TASKS / "ispyb_access").rglob("*.py"), *(TASKS / "ispyb_connector").rglob("*.py")]
    others = [path for path in paths if path.parent.name not in OF_FAMILIES]
    assert others
    for path in others:
        nodes = ast.walk(ast.parse(path.read_text()))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        assert not texts & COMMANDS.keys(), path


class Greeting(CommandParameters):
    name: str


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(writer, "has_ledger", lambda engine: True)
    engine = create_engine("sqlite://")
    ledger.TABLE.create(engine)
    yield engine
    engine.dispose()


def test_a_new_command_is_a_model_a_function_and_an_entry(engine, monkeypatch):
    greet = Command(Greeting, lambda connection, greeting: f"hello {greeting.name}")
    monkeypatch.setitem(COMMANDS, "greet", greet)
    request = Request("greet", ({"name": "$whom"},), {"whom": "Dorothy"}, store_result="greeting")
    request.check()
    for _ in range(2):  # the second time from the ledger
        outcome = fulfil(request, writer.SqlWriter(engine), "run/1/greet")
        assert (outcome.value, outcome.stored) == ("hello Dorothy", {"greeting": "hello Dorothy"})
