"""An ISPyB with data collections of one's own, and a Prefect server that knows some recipes."""

import asyncio

import pytest
from ispyb.sqlalchemy import BLSession, DataCollection, DataCollectionGroup, Detector, GridInfo, Person, Proposal
from prefect.client.orchestration import get_client
from sqlalchemy.orm import Session

from blocks.settings import get_settings
from blocks.site_ispyb import connect
from tasks.ispyb_access.schema.tables import create_schema

INSTALLED = (
    "archive-cbfs",
    "per-image-analysis-gridscan",
    "archive-nexus",
    "ispyb-autoprocessing-fast-dp-eiger",
    "ispyb-autoprocessing-autoPROC-eiger",
)


@pytest.fixture
def ispyb(tmp_path, monkeypatch):
    """An empty ISPyB that the flow finds by the settings."""
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setenv("PLAZA_ISPYB_URL", f"sqlite:///{tmp_path}/ispyb.sqlite")
    get_settings.cache_clear()
    engine = connect(get_settings())
    create_schema(engine)
    yield engine
    engine.dispose()
    get_settings.cache_clear()


@pytest.fixture
def collection(ispyb, request):
    """Make a data collection with an id that no other test uses, since all share a Prefect server."""

    def make(model, *, grid=False, **facts):
        dcid = 1000 + request.session.items.index(request.node)
        with Session(ispyb) as session, session.begin():
            person = Person(familyName="Crowfoot", login="dch")
            proposal = Proposal(Person=person, proposalCode="cm", proposalNumber="12345")
            visit = BLSession(Proposal=proposal, beamLineName="i24", visit_number=1)
            session.add_all([visit, detector := Detector(detectorModel=model)])
            session.flush()
            group = DataCollectionGroup(sessionId=visit.sessionId, experimentType="Mesh" if grid else "SAD")
            session.add(group)
            session.flush()
            row = {
                "dataCollectionId": dcid,
                "dataCollectionGroupId": group.dataCollectionGroupId,
                "SESSIONID": visit.sessionId,
                "detectorId": detector.detectorId,
                "imageDirectory": "/dls/i24/data/2026/cm12345-1/crystal/",
                "fileTemplate": "crystal_1_#####.cbf",
                "imagePrefix": "crystal",
                "dataCollectionNumber": 1,
                "startImageNumber": 1,
                "numberOfImages": 20,
                "overlap": 0,
                "axisRange": 0 if grid else 0.1,
                "runStatus": "DataCollection Successful",
            }
            session.add(DataCollection(**{**row, **facts}))
            session.flush()
            if grid:
                session.add(GridInfo(dataCollectionId=dcid, steps_x=5, steps_y=4))
        return dcid

    return make


@pytest.fixture(scope="module")
def installed(prefect_server):
    """Deployments of some recipes; nothing runs them, so that a launched run stays scheduled."""

    async def create():
        async with get_client() as client:
            for recipe in INSTALLED:
                flow_id = await client.create_flow_from_name(recipe)
                await client.create_deployment(flow_id, name="live")

    asyncio.run(create())
