import pytest

from blocks.errors import MessageRefused
from tasks.image_previews import default_output, read_request, split_input, thumbnail_of

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
    ],
)
def test_message_without_image_or_place_is_refused(payload, recipe, complaint):
    with pytest.raises(MessageRefused, match=complaint):
        read_request(payload, {"image_command": "diffraction", **recipe})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/a.nxs", ("/a.nxs", 1)),
        ("/a.nxs:12", ("/a.nxs", 12)),
        ("/a.nxs:12:20", ("/a.nxs", 12)),
        ("/a:b/c.nxs:12:20", ("/a:b/c.nxs", 12)),
        ("/a_0012.cbf:12:12", ("/a_0012.cbf", 1)),
    ],
)
def test_input_is_split_as_xia2_does(source, expected):
    assert split_input(source) == expected


def test_first_visit_in_the_path_counts():
    assert default_output("/x/in12345-1/y/mx1234-2/a.cbf") == "/x/in12345-1/jpegs/y/mx1234-2/a.jpeg"
