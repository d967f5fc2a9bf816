"""How many runs a machine has room for: by its memory, or what of it a container or a service may use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from blocks.settings import Settings
from flows.warm_pool.choosing import Limits

BYTES_A_RUN: Final = 80_000_000
"""What a run's process needs for itself: 36 MB to decide, 55 to 60 MB for a recipe run over thousands of images."""

SHARE_FOR_RUNS: Final = 0.5
"""Of the memory: the rest is the services', and the analysis workers', which take 0.3 to 1 GB each."""

_CGROUPS: Final = Path("/sys/fs/cgroup")


def site_limits(settings: Settings) -> Limits:
    """Return how many runs may be under way: as the settings say, else by memory and cores."""
    runs = settings.runs_at_once or int(memory_limit() * SHARE_FOR_RUNS / BYTES_A_RUN)
    return Limits.of(runs, cores=len(os.sched_getaffinity(0)))


def memory_limit(own: Path = Path("/proc/self/cgroup"), cgroups: Path = _CGROUPS) -> int:
    """Return the bytes of memory that this process and its children may use: the machine's, or its control group's."""
    limits = [psutil.virtual_memory().total]
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2: the limits of all groups above hold as well
            group = cgroups / path.lstrip("/")
            limits += _limits(each / "memory.max" for each in (group, *group.parents) if each.is_relative_to(cgroups))
        elif "memory" in controllers.split(","):
            # In a container the path is that of the host, whose folders aren't there
            memory = cgroups / "memory"
            limits += _limits(each / "memory.limit_in_bytes" for each in (memory / path.lstrip("/"), memory))
    return min(limits)


def _limits(files: Iterable[Path]) -> list[int]:
    return [int(text) for file in files if file.exists() and (text := file.read_text().strip()).isdecimal()]
