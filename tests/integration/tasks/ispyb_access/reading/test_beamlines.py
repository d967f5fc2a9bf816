"""Beamlines of many data collections at once."""

import pytest
from ispyb.sqlalchemy import BLSession, DataCollection, DataCollectionGroup, Person, Proposal
from sqlalchemy.orm import Session

from tasks.ispyb_access.reading.beamlines import read_beamlines


@pytest.fixture
def dcids(engine):
    """Collections by what ISPyB knows of their beamline: their own session, their group's, one without, none at all."""
    with Session(engine) as session, session.begin():
        person = Person(familyName="Crowfoot", login="dch")
        proposal = Proposal(Person=person, proposalCode="cm", proposalNumber="12345")
        i03, i04, nowhere = (
            BLSession(Proposal=proposal, beamLineName=name, visit_number=number)
            for number, name in enumerate(["i03", "i04", None])
        )
        session.add_all([i03, i04, nowhere])
        session.flush()
        group = DataCollectionGroup(sessionId=i04.sessionId)
        session.add(group)
        session.flush()
        collections = {
            "own": DataCollection(SESSIONID=i03.sessionId, dataCollectionGroupId=group.dataCollectionGroupId),
            "group's": DataCollection(SESSIONID=0, dataCollectionGroupId=group.dataCollectionGroupId),
            "unnamed": DataCollection(SESSIONID=nowhere.sessionId, dataCollectionGroupId=group.dataCollectionGroupId),
        }
        session.add_all(collections.values())
        session.flush()
        return {name: collection.dataCollectionId for name, collection in collections.items()}


def test_each_collection_has_the_beamline_of_its_session_or_of_its_groups(engine, dcids):
    found = read_beamlines(engine, [*dcids.values(), 99_999])
    assert found == {dcids["own"]: "i03", dcids["group's"]: "i04"}
