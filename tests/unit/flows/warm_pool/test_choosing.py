"""Who starts next: Mimas before recipes, beamlines in turn, never more than there's room for, and nobody starves."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.warm_pool.choosing import Candidate, Limits, Line, UnderWay, choose

LIMITS = Limits(runs=32, kept_for_decisions=4, busy_decisions=2, busy_recipes=4)


def line(text: str) -> Line:
    """`i03!` is the line of runs of Mimas, `i03` that of recipe runs."""
    return Line(text.rstrip("!"), decides=text.endswith("!"))


def waiting(*texts: str) -> list[Candidate]:
    return [Candidate(UUID(int=number), line(text)) for number, text in enumerate(texts)]


def under_way(*texts: str) -> list[UnderWay]:
    """Runs: those whose line is followed by ` z` wait for something else than a core."""
    return [UnderWay(line(text.removesuffix(" z")), not text.endswith(" z")) for text in texts]


def chosen(candidates, running=(), limits=LIMITS, served=None) -> list[str]:
    return [
        each.line.beamline + "!" * each.line.decides
        for each in choose(candidates, under_way(*running), limits, {line(k): v for k, v in (served or {}).items()})
    ]


@pytest.mark.parametrize(
    ("candidates", "running", "expected"),
    [
        pytest.param(["i03"], [], ["i03"], id="the only one"),
        pytest.param(["i03"] * 6, [], ["i03"] * 4, id="no more recipe runs begin at once"),
        pytest.param(["i03"] * 6, ["i24 z"] * 9, ["i03"] * 4, id="those that wait for images take no core"),
        pytest.param(["i03!"] * 6, [], ["i03!"] * 2, id="nor decide more of Mimas's"),
        pytest.param(["i03!", "i03!", "i04!"], [], ["i03!", "i04!"], id="beamlines take turns"),
        pytest.param(["i03!", "i04!"], ["i03!", "i03!"], ["i04!"], id="who has none begins beyond that"),
        pytest.param(["i04!"], ["i03! z"] * 5, ["i04!"], id="decisions that wait for the beamline take no core"),
        pytest.param(["i03", "i03!"], [], ["i03!", "i03", ], id="decisions go first"),
        pytest.param(["i03", "i03", "i03!"], ["i03!", "i03!"], ["i03"], id="one recipe begins while decisions wait"),
        pytest.param(["i03", "i03!"], ["i03!", "i03!", "i24"], [], id="which one does already"),
        pytest.param(["i03"], ["i24 z"] * 27 , ["i03"], id="the last place but those for decisions"),
        pytest.param(["i03", "i03!"], ["i24 z"] * 28, ["i03!"], id="those are for decisions"),
        pytest.param(["i03!", "i03"], ["i24 z"] * 32, [], id="no room at all"),
        pytest.param(["i03", "i04"], ["i03 z"] * 21, ["i04"], id="a beamline leaves a quarter to the others"),
        pytest.param(["i03!", "i04!"], ["i03! z"] * 24, ["i04!"], id="of decisions, too"),
        pytest.param(["", "i04"], [], ["", "i04"], id="what nobody knows a beamline of is a line of its own"),
    ],
)  # fmt: skip
def test_choice(candidates, running, expected):
    assert chosen(waiting(*candidates), running) == expected


def test_of_beamlines_that_wait_the_one_served_longest_ago_goes_first():
    candidates = waiting("i03", "i04", "i24")
    assert chosen(candidates, ["i02-1"] * 2, served={"i03": 7, "i04": 9, "i24": 3}) == ["i24", "i03"]


def test_within_a_beamline_the_order_stays():
    candidates = waiting("i03", "i04", "i03", "i03")
    assert [each.run.int for each in choose(candidates, [], LIMITS, {})] == [0, 1, 2, 3]


@pytest.mark.parametrize("runs", [0, 1, 2, 3, 5, 8, 500])
def test_with_whatever_limit_a_decision_and_a_recipe_find_a_place(runs):
    limits = Limits.of(runs, cores=1)
    assert chosen(waiting("i03!"), limits=limits) == ["i03!"]
    assert chosen(waiting("i03"), limits=limits) == ["i03"]


@pytest.mark.parametrize("runs", range(3, 40))
def test_runs_that_wait_for_images_leave_another_beamline_a_place(runs):
    limits = Limits.of(runs, cores=2)
    held: list[str] = []
    while found := chosen(waiting(*["i03"] * 40), [f"{each} z" for each in held], limits):
        held += found
    assert held
    assert chosen(waiting("i04"), [f"{each} z" for each in held], limits) == ["i04"]
    assert chosen(waiting("i04!"), [f"{each} z" for each in held], limits) == ["i04!"]


@pytest.mark.parametrize(("cores", "decisions", "recipes"), [(1, 1, 2), (2, 1, 4), (4, 3, 6), (64, 3, 6)])
def test_a_core_is_left_to_the_server_which_is_a_single_process_on_any_machine(cores, decisions, recipes):
    limits = Limits.of(100, cores)
    assert (limits.busy_decisions, limits.busy_recipes) == (decisions, recipes)


LINES = st.sampled_from(["i03!", "i03", "i04!", "i04", "i24!", "i24", "!", ""])
RUNNING = st.lists(st.tuples(LINES, st.booleans()).map(lambda each: UnderWay(line(each[0]), each[1])), max_size=40)


@given(st.lists(LINES, max_size=60), RUNNING, st.integers(2, 40), st.integers(1, 4))
def test_limits_hold_and_nobody_is_chosen_twice(texts, running, runs, cores):
    limits = Limits.of(runs, cores)
    found = choose(waiting(*texts), running, limits, {})
    assert len({each.run for each in found}) == len(found)
    if found:
        assert len(running) + len(found) <= runs
        recipes = [each for each in found if not each.line.decides]
        if recipes:
            held = [run for run in running if not run.line.decides]
            assert len(held) + len(recipes) <= runs - limits.kept_for_decisions
    busy = sum(run.is_busy for run in running if run.line.decides)
    assert sum(each.line.decides for each in found) <= max(0, 2 * limits.busy_decisions + 2 - busy)


@given(st.lists(LINES, min_size=1, max_size=80), st.integers(2, 12), st.integers(1, 2), st.randoms())
def test_nobody_starves(texts, runs, cores, random):
    """All runs start in the end, and no line that has nothing under way is passed over twice by the same other one."""
    limits, left = Limits.of(runs, cores), waiting(*texts)
    running: list[UnderWay] = []
    served: dict[Line, int] = {}
    passed_over: Counter[tuple[Line, Line]] = Counter()
    while left:
        for each in choose(left, running, limits, served):
            served[each.line] = max(served.values(), default=0) + 1
            left.remove(each)
            running.append(UnderWay(each.line, True))
            for other in {other.line for other in left if other.line.decides == each.line.decides} - {each.line}:
                idle = all(run.line != other for run in running)
                passed_over[other, each.line] = passed_over[other, each.line] + 1 if idle else 0
                assert passed_over[other, each.line] <= 1
            for other in {other.line for other in left}:
                passed_over[each.line, other] = 0
        assert running, "nothing runs, and nothing starts"
        running.pop(random.randrange(len(running)))


def test_a_flood_of_one_beamline_lets_another_decide_next_and_its_recipes_begin():
    candidates = waiting(*["i03!"] * 200, *["i03"] * 400, "i04!", "i04")
    assert chosen(candidates, ["i03!", "i03!", *["i03 z"] * 12], served={"i03!": 150, "i03": 90}) == ["i04!", "i04"]
