import pytest
from pydantic import ValidationError

from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.image_set import describe_plan
from tasks.simulation.plan import CollectionPlan, ImageFormat

GRID = GridScan(steps_x=5, steps_y=4)


def test_rotation_images_adjoin(tmp_path):
    plan = CollectionPlan.rotation(4, 0.5, start_deg=10)
    assert plan.starts_deg() == (10, 10.5, 11, 11.5)
    sweep = describe_plan(plan, tmp_path)
    assert (sweep.width_deg, sweep.overlap_deg) == (0.5, 0)


def test_screening_images_are_far_apart(tmp_path):
    plan = CollectionPlan.screening()
    assert plan.starts_deg() == (0, 45, 90)
    sweep = describe_plan(plan, tmp_path)
    assert (sweep.images, sweep.width_deg, sweep.overlap_deg) == (3, 0.5, -44.5)


def test_grid_scan_has_most_crystal_where_the_centre_is():
    plan = CollectionPlan.grid_scan(GRID, centre=(2.5, 1.5))
    assert plan.images == 20
    assert plan.strengths()[1 * 5 + 2] == 1
    assert max(plan.strengths()) == 1


def test_snaked_scan_meets_the_crystal_in_the_same_cell():
    grid = GRID.model_copy(update={"snaked": True})
    strengths = CollectionPlan.grid_scan(grid, centre=(0.5, 1.5)).strengths()
    assert list(grid.cells())[strengths.index(1)] == (0, 1)


def test_equal_plans_share_rendered_images_and_others_do_not():
    plan = CollectionPlan.rotation(3)
    assert plan.digest == CollectionPlan.rotation(3).digest
    assert plan.digest != CollectionPlan.rotation(3, seed=2).digest
    assert plan.digest != CollectionPlan.rotation(3, image_format=ImageFormat.NXS).digest


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"kind": "grid", "images": 4}, "a grid scan has a grid"),
        ({"kind": "rotation", "images": 20, "width_deg": 1, "grid": GRID}, "nothing else has"),
        ({"kind": "grid", "images": 7, "grid": GRID, "centre": (1, 1)}, "takes 20 images, not 7"),
        ({"kind": "grid", "images": 20, "grid": GRID}, "needs the crystal's centre"),
        ({"kind": "rotation", "images": 5}, "images of some width"),
        ({"kind": "rotation", "images": 0, "width_deg": 1}, "greater than 0"),
        ({"kind": "rotation", "images": 1, "width_deg": 1, "prefix": "../x"}, "match pattern"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(facts, complaint):
    with pytest.raises(ValidationError, match=complaint):
        CollectionPlan(**({"width_deg": 0, "step_deg": 0} | facts))


@pytest.mark.parametrize(
    ("size", "pixels"),
    [("300k", (487, 619)), ("1m", (981, 1043)), ("2m", (1475, 1679)), ("6m", (2463, 2527))],
)
def test_detectors_have_the_pixels_of_a_pilatus(size, pixels):
    assert DetectorSize(size).pixels == pixels


def test_beam_is_on_the_detector_and_off_its_middle():
    geometry = Geometry.of(DetectorSize.K300, 1.0, 120)
    assert 0 < geometry.beam_x_px < geometry.width
    assert geometry.beam_x_px != geometry.width / 2
    assert geometry.beam_y_px != geometry.height / 2


@pytest.mark.parametrize(
    ("template", "prefix", "number", "suffix", "third"),
    [
        ("l-cyst_01_#####.cbf.gz", "l-cyst", 1, "cbf.gz", "l-cyst_01_00003.cbf.gz"),
        ("thau_3_2_####.cbf.bz2", "thau_3", 2, "cbf.bz2", "thau_3_2_0003.cbf.bz2"),
        ("lone_####.cbf", "lone", 1, "cbf", "lone_0003.cbf"),
        ("Therm_6_2.nxs", "Therm_6", 2, "nxs", "Therm_6_2.nxs"),
        ("xrc_209_master.h5", "xrc", 209, "h5", "xrc_209_master.h5"),
    ],
)
def test_file_names_tell_prefix_and_number(tmp_path, template, prefix, number, suffix, third):
    sweep = describe_plan(CollectionPlan.rotation(3), tmp_path).model_copy(update={"template": template})
    assert (sweep.prefix, sweep.number, sweep.suffix, sweep.file_name(3)) == (prefix, number, suffix, third)
