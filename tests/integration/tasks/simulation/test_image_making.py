"""Synthetic images as DIALS sees them, in both formats, and real images collected again."""

import os
import shutil
from pathlib import Path

import pytest

from tasks.simulation.child import Place
from tasks.simulation.collection import collect, find_sweeps, render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.grid_scan import GridScan
from tasks.simulation.jobs import BeamlineFault, run_job
from tasks.simulation.plan import CollectionKind, CollectionPlan, ImageFormat
from tests.support.image_files import MINI_HEADER, make_cbf

pytestmark = pytest.mark.dials


@pytest.fixture(scope="module", autouse=True)
def bitshuffle():
    """Let this process' HDF5 read bitshuffle, as those of DIALS do by HDF5_PLUGIN_PATH."""
    pytest.importorskip("dials", reason="DIALS isn't installed")
    import hdf5plugin

    return hdf5plugin


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("rendered")


async def collect_images(sweep, destination, rate_hz=1000.0):
    destination.mkdir(parents=True)
    await run_job(Place(sweep=sweep, destination=destination, rate_hz=rate_hz))
    if sweep.image_format is ImageFormat.NXS:
        return [destination / sweep.template]
    return [destination / name for name in sweep.file_names()]


def read_experiments(files):
    from dxtbx.model.experiment_list import ExperimentListFactory

    return ExperimentListFactory.from_filenames([str(file) for file in files])


def count_spots(files, images):
    """Count each image's spots as DIALS' own per-image analysis does."""
    from dials.command_line.find_spots_server import work

    if len(files) == images:
        return [work(str(file), cl=[])["n_spots_total"] for file in files]
    return [work(str(files[0]), cl=[f"spotfinder.scan_range={n},{n}"])["n_spots_total"] for n in range(1, images + 1)]


async def test_both_formats_give_the_same_models_and_spots(store, tmp_path):
    spots, experiments = {}, {}
    for image_format in ImageFormat:
        plan = CollectionPlan.rotation(4, 1.0, image_format=image_format, images_per_file=3)
        files = await collect_images(await render(plan, store), tmp_path / image_format)
        (experiments[image_format],) = read_experiments(files)
        spots[image_format] = count_spots(files, 4)
    cbf, nxs = experiments[ImageFormat.CBF], experiments[ImageFormat.NXS]
    assert spots[ImageFormat.CBF] == spots[ImageFormat.NXS]
    assert min(spots[ImageFormat.CBF]) > 50
    assert cbf.beam.get_wavelength() == pytest.approx(nxs.beam.get_wavelength())
    assert cbf.detector[0].get_origin() == pytest.approx(nxs.detector[0].get_origin(), abs=1e-6)
    assert cbf.detector[0].get_fast_axis() == pytest.approx(nxs.detector[0].get_fast_axis())
    assert cbf.detector[0].get_slow_axis() == pytest.approx(nxs.detector[0].get_slow_axis())
    assert cbf.scan.get_oscillation() == pytest.approx(nxs.scan.get_oscillation())
    assert cbf.scan.get_image_range() == nxs.scan.get_image_range() == (1, 4)
    assert cbf.goniometer.get_rotation_axis() == pytest.approx(nxs.goniometer.get_rotation_axis())


@pytest.mark.parametrize(
    ("image_format", "grid", "centre"),
    [
        (ImageFormat.CBF, GridScan(steps_x=5, steps_y=4), (2.8, 1.9)),
        (ImageFormat.NXS, GridScan(steps_x=5, steps_y=4, orientation="vertical", snaked=True), (2.1, 2.4)),
    ],
)
async def test_spots_have_their_centre_of_mass_where_the_crystal_is(store, tmp_path, image_format, grid, centre):
    plan = CollectionPlan.grid_scan(grid, centre=centre, image_format=image_format)
    files = await collect_images(await render(plan, store), tmp_path / "images")
    spots = count_spots(files, grid.size)
    total = sum(spots)
    centre_of_mass = [
        sum(n * (cell[axis] + 0.5) for n, cell in zip(spots, grid.cells(), strict=True)) / total for axis in (0, 1)
    ]
    assert centre_of_mass == pytest.approx(centre, abs=0.2)


