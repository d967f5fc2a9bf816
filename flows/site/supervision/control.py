"""The site's services under supervisord: its configuration, and talking to it."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from io import StringIO
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc.client import Error, Fault, ServerProxy, Transport

import psutil

from blocks.errors import PlazaError
from flows.site.access.home_folder import group_of
from flows.site.running_site import socket_folder
from tasks.processes.ties import is_alive
from tasks.step.atomic_file import write_atomically

_LOG_SIZE = "10MB"
_LOGS_KEPT = "3"
_FOR_EVER = 2**31 - 1
_POLL_S = 0.1
_ENDS_AFTER_KILL_S = 10.0  # a process whose disk or file server hangs ends late even so


class ServiceFailed(PlazaError):
    """A service of the site doesn't come up or go down."""


class SupervisorAway(ServiceFailed):
    """supervisord doesn't answer: it isn't there any more, or is held up."""


class SiteGoesDown(ServiceFailed):
    """supervisord stops everything, and does nothing else any more."""


@dataclass(frozen=True)
class Service:
    """A resident process of the site.

    Parameters
    ----------
    command
        Module and arguments, as after `python -m`.
    priority
        Those with higher numbers are started later and stopped sooner.
    stop_timeout_s
        How long it may take to stop before it's killed, in seconds.
    stop_signal
        What tells it to stop, without SIG.
    listens
        Its standard input is supervisord's: the socket that `Supervisor.start` was given, for one service.
    """

    name: str
    command: tuple[str, ...]
    priority: int
    stop_timeout_s: int = 10
    stop_signal: str = "TERM"
    listens: bool = False

    def log(self, home: Path) -> Path:
        """Return the file that its output goes to."""
        return home / "logs" / f"{self.name}.log"


@dataclass(frozen=True)
class ServiceState:
    """What supervisord says of a service.

    Parameters
    ----------
    state
        One of its own words (RUNNING, BACKOFF …).
    started
        When it was started for the last time, by supervisord's clock in seconds; 0: never.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    note: str
    started: int = 0

    @property
    def is_running(self) -> bool:
        """Whether it's up."""
        return self.state == "RUNNING"

    @property
    def is_under_way(self) -> bool:
        """Whether it's up, on its way up, or not down yet."""
        return self.state in {"RUNNING", "STARTING", "BACKOFF", "STOPPING"}

    @property
    def is_left(self) -> bool:
        """Whether supervisord leaves it as it is: it was stopped, or given up."""
        return self.state in {"STOPPED", "FATAL"}


def configuration(home: Path, services: Sequence[Service]) -> RawConfigParser:
    """Return supervisord's configuration file for these services."""
    parser = RawConfigParser()
    parser["unix_http_server"] = {"file": str(_socket(home)), **_access(home)}
    parser["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    parser["rpcinterface:stopping"] = {
        "supervisor.rpcinterface_factory": "flows.site.supervision.process:StoppingMark",
        "home": str(home),
    }
    parser["supervisord"] = {
        "logfile": str(home / "logs" / "supervisord.log"),
        "logfile_maxbytes": _LOG_SIZE,
        "logfile_backups": _LOGS_KEPT,
        "pidfile": str(home / "run" / "supervisord.pid"),
        "directory": str(home),
        "silent": "true",  # its standard output is its log: each line would stand there twice
        **({"user": "root"} if os.getuid() == 0 else {}),  # only says that we know
    }
    for service in services:
        parser[f"program:{service.name}"] = {
            "command": " ".join(_quoted(word) for word in _command(service)),
            "priority": str(service.priority),
            "autorestart": "true",  # whatever its exit status: none of them is to end by itself
            "startsecs": "1",
            "startretries": str(_FOR_EVER),  # what a full disk hinders starts by itself when there's room
            "stopsignal": service.stop_signal,
            "stopwaitsecs": str(service.stop_timeout_s),
            "killasgroup": "true",  # TERM is for the service, which ends its own children; KILL is for all
            "redirect_stderr": "true",
            "stdout_logfile": str(service.log(home)),
            "stdout_logfile_maxbytes": _LOG_SIZE,
            "stdout_logfile_backups": _LOGS_KEPT,
        }
    for section in parser.values():  # supervisord fills in %(…)s, and a home folder may have any name
        for name, value in section.items():
            section[name] = value.replace("%", "%%")
    return parser


def _command(service: Service) -> list[str]:
    return [sys.executable, "-P", "-m", "tasks.processes.ties", *service.command]  # ends when supervisord does


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _access(home: Path) -> dict[str, str]:
    """Say who may talk to supervisord: who may look into the home folder."""
    group = group_of(home)
    if group is None:
        return {"chmod": "0700"}
    return {"chmod": "0770", "chown": f"{pwd.getpwuid(os.geteuid()).pw_name}:{grp.getgrgid(group).gr_name}"}


def _socket(home: Path) -> Path:
    return socket_folder(home) / "supervisor.sock"


