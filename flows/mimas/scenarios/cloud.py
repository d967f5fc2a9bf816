"""Cloud bursting: whose processing may go to the cloud just now, by what the clusters say of themselves."""

from __future__ import annotations

import time
from typing import Final

from blocks.settings import Settings
from flows.cluster_statistics import ClusterStatistics, Measured, read_statistics
from flows.mimas.scenario import CloudGroup

OWN_CLUSTER: Final = "slurm"
CLOUD: Final = "iris"
STORE: Final = "s3echo"
FULL: Final = 0.95  # of the object store's quota: what runs already still needs some


def active_groups(config: Settings, statistics: ClusterStatistics, now: float) -> tuple[CloudGroup, ...]:
    """Return the groups that may use the cloud just now.

    None may unless the site wants that, the cloud and its object store are known to be there, and the store has room.

    Parameters
    ----------
    config
        The site's groups, and what they may use.
    statistics
        The last that is known of the clusters.
    now
        In seconds since the epoch.
    """
    own, cloud, store = (
        _if_fresh(measured, now, config.statistics_timeout)
        for measured in (
            statistics.pending.get(OWN_CLUSTER),
            statistics.pending.get(CLOUD),
            statistics.used_storage.get(STORE),
        )
    )
    if not config.cloudbursting or cloud is None or store is None or store > FULL * config.s3echo_quota:
        return ()
    return tuple(
        CloudGroup(visits=group.visit_pattern, beamlines=group.beamlines, recipes=group.recipes)
        for group in config.cloud_groups
        # Nothing heard of the own cluster: it may be away, and the cloud is there
        if (own is None or own > group.max_jobs_waiting.slurm) and cloud < group.max_jobs_waiting.iris
    )


def groups_just_now(config: Settings) -> tuple[CloudGroup, ...]:
    """Return the groups that may use the cloud, by what was noted in the home folder."""
    if not config.cloudbursting:
        return ()
    return active_groups(config, read_statistics(config.home), time.time())


def _if_fresh(measured: Measured | None, now: float, timeout_s: float) -> float | None:
    return measured.value if measured is not None and measured.is_fresh(now, timeout_s) else None
