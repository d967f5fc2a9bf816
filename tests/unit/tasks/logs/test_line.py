import json
import logging
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.logs.line import LogLine, LogLineFormatter
from tasks.step.identity import StepIdentity, acting_for

STEP = StepIdentity("3f2a9c1b-0000", "per-image-analysis", 7, 2, "analyse_images")
TEXT = st.text(st.characters(exclude_categories=()))  # even lone surrogates, as file names have


def record(message="all %d", /, *arguments, **extra):
    made = logging.makeLogRecord({"name": "tasks.archiver", "levelname": "INFO", "levelno": 20, "msg": message})
    made.args = arguments
    vars(made).update(extra)
    return made


@given(
    st.builds(
        LogLine,
        st.floats(0, 4e9).map(lambda seconds: round(seconds, 3)),
        st.sampled_from(["INFO", "ERROR", "UNHEARD"]),
        TEXT,
        TEXT,
        st.none() | st.builds(StepIdentity, TEXT, TEXT, st.none() | st.integers(), st.none() | st.integers(), TEXT),
        TEXT,
        st.integers(0),
        st.none() | TEXT.filter(bool),
        st.dictionaries(TEXT, st.integers() | TEXT | st.none()),
    )
)
def test_line_survives_json_and_is_one_line_of_ascii(line):
    text = line.to_json()
    assert text.isascii()
    assert "\n" not in text
    again = LogLine.from_json(text)
    assert again.time == pytest.approx(line.time, abs=2e-6)
    assert LogLine.from_json(again.to_json()) == again
    for name in ("level", "logger", "message", "identity", "host", "pid", "traceback", "details"):
        assert getattr(again, name) == getattr(line, name)


@pytest.mark.parametrize(
    "text", ["", "{", "7", "[]", "{}", '{"time": 5}', b"\xff", '{"time": "2026-01-01"', "[" * 100_000]
)
def test_what_is_no_line_is_said_to_be_none(text):
    with pytest.raises(ValueError, match="expected a log line as JSON, seen"):
        LogLine.from_json(text)


def test_line_has_what_was_given_as_extra_and_not_what_handlers_have_added():
    made = record("all %d", 5, expected=5, file=json, recipe_run="other", message="all 5", asctime="12:00")
    line = LogLine.from_record(made)
    assert (line.message, line.level, line.logger) == ("all 5", "INFO", "tasks.archiver")
    assert line.details == {"expected": 5, "file": str(json)}
    assert pickle.loads(pickle.dumps(line)) == line


def test_line_is_written_on_behalf_of_who_logs():
    with acting_for(STEP):
        assert LogLine.from_record(record()).identity == STEP
    assert LogLine.from_record(record()).identity is None


def test_a_failure_without_an_exception_has_no_traceback():
    failed = record("failed")
    failed.exc_info, failed.exc_text = (None, None, None), "NoneType: None"
    assert LogLine.from_record(failed).traceback is None


def test_line_has_the_traceback():
    try:
        raise KeyError("x")
    except KeyError:
        made = record()
        made.exc_info = sys.exc_info()
    line = LogLine.from_record(made)
    assert line.traceback.startswith("Traceback")
    assert line.traceback.endswith("KeyError: 'x'")
    shown = logging.Formatter("%(message)s").format(line.to_record())
    assert shown == f"all %d\n{line.traceback}"


def test_line_from_elsewhere_stays_as_it_is_but_for_who_it_is_for():
    line = LogLine(5.25, "ERROR", "dxtbx", "100%", None, "node07", 42, None, {"distance": 1})
    assert LogLine.from_record(line.to_record()) == line
    with acting_for(STEP):
        relayed = LogLine.from_record(line.to_record())
        assert json.loads(LogLineFormatter().format(line.to_record()))["node"] == 2
    assert (relayed.identity, relayed.host, relayed.details) == (STEP, "node07", {"distance": 1})


@pytest.mark.parametrize(("level", "number"), [("INFO", 20), ("CRITICAL", 50), ("ODD", 30)])
def test_unknown_level_counts_as_a_warning(level, number):
    assert LogLine(0, level, "", "", None, "", 0).level_number == number
