import subprocess
import sys
import time

import pytest

from tasks.simulation.image_set import describe_plan
from tasks.simulation.placing import place, place_file
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tests.support.masters import read_through, write_frames, write_virtual

CLOCKS_DIFFER_S = 0.001  # images are due by the monotonic clock, their times are the wall clock's


@pytest.fixture
def sweep(tmp_path):
    """Five files that stand for images: placing doesn't look into them."""
    folder = tmp_path / "ready"
    folder.mkdir()
    made = describe_plan(CollectionPlan.rotation(5), folder)
    for name in (*made.file_names(), *made.companions):
        (folder / name).write_text(f"content of {name}")
    return made


def test_images_appear_one_by_one_in_order_and_whole(sweep, tmp_path):
    destination = tmp_path / "visit"
    destination.mkdir()
    seen = []
    for _ in place(sweep, destination, rate_hz=1000):
        seen.append({name for name in sweep.file_names() if (destination / name).exists()})
    assert seen == [set(sweep.file_names()[: count + 1]) for count in range(5)]
    for name in (*sweep.file_names(), *sweep.companions):
        assert (destination / name).read_text() == f"content of {name}"
    assert not list(destination.glob(".*.part"))


PARTS = [(slice(0, 2), "raw_1.h5", "data", 4, slice(2, 4)), (slice(2, 5), "raw_2.h5", "data", 4, slice(0, 3))]
DEALT = [(slice(0, 4, 2), "raw_1.h5", "data", 4, slice(1, 3)), (slice(1, 4, 2), "raw_2.h5", "data", 4, slice(1, 3))]


@pytest.mark.parametrize(("images", "mappings", "values"), [(5, PARTS, [3, 4, 11, 12, 13]), (4, DEALT, [2, 12, 3, 13])])
def test_a_master_on_parts_of_files_gets_its_own_images_in_order(tmp_path, images, mappings, values):
    ready, destination = tmp_path / "ready", tmp_path / "visit"
    destination.mkdir()
    write_frames(ready / "raw_1.h5", 1, 4)
    write_frames(ready / "raw_2.h5", 11, 4)
    write_virtual(ready / "scan.nxs", images, mappings)
    plan = CollectionPlan.rotation(images, image_format=ImageFormat.NXS)
    sweep = describe_plan(plan, ready).model_copy(update={"template": "scan.nxs", "companions": ()})
    seen = []
    for _ in place(sweep, destination, rate_hz=1000):
        seen.append(count_chunks(destination))
    assert seen == list(range(1, images + 1))
    assert read_through(destination / "scan.nxs") == values


def count_chunks(folder):
    """Count the images that are there, as a reader beside their writer sees them."""
    return sum(int(subprocess.check_output([sys.executable, "-c", COUNT, file])) for file in folder.glob("raw_*.h5"))


COUNT = """
import sys, h5py
with h5py.File(sys.argv[1], "r", swmr=True, locking=False) as file:
    print(file["data"].id.get_num_chunks())
"""


def test_no_image_comes_before_its_time(sweep, tmp_path):
    destination = tmp_path / "visit"
    destination.mkdir()
    before = time.time()  # a busy machine may make any of them late, the first one too
    times = list(place(sweep, destination, rate_hz=50))
    assert all(at - before >= index / 50 - CLOCKS_DIFFER_S for index, at in enumerate(times))


def test_a_file_is_not_there_before_it_lands(tmp_path):
    source, target = tmp_path / "source.cbf", tmp_path / "there" / "target.cbf"
    target.parent.mkdir()
    source.write_bytes(b"counts")
    land = place_file(source, target)
    assert not target.exists()
    land()
    assert target.read_bytes() == b"counts"
