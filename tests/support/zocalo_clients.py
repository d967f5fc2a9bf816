"""Zocalo's own clients, unchanged, in environments of their own (`./plaza test` makes them), on a broker."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.dev_rabbitmq import Broker

ENVIRONMENTS = Path(os.environ.get("PLAZA_TEST_CLIENTS") or CHECKOUT / ".clients")
ACCEPTANCE = CHECKOUT.parent / "shared" / "tools" / "zocalo_accept.py"


def client_python(name: str) -> Path:
    """Return the Python in which the clients of that file of tests/clients are installed; skip without it."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not (ENVIRONMENTS / name / "made-from").exists():
        pytest.skip(f"the clients of tests/clients/{name}.txt aren't installed in {python}: `./plaza test` does that")
    return python


class ZocaloClients:
    """What beamlines and Zocalo's administrators say, with their programs."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.python = client_python("zocalo")
        self.dropped, self.purged = folder / "dropped", folder / "purged"
        for made in (self.dropped, self.purged):
            made.mkdir(parents=True)
        address = urlsplit(broker.url)
        self.username, self.password = address.username, address.password
        self.file = folder / "zocalo.yml"
        self.file.write_text(json.dumps(configuration(broker, self.dropped, self.purged)))  # JSON is YAML
        # Prefect's and Python's settings are Plaza's
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT", "PLAZA"))}
        self.environment = {**own, "ZOCALO_CONFIG": str(self.file)}

    def run(self, program: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Run one of Zocalo's programs to its end."""
        command = [self.python.with_name(program), *map(str, words)]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )

    def __call__(self, program: str, *words: object) -> str:
        """Run one that has to succeed, and return what it says."""
        done = self.run(program, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def go(self, *words: object) -> None:
        """Say `zocalo.go`."""
        assert "ubmitted" in self("zocalo.go", *words)

    def start(self, code: str, *words: str) -> subprocess.Popen[str]:
        """Start Python code of a beamline's, for which dodal is at hand."""
        return subprocess.Popen(
            [client_python("dodal"), "-c", code, *words],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


def configuration(broker: Broker, dropped: Path, purged: Path) -> dict[str, Any]:
    """Return the configuration of a beamline that speaks to a broker, as zocalo.configuration reads it."""
    address = urlsplit(broker.url)
    credentials = {"username": address.username, "password": address.password}
    where = {"host": address.hostname, "port": address.port, "vhost": broker.vhost}
    folders = {"zocalo.go.fallback_location": str(dropped), "zocalo.dlq.purge_location": str(purged)}
    beamline = {"plugins": ["rmq", "trn"]}
    return {
        "version": 1,
        "rmq": {"plugin": "pika", **where, **credentials},
        "rmqapi": {"plugin": "rabbitmqapi", "base_url": broker.api, **credentials},
        "trn": {"plugin": "transport", "default": "PikaTransport"},
        "store": {"plugin": "storage", **folders},
        "environments": {
            "default": "live",
            "live": {"plugins": ["rmq", "rmqapi", "trn", "store"]},
            "bluesky": beamline,
            "dev_bluesky": beamline,
        },
    }
