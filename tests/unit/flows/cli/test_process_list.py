"""No other user of the machine reads a database's password in the process list."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.cli import process_list
from flows.cli.process_list import hide_urls

URL = "mysql+pymysql://crowfoot:s3cret@{}/ispyb"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("last", "i03", "--ispyb", "mysql://u:s3cret@h/x", "-n", "2"), "plaza last i03 --ispyb '***' -n 2"),
        (("last", "--ispyb=mysql://u:s3cret@h/x?a=b", "i03"), "plaza last '--ispyb=***' i03"),
        (("last", "--ispyb", "u:s3cret@h/x"), "plaza last --ispyb '***'"),
        (("ispyb", "create", "--url", "mysql://h/x?password=s3cret"), "plaza ispyb create --url '***'"),
        (("last", "--ispyb", "sqlite:////x.sqlite"), None),
        (("last", "--ispyb", "/etc/ispyb.url"), None),
        (("last", "i03", "--ispyb"), None),
        (("step", "run", "x", "http://host/x"), None),
    ],
)
def test_only_databases_urls_are_hidden(words, shown, monkeypatch):
    titles = []
    monkeypatch.setattr("setproctitle.setproctitle", titles.append)
    monkeypatch.setenv("SPT_NOENV", "1")
    hide_urls(["/venv/bin/plaza", *words])
    assert titles == ([] if shown is None else [shown])


@pytest.mark.parametrize("given", [("--ispyb", URL), (f"--ispyb={URL}",)])
def test_process_list_has_no_trace_of_it(given, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # which never answers
        address = f"127.0.0.1:{server.getsockname()[1]}"
        words = [word.format(address) for word in given]
        process = subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", "last", "i03", *words],
            env=os.environ | {"PLAZA_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                server.settimeout(60)
                server.accept()[0].close()
                told = process.stderr.readline()
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                seen = [Path(f"/proc/{each.pid}/{file}").read_text() for each in family for file in ("cmdline", "comm")]
            finally:
                process.kill()
    assert not any("s3cret" in text for text in seen)
    assert "plaza last i03" in seen[0]
    assert "--ispyb FILE" in told
    assert "s3cret" not in told


def test_hiding_comes_before_what_takes_long():
    script = (
        "import sys; import flows.cli.process_list as p; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    source = Path(process_list.__file__).with_name("__init__.py").read_text()
    assert source.index("hide_urls()") < source.index("flows.cli.main")
    done = subprocess.run(
        [sys.executable, "-c", script.replace("flows.cli.process_list", "process_list")],
        cwd=Path(process_list.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"typer", "pydantic", "asyncio"} & set(done.stdout.split())
