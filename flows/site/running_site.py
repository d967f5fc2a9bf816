"""Where a running site is: its folders, its addresses, and the environment in which its clients and services work.

Nothing here imports Prefect, since Prefect reads its environment when it's first imported.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import ssl
import stat
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlparse

from blocks.errors import ConfigurationError
from blocks.home_folder import make_folder
from blocks.settings import Settings, get_settings
from flows.site.access.home_folder import check_open, is_ours
from flows.site.access.proxies import without_proxies
from flows.site.access.secret import login_link, read_secret
from flows.warm_pool.run_processes import SERVICE_MARK as SERVICE_MARK
from tasks.logs.run_log import PLAZA_LOGGERS
from tasks.step.atomic_file import write_atomically

WORK_POOL = "plaza"
BRIDGE = "bridge"
"""The service that serves Zocalo's clients, where the site wants it."""
STOPPING_FILE = "run/stopping"
"""In the home folder while the whole site goes down: the worker ends its runs then, else it leaves them to the next."""

# Linux takes 107 bytes for a socket's name; the longest of ours is what PostgreSQL calls the lock beside its own
_LONGEST_SOCKET = 107 - len("/postgres/.s.PGSQL.5432.lock")
# Of a user's environment: which server is asked, and as whom; where the server is, keeps its data and whom it lets in.
# How much it does of what may be set: what else Prefect reads stays as it is
_OTHER_SITES = re.compile(
    r"PREFECT_(API|CLOUD|CLIENT_CUSTOM_HEADERS|PROFILE|HOME|UI|MESSAGING|EPHEMERAL|_SERVER)\w*"
    r"|PREFECT_SERVER_(?!SERVICES_|EVENTS_|LOGGING_|TASKS_|DEPLOYMENTS_|LOG_|METRICS_|WORKER_CHANNEL_)\w+"
    r"|PREFECT_EVENTS_WEBSOCKET\w*"
)


@dataclass(frozen=True)
class RunningSite:
    """Addresses of a site that runs.

    Parameters
    ----------
    dask_keys
        Folder of its Dask scheduler's keys; None if that isn't its own.
    """

    home: Path
    api_url: str
    ui_url: str
    scheduler_address: str
    dask_keys: Path | None = None

    @property
    def file(self) -> Path:
        """Where other commands find these addresses."""
        return site_file(self.home)

    @property
    def secret(self) -> str | None:
        """What its API asks for."""
        return read_secret(self.home)

    @property
    def login_link(self) -> str:
        """Where a browser gets the UI. Whoever has it may do all: it's for the terminal, not for logs."""
        return login_link(self.ui_url, self.secret)

    def write(self) -> None:
        """Publish the addresses."""
        content = {name: str(value) for name, value in asdict(self).items() if value is not None}
        write_atomically(self.file, (json.dumps(content, indent=2) + "\n").encode())


def site_file(home: Path) -> Path:
    """Return the file with a running site's addresses."""
    return home / "site.json"


def read_running_site(settings: Settings) -> RunningSite:
    """Read the addresses of the site that runs in the home folder.

    Raises
    ------
    ConfigurationError
        No site runs there, its addresses can't be read, or the home folder is another user's and closed.
    """
    check_open(settings.home)
    file = site_file(settings.home)
    try:
        content = json.loads(file.read_text())
        keys = content.get("dask_keys")
        return RunningSite(
            Path(content["home"]),
            content["api_url"],
            content["ui_url"],
            content["scheduler_address"],
            dask_keys=None if keys is None else Path(keys),
        )
    except FileNotFoundError:
        raise ConfigurationError(
            f"no site runs in {settings.home} (there is no {file}): start one with `plaza up`"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
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
    secret = site.secret
    keys = {} if site.dask_keys is None else {"PLAZA_DASK_KEYS": str(site.dask_keys)}
    return _settings_environment(settings) | {
        "PLAZA_HOME": str(home),
        "PLAZA_DASK_SCHEDULER": site.scheduler_address,
        "PREFECT_API_URL": site.api_url,
        **({"PREFECT_API_AUTH_STRING": secret} if secret else {}),
        "PREFECT_API_KEY": "",  # of Prefect Cloud: some clients would rather send it
        "PREFECT_API_SSL_CERT_FILE": str(one_certificate(home)),
        **_prefect_home(home),
        "PREFECT_LOGGING_EXTRA_LOGGERS": ",".join(PLAZA_LOGGERS),  # what steps log is in the UI, too
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # s, the least that Prefect takes: they tell of a dead machine
        "DO_NOT_TRACK": "1",
        **keys,
        **without_proxies(urlparse(site.api_url).hostname or ""),
    }


def _prefect_home(home: Path) -> dict[str, str]:
    """Return where Prefect keeps what it likes to; its profiles aren't the user's, which may name another API."""
    if is_ours(home):
        return {"PREFECT_HOME": str(home / "prefect"), "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml")}
    return {"PREFECT_PROFILES_PATH": os.devnull}  # no profiles; the user's own folder for the rest


def _settings_environment(settings: Settings) -> dict[str, str]:
    """Return settings as the variables that they're read from: a caller may have made them in other ways."""
    return {
        f"PLAZA_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.model_dump(mode="json").items()
        if value is not None
    }


def process_environment(
    settings: Settings, site: RunningSite | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return this process's environment for another one that works with the running site.

    What the user's shell says of another Prefect server, or of how a server is to be started, is left out.
    """
    own = {name: value for name, value in environment.items() if not _OTHER_SITES.fullmatch(name)}
    return own | site_environment(settings, site)


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
    environment = process_environment(settings, site)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
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
        make_folder(home)
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
        make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} can't be used ({error.strerror}): make it writable, or set PLAZA_HOME to another one"
        ) from error
    return folder


def socket_folder(home: Path) -> Path:
    """Return the folder of the site's sockets, whose names the system limits to 107 bytes.

    `run` in the home folder, or a folder of its user in the temporary folder when the home's name is too long. That one
    is as closed to others as the home. It's made unless it's there or the home is another user's.

    Raises
    ------
    ConfigurationError
        The folder can't be written, or the one in the temporary folder isn't the home's user's.
    """
    folder = home / "run"
    ours = is_ours(home)
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET:
        return usable_folder(folder) if ours else folder
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:10]
    owner = home.stat().st_uid if home.exists() else os.geteuid()
    folder = temporary_folder() / f"plaza-{owner}-{digest}"
    if ours:
        folder.mkdir(mode=0o700, exist_ok=True)
    elif not folder.exists():
        return folder
    # Anybody can make a folder of this name in the temporary folder, and would own what listens in it
    if folder.is_symlink() or folder.stat().st_uid not in {owner, os.geteuid()}:
        raise ConfigurationError(f"{folder} belongs to another user: remove it, or choose a shorter PLAZA_HOME")
    if ours and home.exists():
        _be_as_closed(folder, home)
    return folder


def _be_as_closed(folder: Path, home: Path) -> None:
    found, wanted = folder.stat(), home.stat()
    if found.st_gid != wanted.st_gid:
        os.chown(folder, -1, wanted.st_gid)
    mode = stat.S_IMODE(wanted.st_mode) & ~stat.S_IRWXO
    if stat.S_IMODE(found.st_mode) != mode:
        folder.chmod(mode)


def temporary_folder() -> Path:
    """Return the system's folder of temporary files; `tempfile.gettempdir()` is another one while this one is full."""
    return Path(os.environ.get("TMPDIR") or "/tmp")
