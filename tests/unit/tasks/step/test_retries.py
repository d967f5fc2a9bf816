"""Which faults may pass, and how long to wait for that."""

import errno
import random
from itertools import pairwise

import pytest

from blocks.errors import DatabaseUnavailable, MessageRefused, PassingFault, PrefectUnavailable
from tasks.step import USUAL_RETRIES, Retries


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (PassingFault("not now"), True),
        (DatabaseUnavailable("restarting"), True),
        (PrefectUnavailable("restarting"), True),
        (ConnectionResetError("peer"), True),
        (TimeoutError(), True),
        (OSError(errno.ESTALE, "stale file handle"), True),
        (OSError(errno.ENOSPC, "disk full"), True),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (PermissionError(errno.EACCES, "denied"), False),
        (OSError("without a number"), False),
        (MessageRefused("no"), False),
        (KeyError("x"), False),
        (SystemExit("no licence"), False),
    ],
)
def test_faults_of_machines_may_pass_and_those_of_messages_do_not(error, may_pass):
    assert USUAL_RETRIES.may_pass(error) is may_pass


def test_a_step_may_name_faults_of_its_own():
    assert Retries(on=(KeyError,)).may_pass(KeyError("x"))
    assert Retries(on=(KeyError,)).may_pass(PassingFault("not now"))


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (1000, 60), (10**6, 60)]
)
def test_pauses_double_up_to_the_longest_less_a_half_at_most(failures, longest):
    pauses = [USUAL_RETRIES.pause_s(failures) for _ in range(200)]
    assert longest / 2 <= min(pauses) <= max(pauses) <= longest


def test_messages_that_failed_together_are_tried_again_one_by_one(monkeypatch):
    monkeypatch.setattr(random, "uniform", random.Random(1).uniform)
    pauses = sorted(USUAL_RETRIES.pause_s(1) for _ in range(100))
    assert len(set(pauses)) == 100
    assert max(after - before for before, after in pairwise(pauses)) < 0.05
