"""What clusters say of themselves: the last statistics of each, as Zocalo's services broadcast them.

Whoever measures or hears them notes them in the home folder, a small file for each cluster and kind; who decides by
them reads them there, and judges himself whether they are too old.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from blocks.errors import MessageRefused
from blocks.settings import get_settings
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

JOB_STATES: Final = "job-states"
USED_STORAGE: Final = "used-storage"
_FOLDER: Final = "cluster-statistics"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")  # of a cluster: it becomes a file's


@dataclass(frozen=True)
class Measured:
    """A number, and when it was measured, in seconds since the epoch."""

    value: float
    at: float

    def is_fresh(self, now: float, timeout_s: float) -> bool:
        """Tell whether it's younger than a time-out."""
        return now - self.at < timeout_s


@dataclass(frozen=True)
class ClusterStatistics:
    """The last that is known of each cluster.

    Parameters
    ----------
    pending
        Jobs that wait, by cluster: `slurm`, `iris`.
    used_storage
        What an object store holds, by its name: `s3echo`.
    """

    pending: Mapping[str, Measured] = field(default_factory=dict)
    used_storage: Mapping[str, Measured] = field(default_factory=dict)


def note_statistics(broadcast: Mapping[str, Any], home: Path | None = None) -> bool:
    """Keep a broadcast of statistics, unless a later one of its cluster is kept.

    Parameters
    ----------
    broadcast
        As Zocalo's cluster monitor sends it: `statistic-cluster`, `statistic` (`job-states` with a number for each
        state that has jobs, or `used-storage` with `total`), `statistic-timestamp`.

    Returns
    -------
    bool
        It's of a kind that is kept; others are ignored, as there are many.

    Raises
    ------
    MessageRefused
        It's of such a kind, but can't be used.
    """
    kind = broadcast.get("statistic")
    if kind not in (JOB_STATES, USED_STORAGE):
        return False
    cluster = broadcast.get("statistic-cluster")
    if not isinstance(cluster, str) or not _NAME.fullmatch(cluster):
        raise MessageRefused(
            f"statistics of {kind} should name their statistic-cluster, as in slurm; seen {cluster!r:.100}"
        )
    measured = _measured(broadcast, time.time())
    file = _folder(home) / f"{kind}.{cluster}.json"
    before = _read(file)
    if before is None or before.at <= measured.at:
        write_atomically(file, json.dumps({"value": measured.value, "at": measured.at}).encode())
    return True


def read_statistics(home: Path | None = None) -> ClusterStatistics:
    """Return what was noted last of each cluster."""
    return ClusterStatistics(dict(_all(JOB_STATES, home)), dict(_all(USED_STORAGE, home)))


def _all(kind: str, home: Path | None) -> Iterator[tuple[str, Measured]]:
    for file in _folder(home).glob(f"{kind}.*.json"):
        measured = _read(file)
        if measured is not None:
            yield file.name.removeprefix(f"{kind}.").removesuffix(".json"), measured


def _measured(broadcast: Mapping[str, Any], now: float) -> Measured:
    # Zocalo's monitor leaves out states without jobs
    name, otherwise = ("PENDING", 0) if broadcast["statistic"] == JOB_STATES else ("total", None)
    value = _number(broadcast, name, otherwise)
    at = _number(broadcast, "statistic-timestamp", now)
    # A clock that is ahead would have it stay fresh for ever
    return Measured(value, min(at, now))


def _number(broadcast: Mapping[str, Any], name: str, otherwise: float | None) -> float:
    value = broadcast.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise MessageRefused(
            f"statistics {broadcast['statistic']} of {broadcast['statistic-cluster']} should have a number for {name}; "
            f"seen {value!r:.100}"
        )
    return value


def _read(file: Path) -> Measured | None:
    try:
        found = json.loads(file.read_bytes())
        return Measured(float(found["value"]), float(found["at"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:  # the next broadcast replaces it
        logger.warning("statistics can't be read from %s (%r): they count as unknown", file, error)
        return None


def _folder(home: Path | None) -> Path:
    return (home or get_settings().home) / _FOLDER
