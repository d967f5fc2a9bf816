"""What images are called together, and by which numbers people know them."""

from tasks.spots import Image
from tasks.spots.series import describe_series, short_names


def test_images_of_a_master_have_its_numbers():
    series = describe_series([Image("/x/m.nxs", 7, True), Image("/x/m.nxs", 9, True)])
    assert (series.title, series.numbers) == ("m.nxs", (7, 9))


def test_files_of_a_series_have_the_numbers_in_their_names():
    names = ("/x/a_1_0009.cbf.gz", "/x/a_1_0010.cbf.gz", "/x/a_1_0012.cbf.gz")
    series = describe_series([Image(name, place) for place, name in enumerate(names, 1)])
    assert (series.title, series.numbers) == ("a_1_####.cbf.gz", (9, 10, 12))


def test_anything_else_is_numbered_in_its_order():
    series = describe_series([Image("/x/a_0009.cbf", 1), Image("/y/b.cbf", 2), Image("/y/m.nxs", 5, True)])
    assert (series.title, series.numbers) == ("3 files", (1, 2, 3))
    assert describe_series([Image("9.cbf", 1), Image("a.cbf", 2)]).numbers == (1, 2)


def test_names_are_shown_without_what_all_of_them_share():
    assert short_names([]) == ("", [])
    assert short_names([Image("a_1.cbf", 1), Image("/y/b_1.cbf", 2)]) == ("", ["a_1.cbf", "/y/b_1.cbf"])
    assert short_names([Image("/a_1.cbf", 1)]) == ("/", ["a_1.cbf"])
    assert short_names([Image("f/a_1.cbf", 1), Image("f/m.nxs", 2, True)]) == ("f", ["a_1.cbf", "m.nxs:2"])
