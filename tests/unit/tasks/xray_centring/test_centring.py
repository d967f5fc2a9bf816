import errno
import json
import logging
import time
from pathlib import Path

import pytest

from blocks.errors import NodeRefused
from blocks.retrying import Pauses
from blocks.settings import Settings
from tasks.confinement import write_confined
from tasks.step import Message, StepContext
from tasks.step.runner import read_parameters, run_step, sends_of, try_step
from tasks.xray_centring import centring as xray_centring
from tasks.xray_centring.centring import centre_crystal
from tests.support.fake_resources import FakeResources
from tests.support.grid_information import SNAKED_GRID
from tests.support.interruptions import InterruptedRun

COUNTS = [1, 2, 3, 40, 50, 4]  # 3 x 2; with a snake the second row is 4, 50, 40


@pytest.fixture
def resources(tmp_path):
    return FakeResources(Settings(home=tmp_path))


@pytest.fixture
def node():
    return {
        "parameters": {"dcid": "17", "experiment_type": "Mesh", "beamline": "i03", "sample_id": 5},
        "gridinfo": {"gridInfoId": 1, **SNAKED_GRID, "steps_x": 3.0, "steps_y": "2.0"},
    }


def images(counts=COUNTS, seen_at=None):
    now = time.time() if seen_at is None else seen_at
    return [{"file-number": n, "n_spots_total": spots, "file-seen-at": now} for n, spots in enumerate(counts, 1)]


async def test_complete_grid_gives_the_centre(node, resources):
    outcome = await try_step(centre_crystal, node, images(), resources)
    (send,) = outcome.sent
    assert send.output == "success"
    assert send.payload == {
        "status": "success",
        "type": "2d",
        "results": [
            {
                "steps": (3, 2),
                "box_size_px": (10.0, 20.0),
                "snapshot_offset": (100.0, 200.0),
                "status": "ok",
                "message": "ok",
                "centre_x": 120.0,
                "centre_y": 230.0,
                "centre_x_box": 2.0,
                "centre_y_box": 1.5,
                "centre_of_mass": (2.0, 1.5),
                "max_voxel": (1, 1),
                "max_count": 50,
                "n_voxels": 2,
                "total_count": 90,
                "best_image": 5,
                "reflections_in_best_image": 50,
                "best_region": [(1, 1), (1, 2)],
                "sample_id": 5,
            }
        ],
    }
    assert not outcome.refused
    json.dumps(send.payload)


async def test_centre_is_sent_before_the_inbox_ends(node, resources):
    context = StepContext(node, "run", resources, refuse=lambda message, error: None)
    still_open = True

    async def inbox():
        nonlocal still_open
        for number, payload in enumerate(reversed(images()), 1):
            yield Message(payload, {"ID": "run", "number": number})
        still_open = False

    async for result in run_step(centre_crystal, inbox(), context):
        assert still_open
        assert sends_of(result)[0].environment == {"ID": "run", "number": 6}
        return
    pytest.fail("nothing was sent")


async def test_image_that_comes_twice_counts_once(node, resources):
    payloads = images()
    outcome = await try_step(centre_crystal, node, [payloads[0], *payloads[:5]], resources)
    assert [send.output for send in outcome.sent] == ["abort"]
    outcome = await try_step(centre_crystal, node, [*payloads, payloads[2]], resources)
    assert [send.output for send in outcome.sent] == ["success"]


async def test_incomplete_grid_aborts_and_names_missing_images(node, resources, caplog):
    with caplog.at_level(logging.ERROR):
        outcome = await try_step(centre_crystal, node, [images()[0], images()[3]], resources)
    assert [(send.output, send.payload) for send in outcome.sent] == [("abort", {})]
    assert "4 of 6 images didn't come: 2, 3, 5, 6" in caplog.text
    assert [message.payload["file-number"] for message, _ in outcome.undone] == [1, 4]


