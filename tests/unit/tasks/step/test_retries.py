"""Which faults may pass, and how long to wait for that."""

import errno
import os
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


def raised_from(error, cause):
    try:
        try:
            raise cause
        except Exception as fault:
            raise error from fault
    except Exception as raised:
        return raised


def raised_while_handling(error, cause):
    try:
        try:
            raise cause
        except Exception:
            raise error  # noqa: B904 - as libraries do that don't say what an error comes from
    except Exception as raised:
        return raised


STALE = OSError(errno.ESTALE, "Stale file handle")


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (raised_from(RuntimeError("can't read"), STALE), True),
        (raised_while_handling(RuntimeError("can't read"), STALE), True),
        (raised_from(KeyError("x"), raised_while_handling(ValueError("y"), PassingFault("z"))), True),
        (raised_from(RuntimeError("can't read"), FileNotFoundError(errno.ENOENT, "no such file")), False),
        (raised_from(MessageRefused("thought about"), STALE), False),
        (raised_from(RuntimeError("broken"), raised_from(MessageRefused("thought about"), STALE)), False),
        (raised_while_handling(RuntimeError("can't read"), KeyError("x")), False),
    ],
)
def test_an_error_may_pass_if_what_it_comes_from_may_unless_plaza_has_said_no(error, may_pass):
    assert USUAL_RETRIES.may_pass(error) is may_pass


def test_a_chain_of_causes_that_is_a_circle_has_an_end():
    one, two = KeyError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    assert not USUAL_RETRIES.may_pass(one)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EAGAIN, errno.ENOLCK, errno.EINTR, errno.EBUSY])
@pytest.mark.parametrize("kind", [OSError, RuntimeError, KeyError])
def test_native_code_that_tells_a_fault_of_the_system_in_words_only_is_understood(kind, number):
    words = f"Unable to open file (errno = {number}, error message = '{os.strerror(number)}', flags = 0)"
    assert USUAL_RETRIES.may_pass(kind(words))
    assert not USUAL_RETRIES.may_pass(kind("Unable to open file (file signature not found)"))


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


def test_a_full_disk_is_waited_for_longer_than_other_faults():
    full, stale = OSError(errno.ENOSPC, "disk full"), OSError(errno.ESTALE, "stale file handle")
    assert not USUAL_RETRIES.goes_on(stale, USUAL_RETRIES.tries)
    assert USUAL_RETRIES.goes_on(full, USUAL_RETRIES.tries)
    waited_s = sum(min(2.0**failures, USUAL_RETRIES.longest_pause_s) for failures in range(60))
    assert waited_s > 1800
    assert not USUAL_RETRIES.goes_on(full, 60)


def test_a_folder_that_is_read_only_is_not_waited_for():
    assert not USUAL_RETRIES.goes_on(OSError(errno.EROFS, "read-only file system"), 1)
