import pytest

from flows.display_text import escaped, markdown_cell, markdown_text, moment, one_line, printable

NASTY = "a\x1b[31mb\nc\u202ed|`e`"


def test_text_for_a_line_has_blanks_for_what_a_terminal_would_obey():
    assert one_line(NASTY) == "a [31mb c d|`e`"


def test_lines_can_be_kept():
    assert printable(NASTY) == "a [31mb\nc d|`e`"


def test_what_is_not_printable_can_be_told():
    assert escaped(NASTY) == r"a\x1b[31mb\nc\u202ed|`e`"


def test_markdown_shows_text_as_it_is():
    assert markdown_text(NASTY) == r"a \[31mb c d\|\`e\`"


def test_markdown_in_a_table_keeps_its_meaning_but_breaks_no_row():
    assert markdown_cell("see `a|b`\nnow") == r"see `a\|b` now"


@pytest.mark.parametrize("no_time", [None, "soon", float("nan"), 1e300])
def test_what_is_no_time_is_shown_as_it_is(no_time):
    assert moment(no_time) == str(no_time)