async def test_a_grid_of_impossible_size_is_left_undone_at_once(node, resources):
    """Its missing images are too many to be listed."""
    node["gridinfo"]["steps_x"] = 10**12
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert "images didn't come: 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 …" in outcome.undone[0][1]


async def test_an_incomplete_grid_is_centred_when_the_missing_image_comes_and_aborts_once(node, resources):
    run = InterruptedRun(centre_crystal, node, images()[:5], resources)
    for _ in range(2):
        await run.process()
        assert [output for output, _ in run.sent] == ["abort"]
        assert len(run.left) == 5
    run.messages.append(Message(images()[5], {}, 6, 0.0))
    await run.process()
    assert [output for output, _ in run.sent] == ["abort", "success"]
    assert run.is_done


async def test_image_outside_the_grid_is_ignored(node, resources, caplog):
    outcome = await try_step(centre_crystal, node, images([*COUNTS[:5], 4, 900]), resources)
    assert outcome.sent[0].payload["results"][0]["max_count"] == 50
    assert "image 7 " in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"file-number": 0, "n_spots_total": 1, "file-seen-at": 1.0},
        {"file-number": 1, "n_spots_total": -1, "file-seen-at": 1.0},
        {"file-number": 1, "n_spots_total": None, "file-seen-at": 1.0},
        {"file-number": 1, "n_spots_total": 1},
    ],
)
async def test_payload_that_is_no_image_is_refused_and_the_rest_goes_on(payload, node, resources):
    outcome = await try_step(centre_crystal, node, [payload, *images()], resources)
    assert [send.output for send in outcome.sent] == ["success"]
    ((message, error),) = outcome.refused
    assert message.payload == payload
    assert "file-number" in str(error) or "valid dictionary" in str(error) or "n_spots" in str(error)


async def test_nothing_usable_sends_nothing(node, resources):
    outcome = await try_step(centre_crystal, node, [{}], resources)
    assert (outcome.sent, len(outcome.refused)) == ([], 1)


async def test_grid_without_spots_is_told_as_failed_result(node, resources):
    outcome = await try_step(centre_crystal, node, images([0] * 6), resources)
    (result,) = outcome.sent[0].payload["results"]
    assert (result["status"], result["message"], result["sample_id"]) == ("fail", "No good images found", None)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"experiment_type": "Mesh3D"}, "three-dimensional"),
        ({"dcg_dcids": [16, 18]}, "three-dimensional"),
        ({"dcid": "{ispyb_dcid}"}, "dcid"),
        ({"beamline": ""}, "beamline"),
    ],
)
async def test_scan_that_cannot_be_centred_refuses_all_its_images(parameters, reason, node, resources):
    node["parameters"].update(parameters)
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert_refused_as_a_whole(outcome, reason)


def assert_refused_as_a_whole(outcome, reason):
    assert outcome.sent == []
    ((_, error),) = outcome.refused
    assert reason in str(error)
    assert len(outcome.undone) == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps_x": 0}, "steps_x"),
        ({"steps_x": 2.5}, "steps_x"),
        ({"micronsPerPixelX": 0}, "micronsPerPixelX"),
        ({"orientation": "diagonal"}, "orientation"),
    ],
)
async def test_wrong_grid_information_is_refused(change, reason, node, resources):
    node["gridinfo"].update(change)
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert_refused_as_a_whole(outcome, reason)
    assert "start a new one, or tell this one by `plaza resume RUN" in str(outcome.refused[0][1])


@pytest.mark.parametrize("comment", ["Diffraction grid scan of 3 by 2 images", None])
async def test_only_a_single_image_may_lack_grid_information(comment, node, resources):
    node.update(gridinfo={}, comment=comment)
    assert_refused_as_a_whole(await try_step(centre_crystal, node, images(), resources), "no grid information")
    node["comment"] = "Diffraction grid scan of 1 by 1 images, top"
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert (outcome.sent, outcome.refused, outcome.undone) == ([], [], [])


