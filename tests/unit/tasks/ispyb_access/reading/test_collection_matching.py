"""Which data collections of a directory a file belongs to."""

import pytest

from tasks.ispyb_access.overviews.collections import CollectionSummary, best_matches


def collection(dcid, template, first=1, images=100):
    return CollectionSummary(
        dcid=dcid, start_time=None, directory="/d/", template=template, first_image=first, images=images,
        experiment_type=None, classes=(), run_status=None,
    )  # fmt: skip


CBF = [
    collection(6, "lys_2_####.cbf", first=101),
    collection(5, "lys_2_####.cbf"),
    collection(4, "lys_12_####.cbf"),
    collection(3, "lys_1_####.cbf"),
    collection(2, None, None, None),
    collection(1, "lys_1_####.cbf"),
]
HDF5 = [
    collection(14, "lys_1_2.nxs"),
    collection(13, "lys_2_master.h5"),
    collection(12, "lys_1_master.h5"),
    collection(11, "lys_1.nxs"),
]


@pytest.mark.parametrize(
    ("candidates", "name", "dcids"),
    [
        (CBF, "lys_2_0001.cbf", [5]),
        (CBF, "lys_2_0101.cbf", [6]),
        (CBF, "lys_1_0001.cbf", [3, 1]),  # written over
        (CBF, "lys_1_####.cbf", [3, 1]),
        (CBF, "lys_12_0100.cbf", [4]),
        (CBF, "lys_1_0101.cbf", [3, 1]),  # after the last image, but named as its neighbours are
        (CBF, "lys_12_t1.jpeg", [4]),
        (CBF, "lys_1.jpeg", [3, 1]),
        (CBF, "lys_3_0001.cbf", []),
        (CBF, "lys", []),
        (CBF, "", []),
        ([collection(7, "x_####.cbf", None, None)], "x_0012.cbf", [7]),
        ([collection(8, "a#1_####.cbf"), collection(7, "a#2_####.cbf")], "a#2.jpeg", [7]),
        (HDF5, "lys_1_master.h5", [12]),
        (HDF5, "lys_1.nxs", [11]),
        (HDF5, "lys_1_000001.h5", [12, 11]),
        (HDF5, "lys_1_2_000001.h5", [14]),
        (HDF5, "lys_2_meta.h5", [13]),
        (HDF5, "lys_20_000001.h5", []),
    ],
)
def test_file_belongs_to_the_collections_whose_name_it_bears(candidates, name, dcids):
    assert [some.dcid for some in best_matches(name, candidates)] == dcids
