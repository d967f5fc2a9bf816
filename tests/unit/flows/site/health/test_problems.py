"""What keeps runs from starting, told from facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from flows.events.bridge.state import BridgeState
from flows.site.health.disks import MIB, Disk
from flows.site.health.facts import ApiFacts, SiteFacts
from flows.site.health.problems import MOST_DIFFERENCES, find_problems, find_warnings, find_wrong_numbers
from flows.site.processes import ProcessFacts
from flows.site.supervision import ServiceState
from flows.warm_pool.run_processes import SERVER_TITLE, run_title
from tasks.diffraction.dials_checks.differences import Difference
from tasks.diffraction.requests import ImageStatistics

HOME = Disk("the home", Path("/plaza"), free=5000 * MIB, total=10000 * MIB)
NAMES = ("database", "server", "worker", "analysis-cluster")
SERVICES = tuple(ServiceState(name, "RUNNING", 100 + number, 600, "", 1) for number, name in enumerate(NAMES))
WORKER, CLUSTER = 102, 103
FORK_SERVER = ProcessFacts(200, WORKER, SERVER_TITLE)
DASK_WORKER = ProcessFacts(201, CLUSTER, "dask worker [tcp://127.0.0.1:3]")
PROCESSES = (*(ProcessFacts(each.pid, 1, f"python {each.name}") for each in SERVICES), FORK_SERVER, DASK_WORKER)
API = ApiFacts(
    answers=True,
    has_database=True,
    has_pool=True,
    heartbeat_age_s=10,
    polled_age_s=1,
    deployments=("mimas/start", "mimas/end", "archive-cbfs/live"),
)
HEALTHY = SiteFacts(
    "runs",
    (HOME,),
    services=SERVICES,
    processes=PROCESSES,
    api=API,
    cluster_answers=True,
    expected=("mimas/start", "mimas/end"),
)


def with_service(name, **changes):
    return tuple(replace(each, **changes) if each.name == name else each for each in SERVICES)


def stopped(pid):
    return tuple(replace(each, is_stopped=True) if each.pid == pid else each for each in PROCESSES)


def without(*gone):
    return tuple(each for each in PROCESSES if each not in gone)


BRIDGE = ServiceState("bridge", "RUNNING", 110, 600, "", 1)
CONNECTED = BridgeState(pid=110, written_at=0, started_at=0, broker="mq:5672, virtual host zocalo", connected_since=1)


def with_bridge(**changes):
    return replace(HEALTHY, services=(*SERVICES, BRIDGE), bridge=CONNECTED.model_copy(update=changes))


def test_a_bridge_that_is_connected_is_no_problem():
    assert find_problems(with_bridge()) == ()
    assert find_warnings(with_bridge()) == ()


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (with_bridge(connected_since=None, last_error="refused"), "the broker mq:5672, virtual host zocalo is away"),
        (with_bridge(broker=None, last_error="no broker is set"), "no broker is set"),
        (replace(HEALTHY, services=(*SERVICES, BRIDGE)), "the bridge has not said how it is"),
        (replace(HEALTHY, services=(*SERVICES, replace(BRIDGE, state="BACKOFF"))), "the bridge doesn't run"),
    ],
)
def test_a_bridge_that_hears_nobody_is_a_problem(facts, problem):
    (said,) = find_problems(facts)
    assert said.startswith(problem)


def test_messages_that_wait_are_told_of():
    held, unpublished = find_warnings(with_bridge(held=2, outbox=3, last_error="ISPyB is away"))
    assert held == "the bridge holds 2 messages that it can't take now: ISPyB is away"
    assert unpublished.startswith("3 messages wait to be published")


def test_what_is_odd_at_the_broker_and_queues_that_are_not_there_are_named():
    facts = with_bridge(outbox=1, not_taken_by="nobody-waits", warnings=("the exchange command isn't of the type",))
    odd, unpublished = find_warnings(facts)
    assert odd == "the exchange command isn't of the type"
    assert "nothing takes those for nobody-waits" in unpublished


def test_a_site_whose_runs_start_has_no_problems():
    assert find_problems(HEALTHY) == ()
    assert find_warnings(HEALTHY) == ()


CASES = {
    "nothing runs": ({"supervisor": "none"}, "start it with `plaza up`"),
    "supervisor killed": (
        {"supervisor": "died"},
        "supervisor was killed; 6 processes of the site remain; `plaza up` starts it again",
    ),
    "site going down": ({"supervisor": "ending"}, "the site goes down"),
    "supervisor frozen": ({"supervisor": "silent"}, "supervisord is there and doesn't answer: `plaza up`"),
    "addresses lost": ({"site_file_fault": "no site.json"}, "no site.json: `plaza up` writes it anew"),
    "service between two tries": (
        {"services": with_service("database", state="BACKOFF", pid=0, note="Exited too quickly")},
        "the database doesn't run (BACKOFF; Exited too quickly): see database.log",
    ),
    "service that was stopped": (
        {"services": with_service("database", state="STOPPED", pid=0, note="Nov 28 03:01 PM")},
        "the database doesn't run (STOPPED; Nov 28 03:01 PM): `plaza up` starts it; see database.log",
    ),
    "service that ends": (
        {"services": with_service("database", state="STOPPING")},
        "the database doesn't run (STOPPING): it's being stopped",
    ),
    "frozen service": (
        {"processes": stopped(101)},
        "process 101 (server) is stopped and does nothing: `kill -CONT 101`",
    ),
    "frozen child": ({"processes": stopped(201)}, "of the analysis-cluster) is stopped"),
    "API away": ({"api": ApiFacts()}, "Prefect's API doesn't answer"),
    "database away": ({"api": ApiFacts(answers=True)}, "its database doesn't"),
    "no work pool": ({"api": ApiFacts(answers=True, has_database=True)}, "`plaza deploy`"),
    "pool paused": ({"api": replace(API, paused=("the work pool plaza",))}, "`plaza prefect work-pool resume plaza`"),
    "queue paused": (
        {"api": replace(API, paused=("the queue live",))},
        "the queue live is paused, so no run of it starts: `plaza prefect work-queue resume live --pool plaza`",
    ),
    "queue's limit": ({"api": replace(API, full_queues=("the queue live (2 of 2 places taken)",))}, "2 of 2 places"),
    "pool's limit 0": ({"api": replace(API, pool_limit=0)}, "clear-concurrency-limit"),
    "places held by the dead": (
        {"api": replace(API, pool_limit=3, busy=3)},
        "3 runs hold the 3 places of the work pool, but only 0 are at work: `plaza resume --interrupted`",
    ),
    "Mimas isn't deployed": ({"api": replace(API, deployments=("mimas/end",))}, "not deployed: mimas/start"),
    "no fork server": ({"processes": without(FORK_SERVER)}, "no fork server ready"),
    "fork server that imports": (
        {"processes": (*without(FORK_SERVER), replace(FORK_SERVER, title="plaza: fork server starts"))},
        "no fork server ready",
    ),
    "worker that hasn't reported since its start": (
        {"services": with_service("worker", uptime_s=5)},
        "has not reported to Prefect since its start",
    ),
    "worker that is silent": ({"api": replace(API, heartbeat_age_s=80)}, "last heard of 80 s ago"),
    "worker that looks for nothing": ({"api": replace(API, polled_age_s=40)}, "for 40 s not asked for runs"),
    "scheduler away": ({"cluster_answers": False}, "Dask scheduler doesn't answer"),
    "no Dask worker": ({"processes": without(DASK_WORKER)}, "the analysis cluster has no worker"),
    "disk full": ({"disks": (replace(HOME, free=12 * MIB, total=300 * MIB),)}, "12 MB free of 300 MB: FULL"),
    "quota, or read-only": ({"disks": (replace(HOME, fault="Disk quota exceeded"),)}, "Disk quota exceeded: FULL"),
}


@pytest.mark.parametrize(("changes", "said"), CASES.values(), ids=CASES)
def test_each_problem_is_said_with_what_to_do(changes, said):
    [problem] = find_problems(replace(HEALTHY, **changes))
    assert said in problem


def test_places_held_by_runs_that_work_are_no_problem():
    runs = tuple(
        ProcessFacts(300 + n, 200, run_title(uuid4(), "archive-cbfs", f"archive-cbfs · dcid {n}")) for n in range(3)
    )
    busy = replace(HEALTHY, api=replace(API, pool_limit=3, busy=3, late=7), processes=(*PROCESSES, *runs))
    assert find_problems(busy) == ()
    assert find_warnings(busy) == ("7 runs have waited for more than 30 s",)


def test_a_site_without_a_cluster_of_its_own_needs_none():
    services = tuple(each for each in SERVICES if each.name != "analysis-cluster")
    assert find_problems(replace(HEALTHY, services=services, cluster_answers=False)) == ()


def test_a_disk_that_fills_up_is_told_of_and_no_problem_yet():
    filling = replace(HEALTHY, disks=(replace(HOME, free=500 * MIB),))
    assert find_problems(filling) == ()
    assert find_warnings(filling) == ("disk of the home /plaza: 500 MB free of 10000 MB: nearly full",)


def test_that_spots_are_found_without_the_kernel_is_a_warning_only():
    slow = replace(HEALTHY, no_kernel="it isn't compiled: do so")
    assert find_problems(slow) == ()
    [warning] = find_warnings(slow)
    assert warning == "spots are found without the kernel, several times slower: it isn't compiled: do so"


def test_many_frozen_processes_are_not_all_listed():
    frozen = replace(
        HEALTHY, processes=(*PROCESSES, *(ProcessFacts(n, 100, "postgres", True) for n in range(400, 420)))
    )
    assert len(find_problems(frozen)) == 6
    assert "15 more" in find_problems(frozen)[-1]


SPOTS = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)
DIFFERENCE = Difference(
    *("run-1", "per-image-analysis", 7, 2, "/a\x1b.cbf", replace(SPOTS, n_spots_total=7), SPOTS, {2: 12, 5: 4}),
    *("DIALS 3.12", "node07", 1.7e9),
)


def test_spots_that_were_not_dials_s_are_a_problem_with_what_to_do():
    assert list(find_wrong_numbers(HEALTHY)) == []
    [problem] = find_wrong_numbers(replace(HEALTHY, differences=(DIFFERENCE,)))
    assert problem.isprintable()
    for part in (
        "n_spots_total 7 (DIALS: 6)",
        "run run-1 on node07",
        "12 images before it may be wrong: `plaza resume run-1 --from 2`",
        "4 images before it may be wrong: `plaza resume run-1 --from 5`",
        "PLAZA_SPOTS_CHECKED_ONE_IN=1",
        "`plaza status --acknowledge run-1`",
    ):
        assert part in problem
    assert find_problems(replace(HEALTHY, differences=(DIFFERENCE,))) == ()  # runs start all the same


def test_where_no_row_may_be_wrong_none_has_to_be_done_again():
    [problem] = find_wrong_numbers(replace(HEALTHY, differences=(replace(DIFFERENCE, may_be_wrong={}),)))
    assert "resume" not in problem


def test_of_many_runs_some_are_told():
    many = tuple(replace(DIFFERENCE, recipe_run=f"run-{number}") for number in range(100))
    told = list(find_wrong_numbers(replace(HEALTHY, differences=many)))
    assert len(told) == MOST_DIFFERENCES + 1
    assert "run run-99 " in told[-2]
    assert told[-1] == f"… and {100 - MOST_DIFFERENCES} earlier runs had spots that weren't DIALS's"