async def test_unknown_values_count_as_not_given(node, resources, tmp_path):
    node["parameters"].update(
        {"dcg_dcids": None, "sample_id": "None", "loop_type": "{ispyb_loop}", "log": "", "experiment_type": "None"}
    )
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert outcome.sent[0].payload["results"][0]["sample_id"] is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("loop_type", "samples", "expected"),
    [  # boxes of 20 µm; the centre is at x = 2.0 boxes, 40 µm, whereas its y is 1.5
        ("multipin_3x20+15", {"1": 71, "2": 72, "3": 73}, 72),
        ("multipin_3x20+40", {"1": 71, "2": 72, "3": 73}, 71),
        ("multipin_3x20+15", {"1": 71}, None),
        ("multipin_2x10+5", {"1": 71, "2": 72}, None),
        ("Litholoop", {"1": 71}, 5),
        ("multipin_3x20+15", {}, 5),
    ],
)
async def test_sample_is_that_of_the_well_along_x(loop_type, samples, expected, node, resources):
    node["parameters"].update({"loop_type": loop_type, "msp_sample_ids": samples})
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert outcome.sent[0].payload["results"][0]["sample_id"] == expected


async def test_results_are_written_for_gda_and_people(node, resources, tmp_path):
    folder = tmp_path / "processed" / "uuid" / "xray-centering"
    node["parameters"].update(
        {"output": str(folder / "Dials5AResults.json"), "log": str(folder / "log.txt"), "results_symlink": "latest"}
    )
    outcome = await try_step(centre_crystal, node, images(), resources)
    written = json.loads((folder / "Dials5AResults.json").read_text())
    assert written == json.loads(json.dumps(outcome.sent[0].payload["results"][0]))
    assert "40" in (folder / "log.txt").read_text()
    link = tmp_path / "processed" / "latest"
    assert link.is_symlink()
    assert str(link.readlink()) == "uuid/xray-centering"
    assert sorted(path.name for path in folder.iterdir()) == ["Dials5AResults.json", "log.txt"]


def link_to(target):
    return lambda link: link.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "overwrite", "leads_to"),
    [
        (link_to("elsewhere"), False, "elsewhere"),
        (link_to("elsewhere"), "true", "uuid/xray-centering"),
        (link_to("latest"), False, "latest"),  # to itself
        (link_to("uuid/xray-centering"), False, "uuid/xray-centering"),
        (Path.mkdir, True, None),
        (Path.touch, True, None),
    ],
)
async def test_what_is_there_by_the_link_s_name_is_left_alone_unless_a_link_is_to_be_overwritten(
    make, overwrite, leads_to, node, resources, tmp_path, caplog
):
    output, link = tmp_path / "processed" / "uuid" / "xray-centering" / "centre.json", tmp_path / "processed" / "latest"
    output.parent.mkdir(parents=True)
    make(link)
    node["parameters"] |= {"output": str(output), "results_symlink": "latest", "overwrite_symlink": overwrite}
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert [send.output for send in outcome.sent] == ["success"]
    assert output.exists()
    assert (str(link.readlink()) if link.is_symlink() else None) == leads_to
    is_right = leads_to == "uuid/xray-centering"
    assert (f"{link} is there already and is left alone" in caplog.text) != is_right


async def test_a_path_that_is_none_costs_the_file_only(node, resources):
    node["parameters"]["output"] = "/tmp/\0/centre.json"
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert [send.output for send in outcome.sent] == ["success"]
    assert {reason for _, reason in outcome.undone} == {
        "GDA can't read where the crystal is, as the result can't be written: embedded null byte"
    }


@pytest.mark.parametrize("name", ["no/such/folder", "nul\0"])
async def test_a_link_that_can_not_be_made_costs_a_warning_only(name, node, resources, tmp_path, caplog):
    output = tmp_path / "processed" / "uuid" / "xray-centering" / "centre.json"
    node["parameters"] |= {"output": str(output), "results_symlink": name}
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert (len(outcome.sent), outcome.undone) == (1, [])
    assert f"processed/{name} to" in caplog.text


