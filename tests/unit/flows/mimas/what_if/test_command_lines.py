"""The command lines that ask for what Mimas asks for, in Zocalo's forms."""

import shlex
import shutil
import subprocess

import pytest

from flows.mimas.scenario import ImageRange, ISPyBJobInvocation, JobParameter, RecipeInvocation
from flows.mimas.what_if.command_lines import command_line


def job(**fields):
    return ISPyBJobInvocation(**({"dcid": 7, "autostart": False, "recipe": "autoprocessing-xia2-dials"} | fields))


FULL = job(
    autostart=True,
    source="automatic",
    display_name="xia2 dials",
    comment="it's ice",
    parameters=(JobParameter("spacegroup", "P41212"), JobParameter("unit_cell", "78,78,37,90,90,90")),
    sweeps=(ImageRange(7, 1, 900), ImageRange(8, 0, 0)),
    trigger_variables=(JobParameter("statistic-cluster", "iris"),),
)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (RecipeInvocation(1234, "archive-nexus"), "zocalo.go -r archive-nexus 1234"),
        (RecipeInvocation(1234, "my recipe"), "zocalo.go -r 'my recipe' 1234"),
        (job(), "ispyb.job --new --dcid=7 --source=automatic --recipe=autoprocessing-xia2-dials"),
        (
            FULL,
            "ispyb.job --new --dcid=7 --source=automatic --recipe=autoprocessing-xia2-dials --add-sweep=7:1:900 "
            "--add-sweep=8:0:0 --add-param=spacegroup:P41212 --add-param=unit_cell:78,78,37,90,90,90 "
            "--display='xia2 dials' --comment='it'\"'\"'s ice' --trigger --trigger-variable=statistic-cluster:iris",
        ),
    ],
)
def test_lines_are_zocalos(wanted, line):
    assert command_line(wanted) == line


HOSTILE = ["a b", "it's", '"$HOME"', "`id`; rm -rf /", "two\nlines\r", "\x1b[31m", "tab\t'and \\", "Å\u2028é", "*?[a]"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_reads_what_was_meant(text):
    wanted = job(display_name=text, comment=text, source=text, parameters=(JobParameter("key", text),))
    line = command_line(wanted)
    assert line.isprintable()
    words = subprocess.run(
        ["bash", "-c", f"ispyb.job() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, check=True
    ).stdout
    said = words.decode().split("\0")[:-1]
    assert said[2:] == [
        f"--source={text}",
        "--recipe=autoprocessing-xia2-dials",
        f"--add-param=key:{text}",
        f"--display={text}",
        f"--comment={text}",
    ]


def test_ordinary_words_are_pasted_as_they_are():
    assert shlex.split(command_line(FULL))[-3:] == [
        "--comment=it's ice",
        "--trigger",
        "--trigger-variable=statistic-cluster:iris",
    ]
