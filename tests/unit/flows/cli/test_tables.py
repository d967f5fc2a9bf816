import io

import pytest
from rich.console import Console
from rich.text import Text

from flows.cli.tables import NARROWEST, print_table

LONG = "/dls/i03/data/" + "x" * 300


def printed(*rows, width=80, terminal=False, **options):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, highlight=False)
    print_table(("id", "path"), rows, console, **options)
    return file.getvalue().splitlines()


def test_nothing_is_cut_in_a_pipe():
    assert printed(("1", LONG), ("22", "/b")) == ["id  path", f"1   {LONG}", "22  /b"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_last_column_is_folded_where_a_terminal_ends(width):
    lines = printed(("1", LONG), width=width, terminal=True)
    assert {len(line) for line in lines} == {max(width, NARROWEST)}
    assert "".join(line[4:].strip() for line in lines[1:]) == LONG


@pytest.mark.parametrize("terminal", [False, True])
def test_the_last_column_is_cut_where_that_is_asked_for(terminal):
    _, line = printed(("1", LONG), terminal=terminal, is_cut=True)
    assert line == f"1   {LONG}"[: NARROWEST - 1] + "…"


def test_control_characters_and_markup_are_shown_as_text():
    _, line = printed(("1", "\x1b[31mred\n[bold]"))
    assert line == "1    [31mred [bold]"


def test_cells_keep_their_style():
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system="standard")
    print_table(("status",), [(Text("failure", "red"),)], console)
    assert "\x1b[31mfailure" in file.getvalue()