async def test_equal_plans_are_rendered_once_and_alike(store, tmp_path):
    plan = CollectionPlan.rotation(2, seed=5)
    rendered = []
    first = await render(plan, store, lambda number, at: rendered.append(number))
    again = await render(plan, store, lambda number, at: rendered.append(number))
    elsewhere = await render(plan, tmp_path / "other")
    assert rendered == [1, 2]
    assert again == first
    for name in first.file_names():
        assert (first.folder / name).read_bytes() == (elsewhere.folder / name).read_bytes()


async def test_images_appear_to_a_swmr_reader_one_by_one(store, tmp_path):
    import h5py

    plan = CollectionPlan.rotation(6, image_format=ImageFormat.NXS, images_per_file=4)
    sweep = await render(plan, store)
    seen = []

    def look(number, at):
        index = number - 1
        name = f"lysozyme_1_{index // 4 + 1:06d}.h5"
        with h5py.File(tmp_path / "live" / name, "r", swmr=True) as file:
            frames = file["data"].shape[0]
            present = [n for n in range(frames) if file["data"].id.get_chunk_info_by_coord((n, 0, 0)).size]
            seen.append((name, frames, index % 4 in present, bool(file["data"][index % 4].any())))

    (tmp_path / "live").mkdir()
    await run_job(Place(sweep=sweep, destination=tmp_path / "live", rate_hz=20), look)
    first, second = ("lysozyme_1_000001.h5", 4, True, True), ("lysozyme_1_000002.h5", 2, True, True)
    assert seen == [first] * 4 + [second] * 2


async def test_plugin_path_does_not_disturb_the_writer(store, tmp_path, monkeypatch, bitshuffle):
    monkeypatch.setenv("HDF5_PLUGIN_PATH", bitshuffle.PLUGIN_PATH)
    plan = CollectionPlan.rotation(1, image_format=ImageFormat.NXS, seed=9)
    files = await collect_images(await render(plan, store), tmp_path / "live")
    assert "HDF5_PLUGIN_PATH" in os.environ
    monkeypatch.delenv("HDF5_PLUGIN_PATH")
    (experiment,) = read_experiments(files)
    assert max(experiment.imageset.get_raw_data(0)[0]) > 0


async def test_screening_images_are_read_at_their_angles(store, tmp_path):
    files = await collect_images(await render(CollectionPlan.screening(), store), tmp_path / "images")
    starts = [experiment.scan.get_oscillation() for experiment in read_experiments(files)]
    assert starts == [(0, 0.5), (45, 0.5), (90, 0.5)]


@pytest.mark.parametrize(
    "plan",
    [
        CollectionPlan.screening(),
        CollectionPlan.screening(image_format=ImageFormat.NXS),
        CollectionPlan.rotation(2, seed=5),
        CollectionPlan.rotation(1, image_format=ImageFormat.NXS, seed=9),
        CollectionPlan.grid_scan(GridScan(steps_x=5, steps_y=4), centre=(2.8, 1.9)),
    ],
    ids=["screening", "screening-nxs", "rotation", "one-nxs", "grid"],
)
async def test_rendered_images_are_found_again_as_what_they_are(store, plan):
    rendered = await render(plan, store)
    (found,) = await find_sweeps(rendered.folder, (5, 4))
    told = {"kind", "template", "images", "recorded", "first", "start_deg", "width_deg", "overlap_deg", "wavelength_a"}
    expected = rendered.model_dump(include=told)
    if plan.images == 1:  # one image is a screening, to ISPyB as well
        expected["kind"] = CollectionKind.SCREENING
    assert found.model_dump(include=told) == pytest.approx(expected)
    assert found.distance_mm == pytest.approx(rendered.distance_mm)
    assert (found.beam_x_mm, found.beam_y_mm) == pytest.approx((rendered.beam_x_mm, rendered.beam_y_mm), abs=0.2)


def write_master_of_part(path, master, frames):
    """Write a master of some of another one's images, which lie in its only data file."""
    import h5py

    shutil.copyfile(master, path)
    with h5py.File(path, "a", libver=("v110", "v110")) as file:
        shape = file["entry/data/data"].shape
        del file["entry/data"]
        layout = h5py.VirtualLayout((frames.stop - frames.start, *shape[1:]), "u2")
        layout[:] = h5py.VirtualSource("raw_000001.h5", "data", shape, "u2")[frames]
        file.create_virtual_dataset("entry/data/data", layout, fillvalue=0)
        file["entry/data"].attrs.update(NX_class=b"NXdata", signal=b"data")
        axes = file["entry/sample/transformations"]
        for name in ("omega", "omega_end"):
            attributes, angles = dict(axes[name].attrs), axes[name][frames]
            del axes[name]
            axes.create_dataset(name, data=angles).attrs.update(attributes)