class Supervisor:
    """The supervisord of one home folder, running or not.

    Parameters
    ----------
    timeout_s
        How long it may take to answer: one that takes longer counts as one that doesn't run.
    """

    def __init__(self, home: Path, timeout_s: float = 10.0) -> None:
        self.home = home
        self._timeout_s = timeout_s

    def start(
        self,
        services: Sequence[Service],
        environment: Mapping[str, str],
        end_with: int | None = None,
        timeout: float = 20,
        listening: socket.socket | None = None,
    ) -> None:
        """Start supervisord and wait until it answers.

        Parameters
        ----------
        listening
            Held by supervisord for as long as it lives, so that nobody else gets its port while its service starts or
            has died, and given to the service that listens.
        end_with
            Stop everything when the process with this id ends.

        Raises
        ------
        ServiceFailed
            It doesn't answer within `timeout` seconds.
        OSError
            What it's started with can't be written: the disk is full, say.
        """
        for folder in ("logs", "run"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        file = self.home / "supervisord.conf"
        with StringIO() as text:
            configuration(self.home, services).write(text)
            write_atomically(file, text.getvalue().encode())
        command = [sys.executable, "-P", "-m", "flows.site.supervision.process", str(file)]
        if end_with is not None:
            command += ["--end-with", str(end_with)]
        for service in services:
            command += ["--listens", service.name] if service.listens else []
        log = self.home / "logs" / "supervisord.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if listening is None else listening.fileno(),
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd=self.home,
                start_new_session=True,  # Ctrl-C in the terminal isn't meant for the site
            )
        deadline = time.monotonic() + timeout
        while not self.is_alive():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise ServiceFailed(f"supervisord didn't start. The end of {log}:\n{tail(log)}")
            time.sleep(0.02)
        process.returncode = 0  # it isn't ours to wait for: it lives on when this process ends

    def is_alive(self) -> bool:
        """Say whether supervisord answers."""
        try:
            self._call("getState")
        except SupervisorAway:
            return False
        except SiteGoesDown:  # an answer, too
            return True
        return True

    @property
    def is_going_down(self) -> bool:
        """Whether it stops everything, to end then: until that it answers, but does nothing else."""
        try:
            self._call("getState")
        except SiteGoesDown:
            return True
        except SupervisorAway:
            return False
        return False

    @property
    def process(self) -> psutil.Process | None:
        """The process of supervisord while it lives, whether it answers or not."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            is_ours = str(self.home / "supervisord.conf") in process.cmdline()
        except (OSError, ValueError, psutil.Error):  # ValueError: an empty file, of a full disk
            return None
        return process if is_ours and is_alive(process) else None

    @property
    def has_died(self) -> bool:
        """Whether it ended otherwise than by being told to, upon which it removes the file of its process id."""
        return self._pid_file.exists() and self.process is None

    @property
    def _pid_file(self) -> Path:
        return self.home / "run" / "supervisord.pid"

    def states(self) -> list[ServiceState]:
        """Return the states of all services, in the order of their start."""
        return [
            ServiceState(
                info["name"],
                info["statename"],
                info["pid"],
                info["now"] - info["start"] if info["pid"] else 0,
                info["spawnerr"] or ("" if info["pid"] else info["description"]),
                info["start"],
            )
            for info in self._call("getAllProcessInfo")
        ]

    def start_stopped(self) -> None:
        """Start the services that don't run, now rather than at the end of their pause."""
        for state in self.states():
            if state.state in {"BACKOFF", "FATAL", "STOPPED", "EXITED"}:
                with suppress(ServiceFailed):  # it has just started, or can't: who waits for it sees that
                    self._call("startProcess", state.name, False)  # False: don't wait, as up() waits for all together

    def stop(self, service: str) -> None:
        """Stop a service and wait until it has ended, which may take until it's killed; nothing if it doesn't run.

        Raises
        ------
        ServiceFailed
            It can't even be killed; there is no such service; supervisord goes down, or is away.
        """
        if not self._state_of(service).is_under_way:
            return
        try:
            self._call("stopProcess", service, False)  # False: don't wait: the answer would come too late for `_call`
        except ServiceFailed:
            if self._state_of(service).is_under_way:
                raise  # else it has ended since it was looked at
        deadline = time.monotonic() + self._longest_stop_s(service)
        while (state := self._state_of(service)).is_under_way:
            if time.monotonic() > deadline:
                raise ServiceFailed(f"the service {service} doesn't end ({state.state}, process {state.pid})")
            time.sleep(_POLL_S)

    def _state_of(self, service: str) -> ServiceState:
        for state in self.states():
            if state.name == service:
                return state
        raise ServiceFailed(f"the site has no service {service}")

    def _longest_stop_s(self, service: str) -> float:
        """Return how long a service may take to end, until it's killed and after that."""
        parser = RawConfigParser()
        parser.read(self.home / "supervisord.conf")
        return parser.getfloat(f"program:{service}", "stopwaitsecs", fallback=20.0) + _ENDS_AFTER_KILL_S

    def shut_down(self) -> None:
        """Tell supervisord to stop everything and end, unless it's about to; returns at once."""
        with suppress(SiteGoesDown, SupervisorAway):
            self._call("shutdown")

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = _Transport(_socket(self.home), self._timeout_s)
        with ServerProxy("http://localhost", transport=transport) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except Fault as fault:
                from supervisor.xmlrpc import Faults  # only now: it takes 30 ms

                if fault.faultCode == Faults.SHUTDOWN_STATE:  # whatever it's asked for
                    raise SiteGoesDown("the site goes down: `plaza up` starts it again") from fault
                raise ServiceFailed(f"supervisord refused {method}{arguments}: {fault.faultString}") from fault
            except (OSError, HTTPException, Error, ExpatError) as error:
                # Nobody listens, or answers in time, or it ended meanwhile
                raise SupervisorAway(f"supervisord doesn't answer ({type(error).__name__}: {error})") from error


class _Transport(Transport):
    """XML-RPC by a socket's file; supervisord's own has no time limit."""

    def __init__(self, file: Path, timeout_s: float) -> None:
        super().__init__()
        self._file, self._timeout_s = file, timeout_s

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = _SocketConnection(self._file, self._timeout_s)
        self._connection = host, connection  # for it to be closed
        return connection


class _SocketConnection(HTTPConnection):
    def __init__(self, file: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._file = file

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._file))


def tail(file: Path, lines: int = 20) -> str:
    """Return the last lines of a log file."""
    if not file.exists():
        return f"(no {file})"
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
