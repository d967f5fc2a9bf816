"""What Plaza's own way isn't proven for DIALS does, with its own errors, and the reason is told in a phrase."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials


@pytest.fixture
def examine(analyser):
    def examine(file, scan_range=None):
        return analyser.examine(ImageRequest(str(file), analyser.options, scan_range, check=True))

    return examine


@pytest.fixture
def data_set(pictures):
    from tasks.diffraction.image_files.opening import open_data_set

    opened = open_data_set(pictures.rotation_master)
    yield opened
    opened.close()


@pytest.fixture
def examine_data_set(analyser):
    """Analyse an image of a data set as it is, whatever its file says."""

    class Only:
        def __init__(self, data_set):
            self._data_set = data_set

        @contextmanager
        def using(self, file):
            yield self._data_set

    def examine(data_set, number=1):
        from tasks.diffraction.analyser import Analyser

        request = ImageRequest(data_set.file, analyser.options, (number, number))
        return Analyser(analyser.options, Only(data_set)).examine(request)

    return examine


@pytest.mark.parametrize("scan_range", [None, (2, 4)])
@pytest.mark.parametrize("kind", ["rotation_master", "grid_master"])
def test_several_images_in_one_record(pictures, examine, kind, scan_range):
    assert examine(getattr(pictures, kind), scan_range).by_dials == "several images in one record"


def test_the_algorithm_without_a_kernel(pictures):
    from tasks.diffraction.analyser import Analyser

    options = AnalysisParameters(threshold_algorithm="radial_profile").options
    file = pictures.rotation_cbfs[0]
    analysis = Analyser(options).examine(ImageRequest(file, options))
    assert analysis.by_dials == "the radial_profile threshold"
    assert analysis.statistics.as_payload() == ask_dials(file, threshold_algorithm="radial_profile")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("kernel_size=5,5", "kernel_size"), ("gain=1.5", "gain"), ("global_threshold=Auto", "global_threshold")],
)
def test_a_dials_of_other_defaults(pictures, monkeypatch, setting, reason):
    """Changed is what both ways take DIALS's parameters from."""
    from iotbx.phil import parse

    from tasks.diffraction.analyser import Analyser
    from tasks.diffraction.spot_finding import options as module

    other = module.phil_scope.fetch(parse(f"spotfinder.threshold.dispersion.{setting}"))
    monkeypatch.setattr(module, "phil_scope", other)
    options = AnalysisParameters().options
    analysis = Analyser(options).examine(ImageRequest(pictures.rotation_cbfs[0], options))
    assert analysis.by_dials == f"this DIALS's default of {reason}"


def test_counts_that_are_no_integers(examine, make_master, rendered):
    analysis = examine(make_master(counts=rendered.astype("f4") + np.float32(0.25)), (1, 1))
    assert analysis.by_dials == "its counts are no integers, but of type float32"


def test_pixels_beyond_2_to_the_24th(examine, make_master, rendered):
    counts = rendered.astype("u4")
    counts[0, 300, 200] = 2**24
    master = make_master(counts=counts, bit_depth_readout=32, saturation_value=2**30)
    assert examine(master, (1, 1)).by_dials == "a pixel counts 2^24 or more"
    assert examine(master, (2, 2)).by_dials is None, "the next image needn't be"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda panel: panel.set_gain(1.5), "gain 1.5 of panel 0"),
        (lambda panel: panel.set_gain(1.00000001), "gain 1.00000001 of panel 0"),
        (lambda panel: panel.set_pedestal(2), "pedestal 2.0 of panel 0"),
    ],
)
def test_gain_and_pedestal(data_set, examine_data_set, change, reason):
    change(data_set.imageset.get_detector()[0])
    assert examine_data_set(data_set).by_dials == reason


@pytest.mark.parametrize("kind", ["gain", "pedestal"])
def test_maps_of_them(data_set, examine_data_set, kind):
    from dxtbx.format.image import ImageDouble, ImageTileDouble
    from scitbx.array_family import flex

    fast, slow = data_set.imageset.get_detector()[0].get_image_size()
    data = ImageDouble(ImageTileDouble(flex.double(flex.grid(slow, fast), 1.25)))
    getattr(data_set.imageset.external_lookup, kind).data = data
    assert examine_data_set(data_set).by_dials == f"a map of {kind}s"


def test_the_goniometer_s_shadow(data_set, examine_data_set):
    from dxtbx.imageset import ImageSequence, ImageSetData
    from dxtbx.masking import GoniometerShadowMasker
    from dxtbx.model import ExperimentList, GoniometerFactory
    from scitbx.array_family import flex

    whole = data_set.imageset
    flat = flex.vec3_double([(1, 0, 0)]), flex.double([0]), flex.std_string(["omega"])
    goniometer = GoniometerFactory.multi_axis(*flat, 0)
    # A bar between the sample and the lower half of the detector
    corners = flex.vec3_double([(-99, -50, -50), (99, -50, -50), (99, -5, -50), (-99, -5, -50)])
    masker = GoniometerShadowMasker(goniometer, corners, flex.size_t(4, 0))
    data = ImageSetData(whole.reader(), masker, params=whole.params(), format=whole.get_format_class())
    models = whole.get_beam(), whole.get_detector(), whole.get_goniometer(), whole.get_scan()
    experiments = ExperimentList(list(data_set.experiments))
    experiments[0].imageset = ImageSequence(data, *models)
    experiments[0].imageset.external_lookup.mask.data = whole.external_lookup.mask.data
    shadowed = examine_data_set(replace(data_set, experiments=experiments))
    assert shadowed.by_dials == "the goniometer's shadow"


