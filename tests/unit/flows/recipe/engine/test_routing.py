"""Where messages go: each form of a node's `output`, with and without a default output of its step."""

import pytest

from flows.recipe.engine.routing import Routes, error_targets
from flows.recipe.language.recipe import recipe_from_document


@pytest.mark.parametrize(
    ("output", "default", "sent_on", "targets"),
    [
        (None, None, None, ()),
        ([], "result", None, ()),
        ([], "result", "result", ()),
        (2, None, None, (2,)),
        ([2, 3], None, None, (2, 3)),
        ([2, 3], "result", None, (2, 3)),
        ([2, 3], "result", "result", (2, 3)),
        ([2, 3], "result", "other", ()),
        ([2, 3], None, "result", ()),
        ([2, None, 2], None, None, (2, 2)),
        ({"result": 2, "other": [3, 4]}, None, None, ()),
        ({"result": 2, "other": [3, 4]}, "result", None, (2,)),
        ({"result": 2, "other": [3, 4]}, "result", "other", (3, 4)),
        ({"result": 2, "other": [3, 4]}, "absent", None, ()),
        ({"result": 2, "other": None}, None, "other", ()),
        ({"result": 2}, "result", "misspelt", ()),
    ],
)
def test_a_message_goes_where_zocalo_sends_it(output, default, sent_on, targets):
    assert Routes(output, default)[sent_on] == targets


def test_all_targets_of_a_node_are_known_beforehand():
    assert Routes({"a": 2, "b": [3, 2], "c": None}, "a").targets() == {2, 3}


@pytest.mark.parametrize(
    ("document", "targets"),
    [
        ({1: {"output": 2}, 2: {}}, {1: (), 2: ()}),
        ({1: {"error": 2}, 2: {}}, {1: (2,), 2: ()}),
        ({1: {"error": {"any": [2, None, 2]}}, 2: {}}, {1: (2, 2), 2: ()}),
        ({1: {}, 2: {}, "error": [2]}, {1: (2,), 2: ()}),
        ({1: {"error": 2}, 2: {}, 3: {"output": 4}, 4: {}, "error": [3]}, {1: (2, 3), 2: (3,), 3: (), 4: ()}),
        ({1: {"output": 2}, 2: {"output": 3}, 3: {}, "error": 3}, {1: (3,), 2: (3,), 3: ()}),
    ],
)
def test_failed_messages_go_along_error_links_but_never_back(document, targets):
    assert error_targets(recipe_from_document({**document, "start": [[1, []]]})) == targets
