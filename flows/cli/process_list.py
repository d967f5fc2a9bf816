"""What the process list shows of a command line: all users of the machine can read it, as long as the command runs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

OPTIONS = ("--ispyb", "--url")  # that take the URL of a database


def hide_urls(words: Sequence[str] = sys.argv) -> None:
    """Take databases' URLs, which may hold passwords, out of this process's entry in the process list."""
    shown = list(_without_urls(words[1:]))
    if shown == list(words[1:]):
        return
    os.environ.setdefault("SPT_NOENV", "1")  # else a title may be written over the environment as others see it
    import setproctitle

    setproctitle.setproctitle(shlex.join(["plaza", *shown]))


def _without_urls(words: Sequence[str]) -> list[str]:
    shown: list[str] = []
    for word in words:
        option, is_one, value = word.partition("=")
        if shown and shown[-1] in OPTIONS and _may_hold_password(word):
            shown.append("***")
        elif option in OPTIONS and is_one and _may_hold_password(value):
            shown.append(f"{option}=***")
        else:
            shown.append(word)
    return shown


def _may_hold_password(text: str) -> bool:
    """Tell whether this is a database's URL, well-formed or not, but none of SQLite, which has no passwords."""
    return not text.startswith("sqlite:") and ("://" in text or "@" in text)
