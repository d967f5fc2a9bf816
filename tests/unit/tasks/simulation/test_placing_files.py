import time

import pytest

from tasks.simulation.image_set import describe_plan
from tasks.simulation.placing import place, place_file
from tasks.simulation.plan import CollectionPlan

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