async def test_result_that_cannot_be_written_still_goes_out_and_is_written_when_that_is_mended(
    node, resources, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "Dials5AResults.json"
    node["parameters"]["output"] = str(output)
    run = InterruptedRun(centre_crystal, node, images(), resources)
    for _ in range(2):
        await run.process()
        assert [output for output, _ in run.sent] == ["success"]
        assert len(run.left) == 6
        assert "GDA" in run.left[1]
    (tmp_path / "file").unlink()
    await run.process()
    assert [output for output, _ in run.sent] == ["success"]
    assert json.loads(output.read_text())["status"] == "ok"
    assert run.is_done


@pytest.mark.parametrize("log", ["/proc/nope/x.txt", "/tmp/\0", "."])
async def test_a_report_that_can_not_be_written_costs_a_warning_only(log, node, resources, tmp_path, caplog):
    node["parameters"] |= {"output": str(tmp_path / "centre.json"), "log": log}
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert json.loads((tmp_path / "centre.json").read_text())["status"] == "ok"
    assert (len(outcome.sent), outcome.undone) == (1, [])
    assert f"the report {log} can't be written" in caplog.text


@pytest.mark.parametrize("output", ["{ispyb_result_directory}/centre.json", "/data/{$REPLACE:visit}/centre.json"])
async def test_a_result_whose_path_is_not_filled_in_is_refused_as_a_whole(output, node, resources):
    node["parameters"]["output"] = output
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert_refused_as_a_whole(outcome, "output: should be a path; seen the unfilled placeholder {")


@pytest.mark.parametrize("output", ["None", "", None])
async def test_a_result_that_nobody_waits_for_is_not_written(output, node, resources):
    node["parameters"]["output"] = output
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert (len(outcome.sent), outcome.refused, outcome.undone) == (1, [], [])


def test_a_grid_that_no_image_ever_came_of_is_missed(node):
    def missing():
        return centre_crystal.without_messages(read_parameters(centre_crystal, node), node)

    assert missing() == "data collection 17 isn't centred: no image of the grid came, of 6"
    node.update(gridinfo={}, comment="Diffraction grid scan of 1 by 1 images")
    assert missing() is None
    node["comment"] = ""
    with pytest.raises(NodeRefused, match="no grid information"):
        missing()


@pytest.mark.parametrize(("latency_s", "level"), [(1, "INFO"), (40, "WARNING"), (400, "ERROR")])
async def test_slow_answer_is_logged_louder(latency_s, level, node, resources, caplog):
    caplog.set_level(logging.INFO)
    await try_step(centre_crystal, node, images(seen_at=time.time() - latency_s), resources)
    assert [record.levelname for record in caplog.records if "after its last image" in record.getMessage()] == [level]


async def test_full_disk_is_given_some_time(node, resources, tmp_path, monkeypatch):
    node["parameters"]["output"] = str(tmp_path / "centre.json")
    faults = [OSError(errno.ENOSPC, "full"), OSError(errno.ENOSPC, "full")]

    def write(path, content, also):
        if faults:
            raise faults.pop()
        write_confined(path, content, also)

    monkeypatch.setattr(xray_centring, "write_confined", write)
    monkeypatch.setattr(xray_centring, "WRITE_PAUSES", Pauses(0.0, 0.0))
    outcome = await try_step(centre_crystal, node, images(), resources)
    assert (len(outcome.sent), outcome.refused) == (1, [])
    assert json.loads((tmp_path / "centre.json").read_text())["status"] == "ok"


async def test_late_images_do_not_begin_a_grid_anew(node, resources):
    run = InterruptedRun(centre_crystal, node, [*images(), *images()], resources)
    await run.process(kill_at=1)
    assert [output for output, _ in run.sent] == ["success"]
    await run.process()
    assert [output for output, _ in run.sent] == ["success"]
