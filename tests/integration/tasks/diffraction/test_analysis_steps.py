"""The steps on a Dask cluster within the process, with DIALS in its children."""

import os
import signal
from pathlib import Path

import pytest

from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.diffraction.dials_processes.child_pool import CHILDREN
from tasks.file_watcher import watch_files
from tasks.image_previews import make_preview
from tasks.per_image_analysis import analyse_images
from tasks.step.runner import try_step

pytestmark = pytest.mark.dials


@pytest.fixture
async def resources(tmp_path):
    async with SiteResources(Settings(home=tmp_path, dask_scheduler=None, analysis_workers=1)) as resources:
        yield resources


def swmr_payload(master, number):
    """What the file watcher sends for an image of a master."""
    return {
        "hdf5": master,
        "hdf5-index": number - 1,
        "file": master,
        "file-number": number,
        "file-seen-at": 1700000000.5,
        "parameters": {"scan_range": f"{number},{number}"},
    }


async def test_each_image_of_either_kind_gives_a_result_and_bad_ones_are_refused(pictures, resources):
    cbfs = [
        {"file": file, "file-number": n, "file-pattern-index": n} for n, file in enumerate(pictures.rotation_cbfs, 1)
    ]
    frames = [swmr_payload(pictures.rotation_master, number) for number in range(1, 8)]
    outcome = await try_step(
        analyse_images, {"parameters": {}}, [*cbfs, {"file": "/nowhere/a_1.cbf"}, *frames, 7], resources, "run"
    )
    assert {send.output for send in outcome.sent} == {"result"}
    assert {send.environment["ID"] for send in outcome.sent} == {"run"}
    results = {(Path(send.payload["file"]).suffix, send.payload["file-number"]): send.payload for send in outcome.sent}
    assert len(results) == len(outcome.sent) == 12
    assert results[".cbf", 3]["n_spots_total"] == results[".nxs", 3]["n_spots_total"] > 0
    assert set(results[".nxs", 3]) >= {"file", "file-number", "file-seen-at", "estimated_d_min"}
    assert "hdf5" not in results[".nxs", 3]
    reasons = sorted(str(error) for _, error in outcome.refused)
    assert len(reasons) == 3
    assert "within image range 1..6" in reasons[0]
    assert "needs the path of an image" in reasons[1]
    assert "/nowhere/a_1.cbf does not exist" in reasons[2]


async def test_killed_dials_process_costs_no_image(pictures, resources, monkeypatch):
    await resources.analysis_client()
    [child] = CHILDREN._idle
    child.wait_until_ready()
    os.kill(child.pid, signal.SIGSTOP)
    os.kill(child.pid, signal.SIGSEGV)  # takes effect when it goes on, with its work at hand

    def let_it_die(*_):
        os.kill(child.pid, signal.SIGCONT)

    monkeypatch.setattr(child, "wait_until_ready", let_it_die)
    payloads = [swmr_payload(pictures.rotation_master, number) for number in range(1, 7)]
    outcome = await try_step(analyse_images, {"parameters": {}}, payloads, resources)
    assert not child.is_alive
    assert len(outcome.sent) == 6
    assert outcome.refused == []


async def test_cluster_in_the_process_leaves_no_dials_process(tmp_path):
    async with SiteResources(Settings(home=tmp_path, dask_scheduler=None, analysis_workers=2)) as resources:
        await resources.analysis_client()
        pids = [child.pid for child in CHILDREN._idle]
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_previews_are_drawn_and_missing_images_refused(pictures, resources, tmp_path):
    visit = tmp_path / "cm1234-5"
    payloads = [
        swmr_payload(pictures.rotation_master, 2),
        {"file": pictures.rotation_cbfs[0], "output": str(visit / "c.jpeg")},
    ]
    payloads[0]["output"] = str(visit / "n.jpeg")
    payloads.append({"file": str(visit / "none_1.cbf")})
    outcome = await try_step(make_preview, {"parameters": {"image_command": "diffraction"}}, payloads, resources)
    assert outcome.sent == []
    assert sorted(path.name for path in visit.iterdir()) == ["c.jpeg", "ct.jpeg", "n.jpeg", "nt.jpeg"]
    [(_, error)] = outcome.refused
    assert "none_1.cbf does not exist" in str(error)


async def test_pipe_and_folder_in_a_sweep_cost_two_images(pictures, resources, tmp_path):
    visit = tmp_path / "cm1234-5"
    visit.mkdir()
    for number, file in enumerate(pictures.rotation_cbfs[:4], 1):
        (visit / f"a_{number}.cbf").symlink_to(file)
    os.mkfifo(visit / "a_5.cbf")
    (visit / "a_6.cbf").mkdir()
    for name in ("a_5.cbf", "a_6.cbf"):
        os.utime(visit / name, (1e9, 1e9))
    parameters = {"pattern": f"{visit}/a_%d.cbf", "pattern-start": 1, "pattern-end": 6, "timeout": 5}
    watched = await try_step(watch_files, {"parameters": parameters, "output": {"every": 2}}, [{}], resources)
    payloads = [send.payload for send in watched.sent]
    analysed = await try_step(analyse_images, {"parameters": {}}, payloads, resources)
    drawn = await try_step(make_preview, {"parameters": {"image_command": "diffraction"}}, payloads, resources)
    assert len(analysed.sent) == 4
    assert sorted(path.name for path in (visit / "jpegs").iterdir())[::2] == [f"a_{n}.jpeg" for n in range(1, 5)]
    for outcome in (analysed, drawn):
        reasons = sorted(str(error) for _, error in outcome.refused)
        assert ["a_5.cbf is a pipe" in reasons[0], "a_6.cbf is a folder" in reasons[1]] == [True, True]
