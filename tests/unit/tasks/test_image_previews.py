import pytest

from blocks.errors import MessageRefused, NodeRefused
from tasks.image_previews import PreviewNames, default_output, read_request, split_input, thumbnail_of

VISIT = "/dls/i03/data/2026/cm1234-5"


@pytest.mark.parametrize(
    ("payload", "recipe", "file", "index", "output"),
    [
        ({"file": f"{VISIT}/x/a_01.cbf"}, {}, f"{VISIT}/x/a_01.cbf", 1, f"{VISIT}/jpegs/x/a_01.jpeg"),
        ({"file": f"{VISIT}/a_7.cbf", "file-number": 7}, {}, f"{VISIT}/a_7.cbf", 1, f"{VISIT}/jpegs/a_7.jpeg"),
        ({"file": f"{VISIT}/a_7.cbf.gz"}, {}, f"{VISIT}/a_7.cbf.gz", 1, f"{VISIT}/jpegs/a_7.jpeg"),
        (None, {"file": f"{VISIT}/a.nxs"}, f"{VISIT}/a.nxs", 1, f"{VISIT}/jpegs/a.jpeg"),
        ({}, {"input": f"{VISIT}/a.nxs:5", "output": "/o/p.jpeg"}, f"{VISIT}/a.nxs", 5, "/o/p.jpeg"),
        ({"file": ""}, {"input": "/a.cbf:5", "output": "/o/p.jpeg"}, "/a.cbf", 1, "/o/p.jpeg"),
        ({"output": "/mine.jpeg"}, {"file": "/a.cbf", "output": "/o/p.jpeg"}, "/a.cbf", 1, "/mine.jpeg"),
        (
            {"file": f"{VISIT}/a.nxs", "file-number": 4, "hdf5-index": 3, "parameters": {"scan_range": "4,4"}},
            {},
            f"{VISIT}/a.nxs",
            4,
            f"{VISIT}/jpegs/a_4.jpeg",
        ),
        ({}, {"input": f"{VISIT}/a_005.img:5:6"}, f"{VISIT}/a_005.img", 1, f"{VISIT}/jpegs/a_005.jpeg"),
        ({}, {"input": f"{VISIT}/a_0000.cbf:0:0"}, f"{VISIT}/a_0000.cbf", 1, f"{VISIT}/jpegs/a_0000.jpeg"),
        ({}, {"input": f"{VISIT}/a_0000.mccd:0:0"}, f"{VISIT}/a_0000.mccd", 1, f"{VISIT}/jpegs/a_0000.jpeg"),
        ({}, {"input": f"{VISIT}/a_1.img.bz2:1:1"}, f"{VISIT}/a_1.img.bz2", 1, f"{VISIT}/jpegs/a_1.jpeg"),
        ({}, {"input": f"{VISIT}/a.mrc:3"}, f"{VISIT}/a.mrc", 3, f"{VISIT}/jpegs/a_3.jpeg"),
        ({"file": f"{VISIT}/A.CBF", "hdf5-index": 3}, {}, f"{VISIT}/A.CBF", 1, f"{VISIT}/jpegs/A.jpeg"),
        (
            {"file": f"{VISIT}/25% {{x}} a.b ß/c d.e_1.cbf"},
            {},
            f"{VISIT}/25% {{x}} a.b ß/c d.e_1.cbf",
            1,
            f"{VISIT}/jpegs/25% {{x}} a.b ß/c d.e_1.jpeg",
        ),
        ({"file": f"{VISIT}/new\nline_1.cbf"}, {}, f"{VISIT}/new\nline_1.cbf", 1, f"{VISIT}/jpegs/new\nline_1.jpeg"),
        ({"file": "/a.nxs", "hdf5-index": 3}, {"output": "/o/p.jpeg"}, "/a.nxs", 4, "/o/p.jpeg"),
    ],
)
def test_message_goes_before_recipe(payload, recipe, file, index, output):
    request = read_request(payload, {"image_command": "diffraction", **recipe})
    assert (request.file, request.index, request.output, request.thumbnail) == (
        file,
        index,
        output,
        thumbnail_of(output),
    )


