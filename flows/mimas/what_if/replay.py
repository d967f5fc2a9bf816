"""Ask two sets of rules about past data collections, as ISPyB has them now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from flows.mimas.scenario import Event, Scenario
from flows.mimas.scenarios.facts import InvalidScenario
from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
from flows.mimas.what_if.rule_comparison import Change, RuleComparison
from tasks.ispyb_access.reading.past.facts import CollectionFacts, UnreadCollection
from tasks.ispyb_access.reading.past.reader import PAGE, read_period
from tasks.ispyb_access.reading.past.statements import Period


@dataclass(frozen=True)
class Difference:
    """An event of a past data collection for which the rules ask for something else, and when it started."""

    scenario: Scenario
    started: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class ReplayedPage:
    """What came of some data collections.

    Parameters
    ----------
    looked_at
        How many they were.
    undecided
        Those for which there is no decision, and why.
    done
        Which part of all there is has been looked at now.
    """

    looked_at: int
    differences: Sequence[Difference]
    undecided: Sequence[UnreadCollection]
    done: float


def replay(
    engine: Engine, period: Period, events: Sequence[Event], comparison: RuleComparison, *, size: int = PAGE
) -> Iterator[ReplayedPage]:
    """Compare what rules ask for at events of past data collections, in the order of their ids, a page at a time.

    Nothing may go to the cloud: what clusters said then isn't known.

    Raises
    ------
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    for page in read_period(engine, period, size=size):
        differences: list[Difference] = []
        undecided: list[UnreadCollection] = []
        for collection in page.collections:
            if isinstance(collection, UnreadCollection):
                undecided.append(collection)
                continue
            try:
                differences += _differences(collection, events, comparison)
            except InvalidScenario as error:
                undecided.append(UnreadCollection(collection.dcid, str(error)))
        yield ReplayedPage(len(page.collections), differences, undecided, page.read)


def _differences(
    collection: CollectionFacts, events: Sequence[Event], comparison: RuleComparison
) -> Iterator[Difference]:
    scenario, _ = scenario_from_ispyb(collection, events[0])
    for event in events:
        if event is not scenario.event:
            scenario = dataclasses.replace(scenario, event=event)
        if changes := comparison.compare(scenario):
            yield Difference(scenario, collection.dc_info["startTime"], changes)
