"""When the cloud is used: as §4.5 of Zocalo's behaviour, one row for each reason."""

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import Settings, get_settings
from flows.cluster_statistics import ClusterStatistics, Measured
from flows.mimas.scenario import CloudGroup
from flows.mimas.scenarios.cloud import active_groups, groups_just_now

NOW = 1_000_000.0
MX = {"visit_pattern": ["mx", "cm"], "beamlines": ["i03"], "recipes": ["xia2"]}


def statistics(slurm=(61, 0), iris=(0, 0), s3echo=(10, 0)):
    """Make statistics of (number, age in seconds) each; None: never heard of."""

    def some(**measured):
        return {name: Measured(m[0], NOW - m[1]) for name, m in measured.items() if m is not None}

    return ClusterStatistics(some(slurm=slurm, iris=iris), some(s3echo=s3echo))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (statistics(), True),
        (statistics(slurm=(60, 0)), False),
        (statistics(slurm=(0, 299)), False),
        (statistics(slurm=(0, 300)), True),  # stale: it may be away
        (statistics(slurm=None), True),
        (statistics(iris=(499, 0)), True),
        (statistics(iris=(500, 0)), False),
        (statistics(iris=(0, 300)), False),
        (statistics(iris=None), False),
        (statistics(s3echo=(95, 299)), True),
        (statistics(s3echo=(95.1, 0)), False),
        (statistics(s3echo=(1, 300)), False),
        (statistics(s3echo=None), False),
    ],
)
def test_the_cloud_is_used_when_the_own_cluster_is_full_and_the_cloud_is_not(known, expected):
    config = Settings(cloudbursting=True, cloud_groups=[MX])
    group = CloudGroup(visits=("mx", "cm"), beamlines=("i03",), recipes=("xia2",))
    assert active_groups(config, known, NOW) == ((group,) if expected else ())
    assert active_groups(Settings(cloudbursting=False, cloud_groups=[MX]), known, NOW) == ()


def test_each_group_has_its_own_limits_and_the_site_its_quota_and_time_out():
    usual_limits = {"visit_pattern": ["mx"], "beamlines": ["i03"]}
    patient = {"visit_pattern": "nt", "beamlines": "i04", "max_jobs_waiting": {"slurm": 100, "iris": 3}}
    groups = [usual_limits, patient]
    config = Settings(cloudbursting=True, cloud_groups=groups, s3echo_quota=5, statistics_timeout=1000)
    (usual,) = active_groups(config, statistics(slurm=(100, 900), s3echo=(4.7, 900), iris=(2, 900)), NOW)
    assert usual == CloudGroup(visits=("mx",), beamlines=("i03",), recipes=("autoprocessing",))
    both = active_groups(config, statistics(slurm=(101, 900), s3echo=(4.7, 900), iris=(2, 900)), NOW)
    assert [group.visits for group in both] == [("mx",), ("nt",)]
    assert len(active_groups(config, statistics(slurm=(101, 0), s3echo=(4.7, 0), iris=(3, 0)), NOW)) == 1
    assert active_groups(config, statistics(s3echo=(4.8, 0)), NOW) == ()


def test_groups_come_from_the_environment_as_json(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setenv("PLAZA_CLOUDBURSTING", "true")
    monkeypatch.setenv(
        "PLAZA_CLOUD_GROUPS", '[{"visit_pattern": "mx", "beamlines": ["i03"], "max_jobs_waiting": {"iris": 9}}]'
    )
    get_settings.cache_clear()
    (group,) = get_settings().cloud_groups
    get_settings.cache_clear()
    assert (group.visit_pattern, group.max_jobs_waiting.slurm, group.max_jobs_waiting.iris) == (("mx",), 60, 9)
    assert groups_just_now(Settings(home=tmp_path, cloudbursting=True, cloud_groups=[MX])) == ()
    monkeypatch.setenv("PLAZA_CLOUD_GROUPS", '[{"visit_pattern": []}]')
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="PLAZA_CLOUD_GROUPS"):
        get_settings()
    get_settings.cache_clear()
