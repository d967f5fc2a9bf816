"""What may go through Prefect's API, and how the rest is refused: by the JSON Schema, and by Plaza itself."""

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools.validation import ValidationError, is_valid_schema, validate

from flows.mimas.flow import mimas
from flows.prefect_limits import (
    KEY_CHARACTERS,
    LARGEST_DCID,
    LARGEST_NUMBER,
    MOST_BYTES,
    MOST_CHARACTERS,
    ParametersRefused,
    check_parameters,
    idempotency_key,
    run_name,
    state_message,
    tag,
)
from flows.recipe.flow import recipe_flow


@pytest.fixture(params=["mimas", "recipe"])
def flow(request, tmp_path) -> Flow:
    return mimas if request.param == "mimas" else recipe_flow("any", tmp_path / "any.json")


def begin(flow, **parameters):
    """Validate parameters as the flow does when its run begins."""
    event = {"event": "end"} if flow is mimas else {}
    return flow.validate_parameters({**event, **parameters})


def ask_server(flow, **parameters):
    """Validate parameters as Prefect's server does before it makes a run."""
    event = {"event": "end"} if flow is mimas else {}
    schema = flow.parameters.model_dump_for_openapi()
    is_valid_schema(schema)
    validate({**event, **parameters}, schema, raise_on_error=True)


@pytest.mark.parametrize("dcid", [1, 2**31 - 1, LARGEST_DCID])
def test_ids_that_ispyb_can_have_are_taken(flow, dcid):
    ask_server(flow, dcid=dcid)
    assert begin(flow, dcid=dcid)["dcid"] == dcid


@pytest.mark.parametrize("dcid", [True, 0, -1, LARGEST_DCID + 1, 2**63, 92233720368547760001, "12a", "1_0", 1.5, [1]])
def test_what_is_no_id_is_refused_at_once(flow, dcid):
    with pytest.raises(ValidationError, match="dcid"):
        ask_server(flow, dcid=dcid)
    with pytest.raises(ParameterTypeError, match="dcid"):
        begin(flow, dcid=dcid)


def test_text_of_digits_is_an_id_to_the_flow(flow):
    assert begin(flow, dcid="12")["dcid"] == 12


def test_recipes_deployments_take_text_of_digits(tmp_path):
    recipe = recipe_flow("any", tmp_path / "any.json")
    ask_server(recipe, dcid=" 12")
    for text in ("0", "-1", "1.5", "92233720368547760001", "x"):
        with pytest.raises(ValidationError, match="dcid"):
            ask_server(recipe, dcid=text)


@pytest.mark.parametrize(("guid", "said"), [("a", "a"), (42, "42"), (None, None)])
def test_recipe_ids_may_be_numbers(guid, said):
    ask_server(mimas, dcid=1, guid=guid)
    assert begin(mimas, dcid=1, guid=guid)["guid"] == said


@pytest.mark.parametrize("guid", [True, 1.5, {"a": 1}, ["a"], "a" * 1001])
def test_recipe_ids_are_nothing_else(guid):
    with pytest.raises(ValidationError, match="guid"):
        ask_server(mimas, dcid=1, guid=guid)
    with pytest.raises(ParameterTypeError, match="guid"):
        begin(mimas, dcid=1, guid=guid)


def test_time_to_wait_is_bounded_too():
    with pytest.raises(ValidationError, match="run_status_timeout"):
        ask_server(mimas, dcid=1, run_status_timeout=2**70)


def test_browsers_send_the_bounds_of_schemas_back_as_they_are():
    assert float(LARGEST_NUMBER) == LARGEST_NUMBER
    assert float(repr(float(LARGEST_NUMBER))) < 2**63, "JavaScript writes as few digits as tell it from its neighbours"


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"at_ns": 1_795_878_000_123_456_789},
        {"a": None, "b": True, "c": 1.5e17, "d": -LARGEST_NUMBER, "e": "µ\n"},
        {"ispyb_related_dcids": [{"dcids": [1, 2], "name": "a group"}]},
    ],
)
def test_small_parameters_are_taken_as_they_are(flow, parameters):
    ask_server(flow, dcid=1, parameters=parameters)
    assert begin(flow, dcid=1, parameters=parameters)["parameters"] == parameters


def test_what_is_no_number_can_not_be_sent_as_json():
    with pytest.raises(ParametersRefused, match=r"parameter 'a'\['b'\]\[0\]: it is no number"):
        check_parameters({"a": {"b": [float("nan")]}})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"a": "x\0y"}, "parameter 'a': its text holds a NUL"),
        ({"a\0": 1}, "its text holds a NUL"),
        ({"a": {"b": ["x", "\0"]}}, r"parameter 'a'\['b'\]\[1\]: its text holds a NUL"),
        ({"a": 2**63}, "parameter 'a': its number needs more than 64 bits"),
        ({"a": [{"b": -(2**70)}]}, r"parameter 'a'\[0\]\['b'\]: its number needs more"),
        ({"a": 1e300}, "parameter 'a': its number needs more"),
        ({"a": [[[[1]]]]}, "at most 4 levels"),
    ],
)
def test_what_would_break_prefects_database_is_refused(flow, parameters, reason):
    with pytest.raises(ValidationError, match="parameters"):
        ask_server(flow, dcid=1, parameters=parameters)
    with pytest.raises(ParametersRefused, match=reason):
        check_parameters(parameters)
    with pytest.raises(ParameterTypeError, match=reason):
        begin(flow, dcid=1, parameters=parameters)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"file": "/data/\udce9.cbf"}, "half a character"),
        ({"wavelength": float("nan")}, "NaN"),
        ({"wavelength": [float("inf")]}, "more than 64 bits"),
        ({"sweeps": [[number, 1, 100] for number in range(10_000)]}, f"expected {MOST_BYTES} at most"),
    ],
)
def test_what_no_json_schema_can_tell_is_refused_by_plaza(flow, parameters, reason):
    with pytest.raises(ParametersRefused, match=reason):
        check_parameters(parameters)
    with pytest.raises(ParameterTypeError, match=reason):
        begin(flow, dcid=1, parameters=parameters)


def test_messages_of_states_lose_what_postgresql_can_not_keep():
    assert state_message("a\0b \udce9µ\nc") == "a b  µ\nc"


def test_long_messages_lose_their_middle():
    told = state_message("first" + "x" * 10**6 + "\0last")
    assert told.startswith("firstx")
    assert told.endswith("x last")
    assert len(told) < MOST_CHARACTERS + 100


@pytest.mark.parametrize("bounded", [run_name, tag])
def test_names_and_tags_are_short_lines(bounded):
    assert bounded("archive-cbfs · dcid 12") == "archive-cbfs · dcid 12"
    named = bounded("archive\n\0" + "\N{GRINNING FACE}" * 20_000 + "i03")
    assert named.isprintable()
    assert len(named.encode()) < 1000
    assert named.endswith("i03")


def test_long_keys_stay_different():
    assert idempotency_key("12-end-archive-cbfs") == "12-end-archive-cbfs"
    keys = {idempotency_key("x" * 20_000 + end) for end in ("a", "b", "\0")}
    assert len(keys) == 3
    assert all(len(key) < KEY_CHARACTERS and key.isprintable() for key in keys)