@pytest.mark.parametrize(
    ("payload", "recipe", "complaint"),
    [
        ({"file": "/a.cbf"}, {"image_command": "crystal"}, "the only `image_command` is 'diffraction'"),
        ({"file": "/a.cbf"}, {"image_command": None}, "the only `image_command`"),
        ({"file": "None"}, {}, "needs `file` or `input`"),
        ({}, {"input": "None"}, "needs `file` or `input`"),
        ({"file": "/tmp/a.cbf"}, {}, "below no visit's folder"),
        ({"file": "/a.nxs", "hdf5-index": "x"}, {"output": "/o.jpeg"}, "`hdf5-index` is the place of an image"),
        ({"file": "/a.nxs", "parameters": {"scan_range": "0,0"}}, {"output": "/o.jpeg"}, "scan_range"),
    ],
)
def test_message_without_image_or_place_is_refused(payload, recipe, complaint):
    with pytest.raises(MessageRefused, match=complaint):
        read_request(payload, {"image_command": "diffraction", **recipe})


@pytest.mark.parametrize(
    ("payload", "recipe", "is_the_node_s"),
    [
        ({"file": "/a.cbf"}, {"image_command": "crystal"}, True),
        ({"file": "/a.cbf", "image_command": ""}, {"image_command": "crystal"}, True),
        ({"file": "/a.cbf", "image_command": "crystal"}, {"image_command": "diffraction"}, False),
        ({"file": "/a.cbf"}, {}, False),
    ],
)
def test_an_unknown_command_of_the_recipe_is_its_node_s_fault(payload, recipe, is_the_node_s):
    with pytest.raises(MessageRefused, match="the only `image_command`") as refused:
        read_request(payload, recipe)
    assert isinstance(refused.value, NodeRefused) == is_the_node_s


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/a.nxs", ("/a.nxs", 1)),
        ("/a.nxs:12", ("/a.nxs", 12)),
        ("/a.nxs:12:20", ("/a.nxs", 12)),
        ("/a.nxs:0:7", ("/a.nxs", 1)),
        ("/a:b/c.nxs:12:20", ("/a:b/c.nxs", 12)),
        ("/a_0012.cbf:12:12", ("/a_0012.cbf", 1)),
    ],
)
def test_input_is_split_as_xia2_does(source, expected):
    assert split_input(source) == expected


def test_first_visit_in_the_path_counts():
    assert default_output("/x/in12345-1/y/mx1234-2/a.cbf") == "/x/in12345-1/jpegs/y/mx1234-2/a.jpeg"


def request_for(file, recipe=None, **payload):
    return read_request({"file": f"{VISIT}/{file}", **payload}, {"image_command": "diffraction", **(recipe or {})})


@pytest.mark.parametrize(
    ("first", "second", "second_name"),
    [
        (request_for("a.cbf"), request_for("a.img"), "a.img.jpeg"),
        (request_for("a.cbf"), request_for("a.cbf.gz"), "a.cbf.gz.jpeg"),
        (request_for("a_2.cbf"), request_for("a.nxs", **{"hdf5-index": 1}), "a.nxs_2.jpeg"),
        (request_for("a_2.nxs"), request_for("a.nxs", **{"hdf5-index": 1}), "a.nxs_2.jpeg"),
        (request_for("a.nxs", **{"hdf5-index": 1}), request_for("a_2.nxs"), "a_2.nxs_1.jpeg"),
        (request_for("at.cbf"), request_for("a.cbf"), "a.cbf.jpeg"),  # whose thumbnail would be at.jpeg
        (request_for("a.cbf"), request_for("at.cbf"), "at.cbf.jpeg"),
    ],
)
def test_two_images_of_a_run_never_share_a_picture(first, second, second_name):
    names = PreviewNames()
    requests = [names.claim(first), names.claim(second)]
    assert requests[0] == first
    assert requests[1].output.endswith(f"/jpegs/{second_name}")
    assert len({path for request in requests for path in (request.output, request.thumbnail)}) == 4
    assert names.claim(second) == requests[1]  # tried again


def test_preview_that_is_named_for_two_images_is_refused_for_the_second():
    names = PreviewNames()
    first, second = (request_for(name, {"output": "/o.jpeg"}) for name in ("a_1.cbf", "a_2.cbf"))
    names.claim(first)
    with pytest.raises(MessageRefused, match=r"/o.jpeg is the preview of .*a_1.cbf: give .*a_2.cbf an `output`"):
        names.claim(second)
    assert names.claim(first) == first
