"""A site with a bridge, and a small facility in its ISPyB, for Zocalo's own clients."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ispyb import sqlalchemy as models
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from blocks.ispyb_connection import open_engine
from flows.events.bridge.state import BridgeState, read_state
from flows.run_marks import JOB_RECIPE_PREFIX, guid_tag
from flows.site.access.secret import authorization
from flows.site.services import running_site
from tests.support.commanded_site import CommandedSite, await_, recipe_settings
from tests.support.dev_rabbitmq import Broker
from tests.support.zocalo_clients import ZocaloClients

DCID, OTHER_DCID, I04_DCID, DCGID, I04_DCGID, JOB = 1234, 1235, 1236, 12340, 12341, 42
CRYSTAL = {
    "centre_of_mass": [2.5, 1.5, 0.5],
    "max_voxel": [2, 1, 0],
    "max_count": 30,
    "n_voxels": 4,
    "total_count": 90,
    "bounding_box": [[1, 1, 0], [4, 3, 1]],
    "sample_id": 55,
}


def nothing_to_do() -> dict[str, Any]:
    """Return a recipe that ends at once."""
    return {"1": {"service": "notes", "queue": "transient.destination", "parameters": {}}, "start": [[1, []]]}


def centring(beamline: str, crystals: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    """Return a recipe that tells a beamline where its crystals are."""
    node = {
        "service": "Send XRC results to GDA",
        "queue": f"xrc.{beamline}",
        "exchange": "results",
        "parameters": {"dcid": "{ispyb_dcid}", "dcgid": "{dcgid}", **parameters},
    }
    return {"1": node, "start": [[1, {"results": crystals, "status": "success", "type": "3d"}]]}


RECIPES = {
    "example": nothing_to_do(),
    f"{JOB_RECIPE_PREFIX}example": nothing_to_do(),
    "centre-on-cpu": centring("i03", [CRYSTAL], gpu=False),
    "centre-on-gpu": centring("i03", [CRYSTAL]),
    "centre-nothing": centring("i04", []),
}


@dataclass(frozen=True)
class ZocaloSite(CommandedSite):
    """A site with a bridge, and Zocalo's clients in front of it."""

    broker: Broker
    clients: ZocaloClients

    @property
    def recipes(self) -> Path:
        return self.settings.recipe_directory

    def runs(self, guid: str) -> list[dict[str, Any]]:
        """Return the flow runs that carry a recipe ID which a message brought."""
        return self._ask("flow_runs/filter", {"flow_runs": {"tags": {"all_": [guid_tag(guid)]}}})

    def runs_of_collection(self, dcid: int, flow: str) -> list[dict[str, Any]]:
        """Return a flow's runs for a data collection."""
        chosen = {"flow_runs": {"tags": {"all_": [f"dcid:{dcid}"]}}, "flows": {"name": {"any_": [flow]}}}
        return self._ask("flow_runs/filter", chosen)

    def await_runs(self, guid: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many runs carry a recipe ID, and return them."""
        await_(lambda: len(self.runs(guid)) >= count, 60)
        return self.runs(guid)

    def bridge(self) -> BridgeState:
        """Return how the bridge says that it is: every few seconds."""
        return await_(lambda: read_state(self.settings.home))

    def await_bridge(self, after: int = 0) -> int:
        """Wait until a bridge is connected, another one than a process that is named, and return its process id."""

        def connected() -> int:
            state = read_state(self.settings.home)
            return state.pid if state and state.pid != after and state.connected_since else 0

        return await_(connected, 60)

    def kill_bridge(self) -> int:
        """End the bridge as a power cut would, and return the id that its process had."""
        process = self.await_bridge()
        os.kill(process, signal.SIGKILL)
        return process

    def hook(self, folder: Path) -> Path:
        """Write a program that looks up, by Prefect's API, the run of the recipe ID in ACCEPT_GUID."""
        program = folder / "look-up"
        program.write_text(
            "#!/usr/bin/env python3\n"
            "import json, os, sys, urllib.request\n"
            f"wanted = {json.dumps(guid_tag('GUID'))}.replace('GUID', os.environ['ACCEPT_GUID'])\n"
            "chosen = json.dumps({'flow_runs': {'tags': {'all_': [wanted]}}}).encode()\n"
            f"headers = {{'Content-Type': 'application/json', 'Authorization': {authorization(self.site.secret)!r}}}\n"
            f"request = urllib.request.Request({self.site.api_url + '/flow_runs/filter'!r}, chosen, headers)\n"
            "runs = json.load(urllib.request.urlopen(request))\n"
            "print(len(runs), 'run(s):', *(run['name'] for run in runs))\n"
            "sys.exit(len(runs) != 1)\n"
        )
        program.chmod(0o700)
        return program

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": authorization(self.site.secret)}
        request = urllib.request.Request(f"{self.site.api_url}/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def zocalo_site(folder: Path, broker: Broker, ispyb: URL) -> Iterator[ZocaloSite]:
    """Have a site with a bridge to a broker, and its collections in an ISPyB that is empty."""
    add_collections(ispyb)
    settings = recipe_settings(
        folder,
        RECIPES,
        bridge=True,
        broker_url=f"{broker.url}?stomp_vhost=/",
        ispyb_url=ispyb.render_as_string(hide_password=False),
    )
    clients = ZocaloClients(broker, folder / "beamline")
    with running_site(settings) as site:
        whole = ZocaloSite(settings, site, broker, clients)
        whole.await_bridge()
        yield whole


def add_collections(ispyb: URL) -> None:
    """Add two collections of a grid scan on i03 and one on i04, and a processing job."""
    engine = open_engine(ispyb)
    with Session(engine) as session:
        person = models.Person(familyName="Crowfoot", login="dch")
        proposal = models.Proposal(Person=person, proposalCode="mx", proposalNumber="12345")
        visits = {
            beamline: models.BLSession(Proposal=proposal, beamLineName=beamline, visit_number=number)
            for number, beamline in enumerate(("i03", "i04"), 1)
        }
        session.add_all(visits.values())
        session.flush()
        for group, beamline in ((DCGID, "i03"), (I04_DCGID, "i04")):
            session.add(
                models.DataCollectionGroup(
                    dataCollectionGroupId=group, sessionId=visits[beamline].sessionId, experimentType="Mesh3D"
                )
            )
        session.flush()
        collections = ((DCID, DCGID, "i03"), (OTHER_DCID, DCGID, "i03"), (I04_DCID, I04_DCGID, "i04"))
        for number, (dcid, group, beamline) in enumerate(collections, 1):
            session.add(
                models.DataCollection(
                    dataCollectionId=dcid,
                    dataCollectionGroupId=group,
                    SESSIONID=visits[beamline].sessionId,
                    startTime=datetime(2024, 5, 1, 12, 30, number),
                    imageDirectory=f"/dls/{beamline}/data/2024/mx12345-1/lys/",
                    imagePrefix="lys",
                    dataCollectionNumber=number,
                    fileTemplate=f"lys_{number}_master.h5",
                    startImageNumber=1,
                    numberOfImages=20,
                    runStatus="DataCollection Successful",
                )
            )
        session.flush()
        session.add(models.ProcessingJob(processingJobId=JOB, dataCollectionId=DCID, recipe="example", automatic=False))
        session.commit()
    engine.dispose()
