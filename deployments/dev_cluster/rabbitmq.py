"""RabbitMQ, for Zocalo's clients."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from .machine import (
    FOLDER,
    DevClusterError,
    install,
    is_running,
    keep,
    port_in,
    remembered,
    wait_for,
)

PACKAGES = {"rabbitmq-server": "rabbitmq-server"}
# not the one in /usr/sbin, which wants to be root or the user rabbitmq
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PLUGINS = ("rabbitmq_management", "rabbitmq_stomp")
VHOST = "zocalo"
STOMP_VHOST = "/"  # where RabbitMQ puts STOMP's clients
PORTS = ("amqp", "management", "stomp", "distribution", "epmd")
START_S = 180  # a busy machine takes ten times as long as an idle one
STOP_S = 60
MARK = "-plaza_dev_cluster"  # an argument that Erlang passes over, to know the broker by
GREETING = b"AMQP\x00\x00\x09\x01"


class RabbitMQ:
    """A broker with a virtual host `zocalo`, and a user `plaza` who is its administrator.

    Everything listens on the loopback address only. Erlang finds its nodes through a daemon, epmd, of which this broker
    has one of its own: that of others would outlive it, or know it by a name that another checkout's has too.
    """

    def __init__(self) -> None:
        self.folder = FOLDER / "rabbitmq"
        self.data = self.folder / "data"
        self.config = self.folder / "rabbitmq.conf"
        self.definitions = self.folder / "definitions.json"
        self.plugins = self.folder / "enabled_plugins"
        self.log = self.folder / "rabbitmq.log"
        self.output = self.folder / "output.log"

    def install(self) -> None:
        """Install what it needs."""
        install(PACKAGES)

    def up(self, options: argparse.Namespace) -> None:
        """Start it, if it doesn't run."""
        if len(str(self.folder).split()) > 1:  # RabbitMQ's scripts don't quote
            raise DevClusterError(f"RabbitMQ wants a folder without blanks, not {self.folder}; set PLAZA_DEV_CLUSTER")
        self.install()
        if not SERVER.exists():
            raise DevClusterError(f"expected RabbitMQ's program where Debian has it, at {SERVER}; there is none")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not wait_for(lambda: not self.process() or self.is_up(), START_S):
            raise DevClusterError("RabbitMQ runs but doesn't answer; deployments/dev-cluster down rabbitmq ends it")
        if not self.process():
            self.end("epmd", 10)  # its port may have to change
            self.configure()
            self.start()

    def down(self, options: argparse.Namespace) -> None:
        """Stop it and its epmd, and remove its files if that is wanted."""
        self.end(MARK, 0 if options.wipe else STOP_S)  # it takes its time to put its files in order
        self.end("epmd", 10)
        if options.wipe and self.folder.exists():
            shutil.rmtree(self.folder)

    def is_up(self) -> bool:
        """Tell whether the broker runs and answers, its management too."""
        return self.greets() and self.knows_us() and bool(self.process())

    def status(self) -> str:
        """Say in a line how it is."""
        pid = self.process()
        state = "up" if self.is_up() else "doesn't answer" if pid else "down"
        return f"rabbitmq {state}" + (f" (process {pid}, port {self.port('amqp')}, {self.api})" if pid else "")

    def exports(self) -> dict[str, str]:
        """Return the environment variables with which others find it."""
        if not self.config.exists():
            raise DevClusterError("there is no RabbitMQ yet; make it with: deployments/dev-cluster up rabbitmq")
        return {
            "PLAZA_BROKER_URL": f"amqp://plaza:{self.password}@127.0.0.1:{self.port('amqp')}/{VHOST}",
            "PLAZA_DEV_BROKER_API": self.api,
            "PLAZA_DEV_BROKER_STOMP_PORT": self.port("stomp"),
        }

    # what follows is RabbitMQ's own

    @property
    def api(self) -> str:
        """The URL of the management's API."""
        return f"http://127.0.0.1:{self.port('management')}/api"

    @property
    def password(self) -> str:
        """The password of the user `plaza`."""
        return remembered(self.folder / "password", lambda: secrets.token_urlsafe(24))

    def port(self, name: str) -> str:
        """Return a port that was chosen at the last start."""
        return (self.folder / f"port-{name}").read_text()

    def process(self) -> int | None:
        """Return the broker's process id if it runs."""
        return next(iter(self.processes(MARK)), None)

    def processes(self, word: str) -> list[int]:
        """Return the ids of our processes with a word in their command line, whoever of ours started them."""
        home = f"HOME={self.folder}".encode()
        return [pid for pid in process_ids() if is_running(pid, word) and home in environment_of(pid)]

    def greets(self) -> bool:
        """Tell whether the broker answers a client's greeting."""
        try:
            with socket.create_connection(("127.0.0.1", int(self.port("amqp"))), timeout=2) as client:
                client.sendall(GREETING)
                return client.recv(1) == b"\x01"  # a method: Connection.Start
        except OSError:
            return False

    def knows_us(self) -> bool:
        """Tell whether the management lets our user in."""
        credentials = base64.b64encode(f"plaza:{self.password}".encode()).decode()
        ask = urllib.request.Request(f"{self.api}/vhosts/{VHOST}", headers={"Authorization": f"Basic {credentials}"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return direct.open(ask, timeout=5).status == 200
        except OSError:  # urllib's errors among them
            return False

    def configure(self) -> None:
        """Write the broker's options, who may come in, and the secret that its programs share."""
        ports = {name: port_in(self.folder / f"port-{name}") for name in PORTS}
        keep(
            self.config,
            "# Written by deployments/dev-cluster at each start.\n"
            f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {ports['management']}\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{ports['stomp']}\n"
            f"load_definitions = {self.definitions}\n"
            "log.file.level = info\nlog.file.rotation.size = 10485760\nlog.file.rotation.count = 3\n",
        )
        everything = {"user": "plaza", "configure": ".*", "write": ".*", "read": ".*"}
        access = {
            "users": [{"name": "plaza", "tags": "administrator", **hashed(self.password)}],
            "vhosts": [{"name": VHOST}, {"name": STOMP_VHOST}],
            "permissions": [{"vhost": VHOST, **everything}, {"vhost": STOMP_VHOST, **everything}],
        }
        keep(self.definitions, json.dumps(access, indent=2))
        self.plugins.write_text(f"[{','.join(PLUGINS)}].\n")
        cookie = self.folder / ".erlang.cookie"  # not in the command line, which everybody can read
        remembered(cookie, lambda: secrets.token_hex(20))
        cookie.chmod(0o400)  # Erlang insists

    def environment(self) -> dict[str, str]:
        """Return what the broker's programs find it and its files by."""
        others = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:10]
        return {
            **others,
            "HOME": str(self.folder),  # of the cookie
            "ERL_EPMD_PORT": self.port("epmd"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"plaza-{name}@localhost",
            "RABBITMQ_DIST_PORT": self.port("distribution"),
            "RABBITMQ_CONFIG_FILE": str(self.config),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.plugins),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} {MARK} true",
        }

    def start(self) -> None:
        """Start the broker, which starts its epmd."""
        with self.output.open("a") as output:
            server = subprocess.Popen(
                [SERVER], env=self.environment(), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: server.poll() is not None or self.is_up(), START_S)
        if not self.is_up():
            lines = "\n".join(file.read_text(errors="replace") for file in (self.output, self.log) if file.exists())
            raise DevClusterError("\n".join(["RabbitMQ doesn't start; the end of its log:", *lines.splitlines()[-15:]]))

    def end(self, word: str, seconds: float) -> None:
        """End our processes with a word in their command line."""
        for pid in self.processes(word):
            os.kill(pid, signal.SIGCONT)  # a frozen one can't end
            os.kill(pid, signal.SIGTERM)
            if not wait_for(lambda pid=pid: not is_running(pid, word), seconds):
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: not is_running(pid, word), 10)


def hashed(password: str) -> dict[str, str]:
    """Return a password as RabbitMQ's definitions have it: salted, then hashed."""
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }


def process_ids() -> list[int]:
    """Return the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environment_of(pid: int) -> list[bytes]:
    """Return what a process was started with in its environment; nothing if it's another user's or gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
