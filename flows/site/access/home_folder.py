"""Who may read the home folder: its user, and a group if a setting names one.

The folder's own mode says it for all that is in it: what steps write keeps the modes that it gets. Sockets elsewhere
(`running_site.socket_folder`) are as closed as the home.
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
import stat
from pathlib import Path

from blocks.errors import ConfigurationError
from blocks.settings import Settings
from flows.site.access.shared_folders import share_folders

logger = logging.getLogger(__name__)

POSTGRES_USER = "plaza_postgres"  # runs PostgreSQL where the site's user is root
_OTHERS = stat.S_IRWXO


def close_home(settings: Settings) -> None:
    """Make the home folder unless it's there, and let nobody into it but its user and the group of the settings.

    Raises
    ------
    ConfigurationError
        It's another user's, there is no such group, or the user isn't in it.
    """
    home = settings.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = home.stat()
        if os.geteuid() not in {0, before.st_uid}:
            raise ConfigurationError(whose(home))
        if before.st_mode & stat.S_ISVTX:  # such as /tmp, which would be closed to all
            raise ConfigurationError(f"{home} is a folder that everybody uses: set PLAZA_HOME to one of its own")
        gid, mode = _group_and_mode(settings.group)
        if gid is not None and gid != before.st_gid:
            os.chown(home, -1, gid)  # before its mode: a change of the group takes the setgid bit
        if stat.S_IMODE(home.stat().st_mode) != mode:
            home.chmod(mode)
        if settings.group is not None and gid is not None:
            share_folders(home, gid)
    except PermissionError as error:
        raise ConfigurationError(
            f"the home folder {home} can't be closed to others ({error.strerror}): make it writable, set PLAZA_HOME to "
            "another one, or set PLAZA_GROUP to a group that you are in"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"the home folder {home} can't be used ({error.strerror}): make it usable, or set PLAZA_HOME to another one"
        ) from error
    if stat.S_IMODE(before.st_mode) & _OTHERS:
        who = f"you and the group {settings.group}" if settings.group else "you"
        logger.warning("the home folder %s was open to others: closed it to all but %s", home, who)


def _group_and_mode(group: str | None) -> tuple[int | None, int]:
    if group is not None:
        try:
            return grp.getgrnam(group).gr_gid, 0o2750  # setgid: what is made in it is the group's, too
        except KeyError as error:
            raise ConfigurationError(f"PLAZA_GROUP: there is no group {group!r} on this machine") from error
    if os.geteuid() != 0:
        return None, 0o700
    try:  # PostgreSQL, which runs as another user under root, passes through to its data
        return pwd.getpwnam(POSTGRES_USER).pw_gid, 0o710
    except KeyError:
        return None, 0o700


def group_of(home: Path) -> int | None:
    """Return the group that may read in the home folder; None: only its user may."""
    found = home.stat()
    return found.st_gid if found.st_mode & stat.S_IRGRP and not found.st_mode & _OTHERS else None


def is_ours(home: Path) -> bool:
    """Tell whether the home folder is this process's user's, or still to be made."""
    try:
        return os.geteuid() in {0, home.stat().st_uid}
    except PermissionError:  # a folder above it is closed
        return False
    except OSError:  # who makes it will see why it can't be
        return True


def check_open(home: Path) -> None:
    """Check that this process's user may look into the home folder, if it's there.

    Raises
    ------
    ConfigurationError
        It's closed to them; the message says who may open it.
    """
    try:
        is_closed = home.exists() and not os.access(home, os.R_OK | os.X_OK)
    except PermissionError:
        is_closed = True
    if is_closed:
        raise ConfigurationError(whose(home))


def whose(home: Path) -> str:
    """Say that the home folder is another user's, and what to do about it."""
    me = _user_name(os.geteuid())
    try:
        owner = _user_name(home.stat().st_uid)
    except PermissionError as error:
        return f"The home {home} can't be reached by you ({me}; {error.strerror}): a folder above it is closed"
    if os.access(home, os.R_OK | os.X_OK):
        return f"The home {home} is {owner}'s: you ({me}) may look and resume runs, the rest {owner} has to do"
    return (
        f"The home {home} is closed to you ({me}), it's {owner}'s: to look and to resume runs, ask {owner} to set "
        "PLAZA_GROUP to a group that you are in, and to say `plaza up` again"
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