def test_an_image_of_too_many_strong_pixels_is_refused_in_the_words_of_dials(analyser, make_master, rendered):
    """Blocks of 3 × 3 pixels without gaps between their halos: more than a quarter of them is strong."""
    from tasks.diffraction.errors import ImageUnreadable

    counts = np.zeros_like(rendered)
    counts[:, ::2, ::4] = counts[:, 1::2, ::4] = 3000
    counts[:, :, 1::4] = 2000
    with pytest.raises(ImageUnreadable, match=r"number of strong pixels found \(\d+\) is greater than"):
        analyser.analyse(make_master(counts=counts), (1, 1))


def test_a_fault_of_the_own_way_costs_no_image_and_is_told_once(pictures, analyser, monkeypatch, caplog):
    from tasks.diffraction.spot_finding.own_way import OwnWay

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(OwnWay, "describe", fail)
    for file in pictures.rotation_cbfs[:2]:
        analysis = analyser.examine(ImageRequest(file, analyser.options))
        assert analysis.by_dials == "Plaza's own way failed: ZeroDivisionError"
        assert analysis.statistics.n_spots_total > 50
    assert len(caplog.records) == 1
    assert pictures.rotation_cbfs[0] in caplog.text


def test_a_check_finds_wrong_numbers_and_corrects_them(pictures, analyser, monkeypatch):
    from tasks.diffraction.spot_finding.own_way import OwnWay

    right = OwnWay.describe
    wrong = lambda *arguments: replace(right(*arguments), n_spots_4A=1)  # noqa: E731
    monkeypatch.setattr(OwnWay, "describe", wrong)
    request = ImageRequest(pictures.rotation_cbfs[0], analyser.options)
    believed = analyser.examine(request)
    checked = analyser.examine(replace(request, check=True))
    assert believed.corrected is None
    assert checked.corrected == believed.statistics
    assert checked.statistics.n_spots_4A > 1
    assert checked.by_dials is None


def test_a_check_finds_a_wrong_refusal_and_does_the_image(pictures, analyser, monkeypatch, caplog):
    from tasks.diffraction.analyser import REFUSED
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.spot_finding.own_way import OwnWay

    def refuse(*_):
        raise ImageUnreadable("it's damaged, says the own reader")

    monkeypatch.setattr(OwnWay, "describe", refuse)
    request = ImageRequest(pictures.rotation_cbfs[0], analyser.options)
    with pytest.raises(ImageUnreadable, match="says the own reader"):
        analyser.examine(request)
    checked = analyser.examine(replace(request, check=True))
    assert checked.corrected == REFUSED
    assert checked.statistics == analyser.examine(replace(request, by_dials="it's the judge")).statistics
    assert "says the own reader" in caplog.text


def test_a_refusal_of_an_image_that_was_written_only_just_now_is_none(pictures, analyser, monkeypatch):
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.spot_finding.own_way import OwnWay

    right, tries = OwnWay.describe, []

    def describe(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise ImageUnreadable("it's cut off")
        return right(*arguments)

    monkeypatch.setattr(OwnWay, "describe", describe)
    checked = analyser.examine(ImageRequest(pictures.rotation_cbfs[0], analyser.options, check=True))
    assert (checked.by_dials, checked.corrected) == (None, None)


@pytest.mark.parametrize("fault", ["ImageUnreadable", "ImageAwaited"])
def test_a_right_refusal_is_told_in_its_own_words(fault, pictures, analyser, monkeypatch):
    """Right if DIALS can't do it either, or if the image isn't there yet: that's no matter for a check."""
    from tasks.diffraction import errors
    from tasks.diffraction.spot_finding.dials_way import DialsWay
    from tasks.diffraction.spot_finding.own_way import OwnWay

    def refuse(*_):
        raise getattr(errors, fault)("says the own reader")

    def fail(*_):
        raise RuntimeError("says DIALS")

    monkeypatch.setattr(OwnWay, "describe", refuse)
    if fault == "ImageUnreadable":
        monkeypatch.setattr(DialsWay, "describe", fail)
    with pytest.raises(errors.ImageUnreadable, match=r"^says the own reader$"):
        analyser.examine(ImageRequest(pictures.rotation_cbfs[0], analyser.options, check=True))


def test_dials_does_it_if_asked(pictures, analyser, monkeypatch):
    from tasks.diffraction.spot_finding.own_way import OwnWay

    monkeypatch.setattr(OwnWay, "describe", lambda *_: pytest.fail("the own way was tried"))
    request = ImageRequest(
        pictures.rotation_cbfs[0], analyser.options, by_dials="a check found wrong numbers", check=True
    )
    analysis = analyser.examine(request)
    assert analysis.by_dials == "a check found wrong numbers"
    assert analysis.statistics.n_spots_total > 50
