import pytest

from blocks.errors import ConfigurationError
from tasks.simulation.visit import Visit


def test_data_go_where_a_beamline_puts_them(tmp_path):
    visit = Visit.parse("mx12345-1", beamline="i03", root=tmp_path)
    assert visit.model_copy(update={"year": 2024}).folder == tmp_path / "i03" / "data" / "2024" / "mx12345-1"


@pytest.mark.parametrize("name", ["mx12345", "12345-1", "mx0-1", "MX12345-1", "mx12345-1/..", "mx12345-1\n", ""])
def test_a_name_that_is_no_visit_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="expected a visit like mx12345-1"):
        Visit.parse(name, beamline="i03", root=tmp_path)


@pytest.mark.parametrize("beamline", ["", "../i03", "I03", "i03/x"])
def test_a_beamline_that_is_no_name_is_refused(tmp_path, beamline):
    with pytest.raises(ConfigurationError, match="expected a beamline's name like i03"):
        Visit.parse("mx12345-1", beamline=beamline, root=tmp_path)


def test_each_data_collection_gets_a_folder_of_its_own(tmp_path):
    visit = Visit.parse("mx12345-1", beamline="i03", root=tmp_path)
    folders = [visit.make_folder("lysozyme") for _ in range(3)]
    assert [folder.name for folder in folders] == ["run_1", "run_2", "run_3"]
    assert all(folder.parent == visit.folder / "lysozyme" for folder in folders)


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_folder_is_below_the_visit_whatever_the_images_are_called(tmp_path, name):
    visit = Visit.parse("mx12345-1", beamline="i03", root=tmp_path)
    folder = visit.make_folder(name).resolve()
    assert folder.parent.parent == visit.folder.resolve()
