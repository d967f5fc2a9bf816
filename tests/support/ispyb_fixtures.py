"""An ISPyB of its own for each test, on SQLite and on MariaDB, and a small facility in it."""

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from blocks.ispyb_connection import open_engine, transaction
from blocks.settings import Settings
from blocks.site_ispyb import connect
from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import create_schema
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.step.resources import Resources
from tests.support.dev_mariadb import DevMariaDB, dev_mariadb, empty

# In ISPyB's public schema texts are latin1; other sites have utf8mb4.
CHARACTER_SETS = {"mariadb": "latin1", "mariadb-utf8": "utf8mb4"}


LATIN1, UTF8 = (pytest.param(name, marks=pytest.mark.mariadb) for name in CHARACTER_SETS)


@pytest.fixture(params=["sqlite", LATIN1])
def database(request: pytest.FixtureRequest) -> str:
    """Which database: tests that use it run on both, unless they are marked with `only_sqlite` or `only_mariadb`."""
    return request.param


@pytest.fixture(params=["sqlite", LATIN1, UTF8])
def every_database(request: pytest.FixtureRequest) -> str:
    """The same with either character set: modules about texts and look-ups import it under the name `database`."""
    return request.param


@pytest.fixture
def settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, database: str
) -> Settings:
    """Settings that name an empty ISPyB with its tables, and a home folder of the test's own."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: False)
    home = tmp_path / "home"
    home.mkdir()
    if database in CHARACTER_SETS:
        url = request.getfixturevalue("mariadb_ispyb")(database)
        return Settings(home=home, ispyb_url=url.render_as_string(hide_password=False))
    shutil.copy(request.getfixturevalue("sqlite_ispyb"), home / "ispyb.sqlite")
    return Settings(home=home, ispyb_url=None)


@pytest.fixture(scope="session")
def sqlite_ispyb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make all tables once: copies of the file are much quicker."""
    file = tmp_path_factory.mktemp("ispyb") / "ispyb.sqlite"
    engine = open_engine(f"sqlite:///{file}")
    create_schema(engine)
    engine.dispose()
    return file


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevMariaDB]:
    """Run MariaDB."""
    with dev_mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_tables(mariadb: DevMariaDB) -> Callable[[str], URL]:
    """Make all tables of a database once: emptying them is much quicker."""
    return cache(
        lambda name: mariadb.make_database(name.replace("mariadb", "ispyb").replace("-", "_"), CHARACTER_SETS[name])
    )


@pytest.fixture
def mariadb_ispyb(mariadb_tables: Callable[[str], URL]) -> Callable[[str], URL]:
    """Return the URL of a database, with empty tables."""

    def emptied(name: str) -> URL:
        url = mariadb_tables(name)
        empty(url)
        return url

    return emptied


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings)
    yield engine
    engine.dispose()


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    """What steps work with."""
    async with SiteResources(settings) as resources:
        yield resources


@pytest.fixture
def run(engine: Engine) -> Callable[..., Any]:
    """Carry out a command in a transaction of its own."""

    def run(name: str, **parameters: Any) -> Any:
        command = COMMANDS[name]
        with transaction(engine) as connection:
            return command.write(connection, command.parameters.model_validate(parameters))

    return run


@pytest.fixture
def facility(engine: Engine) -> SimpleNamespace:
    """A session mx12345-1 on i03 with a sample of thaumatin."""
    with Session(engine) as session:
        person = models.Person(familyName="Crowfoot", login="dch")
        proposal = models.Proposal(Person=person, proposalCode="mx", proposalNumber="12345", title="Sweet protein")
        visit = models.BLSession(Proposal=proposal, beamLineName="i03", visit_number=1)
        protein = models.Protein(
            Proposal=proposal, acronym="thau", name="Thaumatin", sequence="ATFEIVNRCS", externalId=b"\x01" * 16
        )
        cell = {"cell_a": 57.8, "cell_b": 57.8, "cell_c": 150.2, "cell_alpha": 90, "cell_beta": 90, "cell_gamma": 90}
        crystal = models.Crystal(Protein=protein, spaceGroup="P41212", **cell)
        plan = models.DiffractionPlan(anomalousScatterer="S", requiredResolution=1.5, centringMethod="xray")
        container = models.Container(code="puck-1")
        sample = models.BLSample(
            name="x1",
            Crystal=crystal,
            DiffractionPlan=plan,
            Container=container,
            location="3",
            SMILES="CCO",
            loopType="nylon",
        )
        detector = models.Detector(detectorModel="Eiger2 XE 16M")
        session.add_all([visit, sample, detector])
        session.commit()
        return SimpleNamespace(
            session=visit.sessionId, sample=sample.blSampleId, container=container.containerId,
            crystal=crystal.crystalId, detector=detector.detectorId,
        )  # fmt: skip


@pytest.fixture
def add_group(engine: Engine, facility: SimpleNamespace) -> Callable[..., int]:
    """Add a data collection group and return its id."""

    def add(**columns: Any) -> int:
        with Session(engine) as session:
            group = models.DataCollectionGroup(sessionId=facility.session, **({"experimentType": "SAD"} | columns))
            session.add(group)
            session.commit()
            return group.dataCollectionGroupId

    return add


@pytest.fixture
def add_collection(engine: Engine, facility: SimpleNamespace, add_group: Callable[..., int]) -> Callable[..., int]:
    """Add a data collection, by default a rotation of 1800 images on CBF, and return its dcid."""
    numbers = itertools.count(1)

    def add(**columns: Any) -> int:
        number = next(numbers)
        defaults: dict[str, Any] = {
            "SESSIONID": facility.session, "BLSAMPLEID": facility.sample, "detectorId": facility.detector,
            "startTime": datetime(2024, 5, 1, 12, 30, 15), "imageDirectory": "/dls/i03/data/2024/mx12345-1/lys/x1/",
            "imagePrefix": "lys", "dataCollectionNumber": number, "fileTemplate": f"lys_{number}_#####.cbf",
            "startImageNumber": 1, "numberOfImages": 1800, "overlap": 0.0, "axisRange": 0.1, "axisStart": 0.0,
            "wavelength": 0.9763, "flux": 1.5e12,
        }  # fmt: skip
        values = defaults | columns
        if "dataCollectionGroupId" not in values:
            values["dataCollectionGroupId"] = add_group()
        with Session(engine) as session:
            collection = models.DataCollection(**values)
            session.add(collection)
            session.commit()
            return collection.dataCollectionId

    return add