async def test_masters_on_parts_of_a_file_are_data_collections_of_their_own(store, tmp_path):
    rendered = await render(CollectionPlan.rotation(5, image_format=ImageFormat.NXS, seed=9), store)
    ready = tmp_path / "ready"
    ready.mkdir()
    shutil.copyfile(rendered.folder / "lysozyme_1_000001.h5", ready / "raw_000001.h5")
    for name, frames in (("lyso_1", slice(0, 3)), ("lyso_1_2", slice(3, 5))):
        write_master_of_part(ready / f"{name}.nxs", rendered.folder / rendered.template, frames)
        (ready / f"{name}_meta.h5").write_bytes(b"meta")
    one, two = await find_sweeps(ready)
    assert [(sweep.template, sweep.images, sweep.recorded, sweep.start_deg) for sweep in (one, two)] == [
        ("lyso_1.nxs", 3, 3, 0),
        ("lyso_1_2.nxs", 2, 2, 3),
    ]
    assert (one.companions, two.companions) == (("lyso_1_meta.h5",), ("lyso_1_2_meta.h5",))
    await collect_images(two, tmp_path / "live", rate_hz=50)
    pixels = [read_counts(master) for master in (rendered.folder / rendered.template, tmp_path / "live/lyso_1_2.nxs")]
    assert (pixels[1] == pixels[0][3:]).all()


async def test_hidden_files_are_no_images(tmp_path):
    for name in ("x_1.cbf", ".x_2.cbf", "._1.nxs"):
        (tmp_path / name).write_bytes(make_cbf())
    (found,) = await find_sweeps(tmp_path)
    assert (found.template, found.images) == ("x_#.cbf", 1)


async def test_several_scans_in_one_series_are_refused(tmp_path):
    for number, start in enumerate((0.0, 0.5, 1.0, 90.0, 2.0), start=1):  # the last one is as the first two promise
        header = MINI_HEADER.replace("Start_angle 0.0000", f"Start_angle {start}")
        (tmp_path / f"x_{number}.cbf").write_bytes(make_cbf(header))
    with pytest.raises(BeamlineFault, match=r"x_4\.cbf starts at 90°, expected 1\.5°"):
        await find_sweeps(tmp_path)


async def test_master_with_more_images_than_angles_is_refused(store, tmp_path):
    import h5py

    rendered = await render(CollectionPlan.rotation(5, image_format=ImageFormat.NXS, seed=9), store)
    shutil.copytree(rendered.folder, tmp_path / "ready")
    with h5py.File(tmp_path / "ready" / rendered.template, "a", libver=("v110", "v110")) as file:
        axes = file["entry/sample/transformations"]
        for name in ("omega", "omega_end"):
            attributes, angles = dict(axes[name].attrs), axes[name][:3]
            del axes[name]
            axes.create_dataset(name, data=angles).attrs.update(attributes)
    with pytest.raises(BeamlineFault, match="has 5 images, but says where the crystal stood for 3"):
        await find_sweeps(tmp_path / "ready")


def read_counts(master):
    import h5py

    with h5py.File(master) as file:
        return file["entry/data/data"][:]


@pytest.mark.real_data
async def test_real_grid_scan_is_recognised(real_data):
    (sweep,) = await find_sweeps(real_data / "thaumatin_grid")
    assert (sweep.kind, sweep.template, sweep.images) == (CollectionKind.GRID, "thau_3_2_####.cbf.bz2", 19)
    assert (sweep.grid.steps_x, sweep.grid.steps_y) == (19, 1)
    assert sweep.detector_model == "PILATUS3 6M"
    assert (sweep.wavelength_a, sweep.distance_mm, sweep.exposure_s) == (0.96859, 351.0, 0.02)


@pytest.mark.real_data
async def test_real_sweeps_are_told_apart(real_data):
    sweeps = await find_sweeps(real_data / "l_cysteine")
    assert [sweep.template for sweep in sweeps] == [f"l-cyst_0{number}_#####.cbf.gz" for number in range(1, 5)]
    assert {(sweep.kind, sweep.images, sweep.width_deg) for sweep in sweeps} == {(CollectionKind.ROTATION, 15, 0.1)}
    assert sweeps[3].start_deg == 0


