"""Data collections that belong together: by sample groups of ISPyB, by groups of folders."""

import pytest

from tasks.ispyb_access.reading.related import RelatedRow, Relation, groups_of_directories, groups_of_samples

VISIT = "/dls/i02-2/data/2024/mx12345-1"


def row(dcid, group=None, name=None, relation=Relation.SAMPLE_GROUP):
    return RelatedRow(relation, group, name, dcid, None, None, False)


def as_dicts(groups):
    return [group.model_dump(exclude_unset=True) for group in groups]


def test_sample_groups_have_their_collections_once():
    rows = [row(1, relation=Relation.SAMPLE), row(2, 8, "b"), row(3, 7, "a"), row(2, 8, "b"), row(4, 8, "b")]
    assert as_dicts(groups_of_samples(rows)) == [
        {"dcids": [3], "sample_group_id": 7, "name": "a"},
        {"dcids": [2, 4], "sample_group_id": 8, "name": "b"},
    ]


@pytest.mark.parametrize(
    ("groups", "dcids"),
    [
        ([("well_1", "well_2")], [[1, 2, 5]]),
        ([("well_1",), ("well_2", "well_3")], [[1, 5], [2, 3]]),
        ([("well_1", "deep")], [[1, 5]]),  # once, though two folders of it are named
        ([("well",)], [[]]),
        ([("data", "mx12345-1", "dls")], [[]]),  # above the visit
        ([], []),
    ],
)
def test_groups_of_folders_are_collections_below_them(groups, dcids):
    directories = ["well_1/", "well_2", "well_3/deeper/", "WELL_1/", "a/well_1/deep/"]
    collections = [(number, f"{VISIT}/{directory}") for number, directory in enumerate(directories, 1)]
    collections += [(6, None), (7, "/elsewhere/well_1/"), (8, "")]
    assert as_dicts(groups_of_directories(groups, collections, VISIT)) == [{"dcids": some} for some in dcids]
