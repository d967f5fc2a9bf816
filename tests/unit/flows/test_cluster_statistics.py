"""The last statistics of each cluster, as they were broadcast."""

import time

import pytest

from blocks.errors import MessageRefused
from flows.cluster_statistics import note_statistics, read_statistics

NOW = time.time()


def job_states(cluster="slurm", at=NOW, **states):
    return {
        "statistic-group": "cluster",
        "statistic": "job-states",
        "statistic-cluster": cluster,
        "statistic-timestamp": at,
        **states,
    }


STORAGE = {"statistic": "used-storage", "statistic-cluster": "s3echo", "statistic-timestamp": NOW, "total": 42.5}


def test_the_last_of_each_cluster_is_kept(tmp_path):
    for broadcast in (job_states(PENDING=7, RUNNING=3), job_states("iris", PENDING=1), STORAGE):
        assert note_statistics(broadcast, tmp_path)
    note_statistics(job_states(at=NOW - 60, PENDING=99), tmp_path)  # comes late
    note_statistics(job_states("iris", at=NOW, RUNNING=1), tmp_path)  # none waits
    known = read_statistics(tmp_path)
    assert {cluster: measured.value for cluster, measured in known.pending.items()} == {"slurm": 7, "iris": 0}
    assert known.pending["slurm"].at == NOW
    assert known.used_storage["s3echo"].value == 42.5


def test_a_clock_that_is_ahead_counts_as_now(tmp_path):
    note_statistics(job_states(at=NOW + 1e6), tmp_path)
    assert read_statistics(tmp_path).pending["slurm"].at <= time.time()


def test_other_statistics_are_ignored_and_bad_ones_refused(tmp_path):
    assert not note_statistics({"statistic": "utilization", "statistic-cluster": "live"}, tmp_path)
    for bad in (
        job_states("../x"),
        job_states(None),
        job_states(PENDING="7"),
        job_states(at=float("nan")),
        {**STORAGE, "total": None},
    ):
        with pytest.raises(MessageRefused, match="should"):
            note_statistics(bad, tmp_path)
    assert read_statistics(tmp_path).pending == {}


def test_a_file_that_is_no_statistic_counts_as_unknown(tmp_path, caplog):
    note_statistics(job_states(PENDING=7), tmp_path)
    (file,) = (tmp_path / "cluster-statistics").iterdir()
    file.write_text("[1")
    assert read_statistics(tmp_path).pending == {}
    assert "count as unknown" in caplog.text
    note_statistics(job_states(PENDING=8), tmp_path)
    assert read_statistics(tmp_path).pending["slurm"].value == 8