@pytest.mark.real_data
async def test_grid_that_the_images_do_not_fill_is_refused(real_data):
    with pytest.raises(BeamlineFault, match="don't fill a grid of 5x4"):
        await find_sweeps(real_data / "thaumatin_grid", (5, 4))


@pytest.mark.real_data
async def test_master_without_data_files_is_refused(real_data):
    with pytest.raises(BeamlineFault, match=r"ins_8_5_000001\.h5, which isn't in"):
        await find_sweeps(real_data / "masters")


@pytest.mark.real_data
async def test_real_eiger_frames_are_copied_as_they_are(real_data, tmp_path):
    import h5py

    (sweep,) = await find_sweeps(real_data / "therm")
    assert (sweep.kind, sweep.images, sweep.recorded) == (CollectionKind.ROTATION, 488, 4)
    assert sweep.detector_model == "Eiger2 XE 16M"
    await collect_images(sweep, tmp_path / "live", rate_hz=20)
    name = "Therm_6_2_000001.h5"
    with h5py.File(real_data / "therm" / name) as real, h5py.File(tmp_path / "live" / name) as copy:
        for frame in range(4):
            place = (frame, 0, 0)
            assert copy["data"].id.read_direct_chunk(place) == real["data"].id.read_direct_chunk(place)
        assert copy["data"].id.get_num_chunks() == 4
        assert copy["data"].shape == real["data"].shape
    (found,) = await find_sweeps(tmp_path / "live")
    assert found == sweep.model_copy(update={"folder": tmp_path / "live"})


@pytest.mark.real_data
async def test_stopped_real_collection_says_how_far_it_came(real_data, tmp_path):
    from ispyb.sqlalchemy import DataCollection
    from sqlalchemy.orm import Session

    from blocks.ispyb_connection import open_engine
    from tasks.ispyb_access.schema.tables import create_schema
    from tasks.simulation.visit import Visit

    engine = open_engine(f"sqlite:///{tmp_path}/ispyb.sqlite")
    create_schema(engine)

    async def ignore(event, dcid):
        return None

    (sweep,) = await find_sweeps(real_data / "therm")
    visit = Visit.parse("mx12345-1", beamline="i04", root=tmp_path)
    record = await collect(sweep, visit, engine, ignore, rate_hz=50)
    with Session(engine) as session:
        row = session.get(DataCollection, record.dcid)
        assert (row.runStatus, row.numberOfImages) == ("DataCollection Stopped", 4)
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("image_format", ImageFormat)
async def test_dials_reduces_a_synthetic_rotation(store, tmp_path, image_format):
    """The quick set: 30 × 1°, to 3 Å; the whole chain of DIALS, and the crystal that went in comes out."""
    geometry = Geometry.of(DetectorSize.K300, 0.9795, 180.0)
    plan = CollectionPlan.rotation(30, resolution_a=3.0, geometry=geometry, image_format=image_format)
    files = await collect_images(await render(plan, store), tmp_path / "images")
    run_dials(tmp_path, files)
    from dxtbx.model.experiment_list import ExperimentListFactory

    (scaled,) = ExperimentListFactory.from_json_file(str(tmp_path / "scaled.expt"), check_format=False)
    assert scaled.crystal.get_unit_cell().parameters() == pytest.approx((78, 78, 37, 90, 90, 90), rel=0.002)
    assert scaled.crystal.get_space_group().laue_group_type() == "4/mmm" or "P 4" in str(
        scaled.crystal.get_space_group().info()
    )
    assert (tmp_path / "merged.mtz").stat().st_size > 0


def run_dials(folder: Path, files):
    import subprocess

    import hdf5plugin

    environment = os.environ | {"HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
    for command in (
        ["dials.import", *map(str, files)],
        ["dials.find_spots", "imported.expt", "nproc=1"],
        ["dials.index", "imported.expt", "strong.refl", "basis_vector_combinations.max_refine=5"],
        ["dials.refine", "indexed.expt", "indexed.refl"],
        ["dials.integrate", "refined.expt", "refined.refl", "nproc=1"],
        ["dials.symmetry", "integrated.expt", "integrated.refl"],
        ["dials.scale", "symmetrized.expt", "symmetrized.refl"],
        ["dials.merge", "scaled.expt", "scaled.refl"],
    ):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
