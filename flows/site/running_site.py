"""Where a running site is: its folders, its addresses, and the environment in which its clients and services work.

Nothing here imports Prefect, since Prefect reads its environment when it's first imported.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from blocks.errors import ConfigurationError
from blocks.settings import Settings, get_settings
from tasks.logs.run_log import PLAZA_LOGGERS
from tasks.step.atomic_file import write_atomically

WORK_POOL = "plaza"
SERVICE_MARK = "PLAZA_SERVICE_OF"  # in the environment of every process of a site, so that none is overlooked
# Linux takes 107 bytes for a socket's name; the longest of ours is what PostgreSQL calls the lock beside its own
_LONGEST_SOCKET = 107 - len("/postgres/.s.PGSQL.5432.lock")


@dataclass(frozen=True)
class RunningSite:
    """Addresses of a site that runs."""

    home: Path
    api_url: str
    ui_url: str
    scheduler_address: str

    @property
    def file(self) -> Path:
        """Where other commands find these addresses."""
        return site_file(self.home)

    def write(self) -> None:
        """Publish the addresses."""
        content = {name: str(value) for name, value in asdict(self).items()}
        write_atomically(self.file, (json.dumps(content, indent=2) + "\n").encode())


def site_file(home: Path) -> Path:
    """Return the file with a running site's addresses."""
    return home / "site.json"


def read_running_site(settings: Settings) -> RunningSite:
    """Read the addresses of the site that runs in the home folder.

    Raises
    ------
    ConfigurationError
        No site runs there, or its addresses can't be read.
    """
    file = site_file(settings.home)
    try:
        content = json.loads(file.read_text())
        return RunningSite(Path(content["home"]), content["api_url"], content["ui_url"], content["scheduler_address"])
    except FileNotFoundError:
        raise ConfigurationError(
            f"no site runs in {settings.home} (there is no {file}): start one with `plaza up`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"the addresses of the site can't be read in {file} ({error!r})") from error


def site_environment(settings: Settings, site: RunningSite | None = None) -> dict[str, str]:
    """Return the environment in which a process works with the running site.

    Parameters
    ----------
    site
        Its addresses; None: those of the site that runs in the home folder.
    """
    site = site or read_running_site(settings)
    home = site.home
    return _settings_environment(settings) | {
        "PLAZA_HOME": str(home),
        "PLAZA_DASK_SCHEDULER": site.scheduler_address,
        "PREFECT_API_URL": site.api_url,
        "PREFECT_API_SSL_CERT_FILE": str(one_certificate(home)),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml"),  # not the user's, which may name another API
        "PREFECT_LOGGING_EXTRA_LOGGERS": ",".join(PLAZA_LOGGERS),  # what steps log is in the UI, too
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # s, the least that Prefect takes: they tell of a dead machine
        "DO_NOT_TRACK": "1",
    }


def _settings_environment(settings: Settings) -> dict[str, str]:
    """Return settings as the variables that they're read from: a caller may have made them in other ways."""
    return {
        f"PLAZA_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.model_dump(mode="json").items()
        if value is not None
    }


def use_running_site(settings: Settings | None = None) -> RunningSite:
    """Turn this process into a client of the running site; call it before Prefect is imported.

    Raises
    ------
    ConfigurationError
        No site runs, or Prefect has been imported with other settings already.
    """
    settings = settings or get_settings()
    site = read_running_site(settings)
    if "prefect" in sys.modules and os.environ.get("PREFECT_API_URL") != site.api_url:
        raise ConfigurationError(
            f"Prefect was imported before this process was told of the site at {site.api_url}: "
            "call use_running_site() first"
        )
    os.environ.update(site_environment(settings, site))
    get_settings.cache_clear()  # they are read from the environment, which has just changed
    return site


def one_certificate(home: Path) -> Path:
    """Return a file with a single certificate authority for Prefect's client.

    The client builds a TLS context over and over, even for http:// to this machine, and each time parses all of some
    140 certificates: 0.14 s of the 0.28 s that a flow run takes to its first line.
    """
    file = home / "one-authority.pem"
    if not file.exists():
        import certifi

        bundle = Path(certifi.where()).read_text()
        end = "-----END CERTIFICATE-----"
        start = bundle.index("-----BEGIN CERTIFICATE-----")
        certificate = bundle[start : bundle.index(end, start)] + end + "\n"
        ssl.create_default_context(cadata=certificate)  # raises now rather than in every flow run
        home.mkdir(parents=True, exist_ok=True)
        file.write_text(certificate)
    return file


def usable_folder(folder: Path) -> Path:
    """Make a folder of the home folder unless it's there, and return it.

    Raises
    ------
    ConfigurationError
        It can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} can't be used ({error.strerror}): make it writable, or set PLAZA_HOME to another one"
        ) from error
    return folder


def socket_folder(home: Path) -> Path:
    """Return the folder of the site's sockets, whose names the system limits to 107 bytes.

    `run` in the home folder, or a folder of this user in the temporary folder when the home's name is too long.

    Raises
    ------
    ConfigurationError
        The folder can't be written, or the one in the temporary folder is another user's.
    """
    folder = home / "run"
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET:
        return usable_folder(folder)
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:10]
    folder = temporary_folder() / f"plaza-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o755, exist_ok=True)
    # Anybody can make a folder of this name in the temporary folder, and would own what listens in it
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ConfigurationError(f"{folder} belongs to another user: remove it, or choose a shorter PLAZA_HOME")
    return folder


def temporary_folder() -> Path:
    """Return the system's folder of temporary files; `tempfile.gettempdir()` is another one while this one is full."""
    return Path(os.environ.get("TMPDIR") or "/tmp")
