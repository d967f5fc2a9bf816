"""Images at which a DIALS process dies by Plaza's own way only: DIALS does them."""

import pytest

from tasks.diffraction.dials_processes import own_way_deaths
from tasks.diffraction.dials_processes.child_pool import KILLED_BEFORE, ChildPool
from tasks.diffraction.dials_processes.own_way_deaths import DIED, DIED_OFTEN, IN_A_ROW
from tasks.diffraction.requests import Failure, ImageRequest, SpotFindingOptions, Success
from tests.support import dying_child

OPTIONS = SpotFindingOptions()


@pytest.fixture
def pool():
    pool = ChildPool((dying_child.__file__,))
    yield pool
    pool.close()


def meet(pool, *files, **how):
    return pool.meet([ImageRequest(file, OPTIONS, **how) for file in files])


def ways(outcomes):
    return [outcome.value.by_dials if isinstance(outcome, Success) else type(outcome) for outcome in outcomes]


def count_deaths(caplog):
    return sum("The DIALS process died" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("how", [{}, {"check": True}])
def test_image_at_which_plazas_own_way_dies_is_done_by_dials(how, pool, caplog):
    assert ways(meet(pool, "a", "own dies", "b", **how)) == [None, DIED, None]
    assert count_deaths(caplog) == 1


def test_image_at_which_plazas_own_way_hangs_is_done_by_dials(pool, monkeypatch):
    monkeypatch.setattr(ImageRequest, "time_limit_s", 0.5)
    meet(pool, "a")  # so that the process is there
    assert ways(meet(pool, "own hangs", "b")) == [DIED, None]


def test_such_an_image_is_not_remembered_as_one_that_ends_its_process(pool):
    meet(pool, "own dies")
    assert ways(meet(pool, "own dies", by_dials="as asked")) == ["as asked"]
    assert ways(meet(pool, "own dies")) == [DIED]


def test_if_dials_dies_too_the_image_is_given_up(pool, caplog):
    [outcome] = meet(pool, "all die")
    assert isinstance(outcome, Failure)
    assert outcome.ended_process
    assert count_deaths(caplog) == 2


def test_master_whose_every_image_ends_its_process_costs_no_more_of_them_than_without_plazas_own_way(pool, caplog):
    images = [ImageRequest("all die.h5", OPTIONS, (number, number)) for number in range(1, 20)]
    assert set(ways(pool.meet(images))) == {Failure}
    assert count_deaths(caplog) == 4


def test_after_an_image_that_ended_its_process_dials_tries_the_next_one_of_its_file(pool):
    pool._record.note_death(ImageRequest("m.h5", OPTIONS, (1, 1)), "it was ended by SIGSEGV")
    images = [ImageRequest("m.h5", OPTIONS, (number, number)) for number in (2, 3)]
    assert ways([*pool.meet(images[:1]), *pool.meet(images[1:])]) == [KILLED_BEFORE, None]


def test_kernel_that_dies_at_every_image_costs_few_processes(pool, caplog):
    outcomes = meet(pool, *(f"{number} own dies" for number in range(30)))
    assert ways(outcomes) == [DIED] * IN_A_ROW + [DIED_OFTEN] * (30 - IN_A_ROW)
    assert count_deaths(caplog) == IN_A_ROW


def test_kernel_that_dies_at_every_other_image_is_given_up_in_the_end(pool, caplog, monkeypatch):
    monkeypatch.setattr(own_way_deaths, "IN_ALL", 4)
    meet(pool, *(f"{number} own dies" if number % 2 else str(number) for number in range(20)))
    assert count_deaths(caplog) == 4


def test_after_an_hour_plazas_own_way_is_tried_anew(pool, monkeypatch):
    meet(pool, *(f"{number} own dies" for number in range(IN_A_ROW)))
    assert ways(meet(pool, "a")) == [DIED_OFTEN]
    monkeypatch.setattr(own_way_deaths, "DISTRUSTED_S", 0.0)
    assert ways(meet(pool, "a", "own dies", "b")) == [None, DIED, None]
