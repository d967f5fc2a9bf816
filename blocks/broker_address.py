"""Where RabbitMQ is, and what the beamlines of this site expect of it: plain values, known without Prefect."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from blocks.errors import ConfigurationError

VHOST: Final = "zocalo"
XRC_BEAMLINES: Final = ("i03", "i04")
GPU_BEAMLINES: Final = ("i03",)
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_OPTIONS: Final = ("ca_file", "gpu_beamlines", "stomp_vhost", "xrc_beamlines")
_SHAPE: Final = "amqp://user:password@host:port,host:port/vhost?option=value&…"


@dataclass(frozen=True)
class BrokerAddress:
    """A RabbitMQ, or a cluster of them.

    Parameters
    ----------
    hosts
        Names and ports of its members.
    tls
        Whether to speak TLS with it.
    ca_file
        Certificates of those that vouch for it; None: the machine's own.
    stomp_vhost
        The virtual host in which clients put by STOMP what they have; None: there are none.
    xrc_beamlines
        Those that wait for centring results.
    gpu_beamlines
        Those among them that wait for results of the kind that Zocalo's GPU service sends.
    """

    hosts: tuple[tuple[str, int], ...]
    vhost: str = VHOST
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    stomp_vhost: str | None = None
    xrc_beamlines: tuple[str, ...] = XRC_BEAMLINES
    gpu_beamlines: tuple[str, ...] = GPU_BEAMLINES

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts}, virtual host {self.vhost}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how TLS is spoken with it; None: it isn't.

        Raises
        ------
        ConfigurationError
            The certificates can't be read.
        """
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the broker's certificates can't be read from {self.ca_file} ({error}): expected a PEM file"
            ) from error


def read_broker_url(url: str) -> BrokerAddress:
    """Read a broker's address; what is said of one that can't be read names no password.

    Raises
    ------
    ConfigurationError
        It's none.

    >>> read_broker_url("amqp://plaza:secret@mq1,mq2:5673/zocalo?stomp_vhost=/").hosts
    (('mq1', 5672), ('mq2', 5673))
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise _Unreadable("it doesn't begin with amqp:// or amqps://")
        return _read_parts(parts, _read_options(parts.query))
    except ValueError as error:
        # urlsplit's own words quote the address
        reason = str(error) if isinstance(error, _Unreadable) else "it can't be read as an address"
        raise ConfigurationError(f"PLAZA_BROKER_URL: {reason}. Expected {_SHAPE}") from None


class _Unreadable(ValueError):
    """A part of an address is wrong; its words may be shown."""


def _read_parts(parts: SplitResult, options: dict[str, str]) -> BrokerAddress:
    credentials, has_credentials, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    found = tuple(read_host(each, _PORTS[parts.scheme]) for each in hosts.split(",") if each)
    if not found:
        raise _Unreadable("it names no host")
    return BrokerAddress(
        found,
        vhost=unquote(parts.path[1:]) or VHOST,
        username=unquote(username) if has_credentials else "guest",
        password=unquote(password) if has_credentials else "guest",
        tls=parts.scheme == "amqps",
        ca_file=Path(options["ca_file"]) if "ca_file" in options else None,
        stomp_vhost=options.get("stomp_vhost"),
        xrc_beamlines=_words(options, "xrc_beamlines", XRC_BEAMLINES),
        gpu_beamlines=_words(options, "gpu_beamlines", GPU_BEAMLINES),
    )


def _words(options: Mapping[str, str], name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    if name not in options:
        return otherwise
    return tuple(word.strip() for word in options[name].split(",") if word.strip())


def _read_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise _Unreadable(f"unknown options {', '.join(unknown)}; known: {', '.join(_OPTIONS)}")
    return options


def read_host(text: str, default_port: int) -> tuple[str, int]:
    """Read `host` or `host:port`; IPv6 addresses in brackets.

    Raises
    ------
    ValueError
        It's none; the message says why.
    """
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    host = host.strip("[]")
    if not host or any(blank in host for blank in " \t/@"):
        raise _Unreadable("a host in it has no name")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _Unreadable(f"the port of {host} is no number from 1 to 65535")
    return host, int(port)
