"""Many events of one beamline at once: each is worked on, a few at a time, and another beamline's is next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from ispyb.sqlalchemy import BLSession, DataCollection, DataCollectionGroup, Person, Proposal
from sqlalchemy.orm import Session

from blocks.ispyb_connection import open_engine
from blocks.site_ispyb import SQLITE_FILE
from tasks.ispyb_access.schema.tables import create_schema
from tests.support.site_under_test import wait_for

pytestmark = pytest.mark.slow

EVENTS = 16


@pytest.fixture
def dcids(runtime_site):
    """Data collections of i03, and a last one of i04."""
    engine = open_engine(f"sqlite:///{runtime_site.settings.home / SQLITE_FILE}")
    create_schema(engine)
    with Session(engine) as session, session.begin():
        proposal = Proposal(Person=Person(familyName="Hodgkin"), proposalCode="cm", proposalNumber="12345")
        visits = [
            BLSession(Proposal=proposal, beamLineName=name, visit_number=number)
            for number, name in enumerate(["i03", "i04"])
        ]
        session.add_all(visits)
        session.flush()
        groups = [DataCollectionGroup(sessionId=visit.sessionId) for visit in visits]
        session.add_all(groups)
        session.flush()
        rows = [DataCollection(dataCollectionGroupId=groups[0].dataCollectionGroupId) for _ in range(EVENTS)]
        rows.append(DataCollection(dataCollectionGroupId=groups[1].dataCollectionGroupId))
        session.add_all(rows)
        session.flush()
        found = [row.dataCollectionId for row in rows]
    engine.dispose()
    return found


def test_a_flood_of_one_beamline_is_worked_off_and_another_beamlines_event_goes_before_it(runtime_site, dcids):
    diaries = [runtime_site.diaries / f"decided-{dcid}" for dcid in dcids]
    with ThreadPoolExecutor(EVENTS) as at_once:
        flood = zip(dcids[:-1], diaries[:-1], strict=True)
        runs = [
            *at_once.map(lambda each: runtime_site.start("decide/trial", dcid=each[0], diary=str(each[1])), flood),
            runtime_site.start("decide/trial", dcid=dcids[-1], diary=str(diaries[-1])),
        ]
    wait_for(lambda: all(diary.exists() for diary in diaries), "all have decided", pause=0.3)  # asking costs the server
    for run in runs:
        runtime_site.wait_for_state(run, "Completed")
    times = [tuple(map(float, diary.read_text().split())) for diary in diaries]
    # A run that waits for a slow server for 3 s computes nothing, and the next one begins: on a busy machine there are
    # several times as many at once as the limits say (2 on two cores, 9 were seen)
    most = max(sum(begun <= at < ended for begun, ended in times) for at, _ in times)
    assert most <= EVENTS * 3 // 4
    created = runtime_site.created(runs[-1])
    # those that had been taken already, and were on their way: on a busy machine more are (9 were seen), as above
    before = sum(created < begun < times[-1][0] for begun, _ in times[:-1])
    assert before <= EVENTS * 3 // 4
    assert sum(begun > times[-1][0] for begun, _ in times[:-1]) >= 3
