"""Checking recipes: every rule, on recipes that break it and on those that only look as if."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.settings import CHECKOUT
from flows.recipe.check.placeholder_sources import PlaceholderSources
from flows.recipe.check.problem import validate_file
from flows.recipe.check.recipe import check_file, check_recipe, errors
from flows.recipe.language.recipe import recipe_from_document
from tasks.step import Step, StepParameters, message_step
from tasks.step.registry import STEPS
from tests.support.recipe_strategies import JSON, recipe_documents

RECIPES = sorted((CHECKOUT / "recipes").glob("*.json"))

WATCH = {"queue": "filewatcher", "parameters": {"list": ["/data/a.cbf"]}, "output": {"every": 2}}
ANALYSE = {"queue": "per_image_analysis", "output": {"result": 3}}
STORE = {
    "queue": "ispyb_pia",
    "parameters": {"ispyb_command": "store_per_image_analysis_results", "dcid": "{ispyb_dcid}"},
}
MAIL = {"queue": "mailnotification", "parameters": {"recipients": "a@b.c", "content": "{payload}"}}
PREVIEW = {"queue": "images", "parameters": {"image_command": "diffraction"}}
GDA = {"queue": "notify_gda", "parameters": {"dcid": 1, "host": "gda", "port": 9000}}
ARCHIVE = {
    "queue": "archive.pattern",
    "parameters": {
        "visit": "{ispyb_visit}",
        "beamline": "i03",
        "pattern": "{ispyb_dc_info[imageDirectory]}{ispyb_image_pattern}",
        "pattern-start": "{ispyb_image_first}",
        "pattern-end": "{ispyb_image_last}",
        "dropfile": "{dropfile_override}",
        "dropfile-dir": "{ispyb_results_directory}",
        "dropfile-filename": "{visit_id}-{beamline}-{timestamp}{multipart}.xml",
    },
}
FILELIST = {"queue": "archive.filelist", "parameters": {"visit": "v", "beamline": "b"}, "output": 3}
STATUS = {"queue": "ispyb_connector", "parameters": {"ispyb_command": "update_processing_status"}}
CENTRE = {
    "queue": "reduce.xray_centering",
    "parameters": {"dcid": "{ispyb_dcid}", "beamline": "{ispyb_beamline}"},
    "gridinfo": "{$REPLACE:ispyb_dc_info[gridinfo]}",
    "output": {"success": 3},
}


def merged(node, **changes):
    """Change a node; a hyphen in a name is written as two underscores, None takes the key away."""
    changed = copy.deepcopy(node)
    for path, value in changes.items():
        *way, name = path.replace("__", "-").split(".")
        target = changed
        for step in way:
            target = target.setdefault(step, {})
        if value is None:
            target.pop(name, None)
        else:
            target[name] = value
    return changed


def after_watcher(node):
    """A recipe in which a file watcher feeds a node, and that node may feed a mail."""
    return {"1": WATCH, "2": node, "3": MAIL, "start": [[1, []], [3, []]]}


def started(node, payload=None):
    """A recipe in which a node is started with a payload, and may feed a mail."""
    return {"1": node, "3": MAIL, "start": [[1, payload], [3, []]]}


def problems(document, *declared):
    return [str(problem) for problem in check_recipe(recipe_from_document(document), PlaceholderSources(declared))]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_that_we_ship_have_nothing_wrong(file):
    assert check_file(file) == []


@pytest.mark.parametrize("node", [ANALYSE, STORE, MAIL, PREVIEW, GDA, ARCHIVE, CENTRE], ids=lambda node: node["queue"])
def test_nodes_of_the_tables_below_are_right_before_they_are_changed(node):
    assert problems(after_watcher(node)) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # steps
        (after_watcher(merged(GDA, queue="notify_gdaa")), "node 2: unknown queue, expected one of"),
        (after_watcher(merged(GDA, queue="notify_gdaa")), "seen 'notify_gdaa'; did you mean 'notify_gda'?"),
        (after_watcher(merged(GDA, queue=7)), "node 2: unknown queue, expected one of"),
        (after_watcher(merged(GDA, queue=None)), "node 2: neither queue nor service"),
        (after_watcher(merged(GDA, queue=None, service="DLS Notfy GDA")), "seen 'DLS Notfy GDA'; did you mean 'notify"),
        (after_watcher(merged(GDA, queue=None, topic="gda")), "node 2: neither queue nor service"),
        (after_watcher(merged(GDA, queue="nope", service="DLS Notify GDA")), "node 2: unknown queue"),
        # outputs
        (
            after_watcher(merged(CENTRE, output={"sucess": 3})),
            "node 2: unknown output of centre_crystal, expected one of success, abort, seen 'sucess'; "
            "did you mean 'success'?",
        ),
        (
            started(merged(WATCH, output={"selct-250": 3})),
            "unknown output of watch_files, expected one of first, every, last, any, finally, timeout, error, "
            "select-*, every-*, *, seen 'selct-250'; did you mean 'select-*'?",
        ),
        (started(merged(WATCH, output={"select-": 3})), "unknown output of watch_files"),
        (
            started(merged(WATCH, output=[3])),
            "node 1: unnamed output of watch_files, expected outputs by their names: first, every",
        ),
        (
            after_watcher(merged(GDA, output=3)),
            "node 2: unnamed output of notify_gda, expected none, for it sends nothing, seen [3]",
        ),
        (after_watcher(merged(GDA, output={"done": 3})), "unknown output of notify_gda, expected none"),
        (started(merged(WATCH, output={"select-0": 3})), "the file watcher's output 'select-0' should end in a number"),
        # nobody reads
        (started(merged(WATCH, output=None)), "node 1: nobody reads what watch_files sends, expected an output"),
        (started(merged(WATCH, output={"every": []})), "node 1: nobody reads what watch_files sends"),
        (after_watcher(merged(ANALYSE, output=None)), "node 2: nobody reads what analyse_images sends"),
        (
            started({"queue": "nexusparser.find_related_files", "parameters": {"file": "/a.nxs"}, "error": 3}),
            "nobody reads what find_related_files sends",
        ),
        (
            after_watcher(merged(ARCHIVE, **{"parameters.dropfile__dir": None})),
            "node 2: nothing comes of archiving: expected `dropfile`",
        ),
        (after_watcher(merged(CENTRE, output=None)), "node 2: nothing comes of centring: expected a file"),
        # parameters
        (
            after_watcher(merged(GDA, **{"parameters.host": None, "parameters.hots": "gda"})),
            "missing parameter of notify_gda, expected 'host', seen 'dcid', 'port', 'hots'; did you mean 'host'?",
        ),
        (after_watcher(merged(GDA, parameters=None)), "missing parameter of notify_gda, expected 'dcid', seen none"),
        (after_watcher(merged(GDA, parameters=[1])), "node 2: wrong `parameters`, expected a JSON object, seen [1]"),
        (
            after_watcher(merged(GDA, **{"parameters.port": "ninety"})),
            "node 2: mistyped parameter 'port' of notify_gda, expected a valid integer, unable to parse string as an "
            "integer, seen 'ninety'",
        ),
        (after_watcher(merged(GDA, **{"parameters.port": 90000})), "less than or equal to 65535, seen 90000"),
        (
            after_watcher(merged(MAIL, **{"parameters.content": 7})),
            "mistyped parameter 'content' of send_mail, expected a valid string or a valid list, seen 7",
        ),
        (
            after_watcher(merged(ANALYSE, **{"parameters.threshold_algorithm": "dispersion_extnded"})),
            "expected 'dispersion', 'dispersion_extended' or 'radial_profile', seen 'dispersion_extnded'",
        ),
        (
            started(merged(WATCH, **{"parameters.timeout": "soon", "output": {"every": 3}})),
            "mistyped parameter 'timeout' of watch_files",
        ),
        # what the steps themselves say
        (started(merged(WATCH, parameters={"patern": "/a_%d"})), "node 1: the file watcher needs one of the para"),
        (
            started(merged(WATCH, parameters={"pattern": "/a.cbf", "pattern-start": 1, "pattern-end": 2})),
            "should be a path with exactly one integer field",
        ),
        (
            started(
                merged(
                    WATCH,
                    parameters={"pattern": "{ispyb_image_template}", "pattern-start": 1, "pattern-end": 2},
                )
            ),
            "seen 'example_1_#####.cbf' (in an example data collection)",
        ),
        (started(merged(WATCH, parameters={"pattern": "/a_%d"})), "pattern-start should be a whole number, seen None"),
        (after_watcher(merged(PREVIEW, **{"parameters.image_command": "difraction"})), "seen 'difraction'"),
        (started(PREVIEW, []), "node 1: a preview needs `file` or `input`"),
        (started(merged(PREVIEW, parameters={"file": "/a"}), []), "`image_command` is 'diffraction'; seen None"),
        (started(ANALYSE, {"flie": "/a"}), "node 1: per-image analysis needs the path of an image as `file`"),
        (
            started({"queue": "nexusparser.find_related_files", "output": {"all": 3}}, []),
            "node 1: the NeXus parser needs the path of a file",
        ),
        (started(FILELIST), "node 1: expected a list of file names as `filelist`"),
        (after_watcher(merged(ARCHIVE, **{"parameters.pattern": "/a.cbf"})), "a pattern with one field for the image"),
        (after_watcher(merged(MAIL, **{"parameters.content": None})), "node 2: the mail has no content"),
        (after_watcher(merged(MAIL, **{"parameters.recipients": None})), "node 2: the mail has no recipients"),
        (after_watcher(merged(MAIL, **{"parameters.recipients": {"a": "b"}})), "expected `select` to name one"),
        (started(merged(MAIL, parameters=None), {"parameters": {"recipients": "a@b"}}), "the mail has no content"),
        (after_watcher(merged(CENTRE, gridinfo=None)), "expected `gridinfo` in the recipe's node"),
        (after_watcher(merged(CENTRE, **{"parameters.experiment_type": "Mesh3D"})), "three-dimensional grid scan"),
        # ISPyB's commands
        (
            after_watcher(merged(STORE, **{"parameters.ispyb_command": "store_per_image_analysis_result"})),
            "; did you mean 'store_per_image_analysis_results'?",
        ),
        (after_watcher(merged(STORE, **{"parameters.ispyb_command": None})), "missing parameter of store_in_ispyb"),
        (after_watcher(merged(STORE, **{"parameters.dcid": "x"})), "mistyped parameter 'dcid' of store_in_ispyb"),
        (
            after_watcher(merged(STORE, parameters={"ispyb_command": "insert_xray_centring", "dcid-group": "x"})),
            "mistyped parameter 'dcid-group' of store_in_ispyb",
        ),
        (
            started(STATUS, {}),
            "missing parameter of store_in_ispyb, expected 'program_id'",
        ),
        # placeholders
        (
            after_watcher(merged(GDA, **{"parameters.dcid": "{ispyb_dicd}"})),
            "node 2: parameters.dcid: unknown placeholder, expected a name that is provided, seen 'ispyb_dicd'; "
            "did you mean 'ispyb_dcid'?",
        ),
        (
            after_watcher(merged(GDA, comment="{ispyb_dc_info[imageDirektory]}")),
            "node 2: comment: unknown key of ispyb_dc_info, expected one that it has, seen 'imageDirektory'; "
            "did you mean 'imageDirectory'?",
        ),
        (after_watcher(merged(GDA, comment="{$REPLACE:ispyb_dc_inf}")), "seen 'ispyb_dc_inf'"),
        (after_watcher(merged(GDA, comment="{$REPLACE:ispyb_dc_info[gridinf]}")), "seen 'gridinf'; did you mean 'grid"),
        (after_watcher(merged(GDA, comment="{$REPLACE:ispyb_dcid} and more")), "must be all of the text"),
        (after_watcher(merged(GDA, comment="{ispyb_dcid")), "node 2: comment: placeholders in '{ispyb_dcid' can't"),
        (after_watcher(merged(GDA, comment="{}")), "node 2: comment: placeholders in '{}' can't be filled"),
        (after_watcher(merged(GDA, comment="{ispyb_beamline:04d}")), "can't be filled"),
        (after_watcher(merged(GDA, comment="{ispyb_dc_info.wavelength}")), "can't be filled"),
        (after_watcher(merged(GDA, comment={"{ispyb_beamlin}": [1]})), "node 2: comment: unknown placeholder"),
        (after_watcher(merged(GDA, **{"parameters.x": [1, "{y}"]})), "node 2: parameters.x[1]: unknown placeholder"),
        (started(GDA, {"a": "{nothing}"}), "'start' of node 1: payload.a: unknown placeholder"),
        (after_watcher(merged(MAIL, **{"parameters.subject": "{payload}"})), "parameters.subject: unknown placeholder"),
        (after_watcher(merged(GDA, comment="{visit_id}")), "comment: unknown placeholder"),
        # the node itself
        (after_watcher(merged(GDA, transport__delay="soon")), "wrong `transport-delay`, expected seconds, 0 or more"),
        (after_watcher(merged(GDA, transport__delay=-1)), "wrong `transport-delay`"),
        (after_watcher(merged(GDA, transport__delay=True)), "wrong `transport-delay`"),
        (after_watcher(merged(GDA, transport__delay="nan")), "wrong `transport-delay`"),
        (after_watcher(merged(GDA, transport__delay=[1])), "wrong `transport-delay`"),
        # structure: what is wrong there doesn't hide what is wrong with the nodes
        (after_watcher(merged(GDA, output=9, queue="x")), "leads to node 9, which doesn't exist"),
        (after_watcher(merged(GDA, output=9, queue="x")), "node 2: unknown queue"),
    ],
)  # fmt: skip
def test_fault_is_found(document, expected):
    found = problems(document)
    assert expected in "\n".join(found)
    assert not any("warning" in line for line in found if expected in line)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            after_watcher(merged(MAIL, **{"parameters.sbject": "x"})),
            "node 2: warning: unknown parameter of send_mail, expected one that it reads, seen 'sbject'; "
            "did you mean 'subject'?",
        ),
        (after_watcher(merged(STORE, **{"parameters.total_intenstiy": 1})), "did you mean 'total_intensity'?"),
        (after_watcher(merged(ANALYSE, paramters={})), "node 2: warning: unknown key of a node"),
        (after_watcher(merged(GDA, transport_delay=120)), "did you mean 'transport-delay'?"),
    ],
)
def test_likely_typo_is_a_warning(document, expected):
    checked = check_recipe(recipe_from_document(document))
    assert errors(checked) == []
    (warning,) = [problem for problem in checked if problem.is_warning]
    assert expected in str(warning)


@pytest.mark.parametrize(
    "document",
    [
        after_watcher(merged(GDA, queue=None, service="DLS Notify GDA")),
        after_watcher(merged(GDA, queue="{gda_host}")),
        started(merged(WATCH, output={"select-250": 3, "every-10": 3, "17": 3, "{guid}": 3})),
        after_watcher(merged(ANALYSE, output=[3])),
        after_watcher(merged(ANALYSE, output=3)),
        after_watcher(merged(GDA, output=[], error=3)),
        after_watcher(merged(GDA, **{"parameters.recipients": "of another step", "parameters.timeout": 3})),
        after_watcher(merged(GDA, **{"parameters.port": "9000"})),
        after_watcher(merged(GDA, **{"parameters.port": "{ispyb_beamline}"})),
        after_watcher(merged(GDA, **{"parameters.port": "{$REPLACE:ispyb_unit_cell}"})),
        after_watcher(merged(GDA, parameters={"{ispyb_beamline}": 1})),
        started(merged(WATCH, parameters={"hdf5": "{ispyb_image}", "timeout": "{ispyb_dcid}"}, output={"1": 3})),
        started(merged(WATCH, parameters={"list": ["{$REPLACE:ispyb_smiles}"]}, output={"1": 3})),
        after_watcher(merged(PREVIEW, parameters=None)),
        after_watcher(merged(MAIL, parameters=None)),
        after_watcher({"queue": "nexusparser.find_related_files", "output": {"all": 3}}),
        after_watcher(FILELIST),
        started(PREVIEW, {"file": "/dls/i03/data/2026/cm12345-1/a.cbf"}),
        started(ANALYSE, {"file": "/data/a.cbf"}),
        after_watcher(merged(STORE, **{"parameters.dcid": None})),
        after_watcher(merged(STORE, **{"parameters.ispyb_command": "{ispyb_beamline}"})),
        after_watcher(merged(STATUS, **{"parameters.program_id": "$ispyb_program"})),
        started(merged(STATUS, **{"parameters.program_id": "${ispyb_program}"})),
        started(STATUS, {"program_id": "4"}),
        started(merged(STATUS, **{"parameters.programId": "${ispyb_program}"})),
        started(STATUS, {"program-id": 4}),
        after_watcher(merged(ARCHIVE, **{"parameters.dropfile__dir": None}, output={"missing_files": 3})),
        after_watcher(merged(CENTRE, output=None, **{"parameters.log": "/tmp/log"})),
        after_watcher(
            merged(CENTRE, gridinfo=None, comment="Diffraction grid scan of 1 by 1 images, Top left [0,0], …")
        ),
        after_watcher(merged(GDA, transport__delay="{ispyb_dcid}")),
        after_watcher(merged(GDA, transport__delay="2.5")),
        after_watcher(merged(GDA, comment="{{literal}} {ispyb_dc_info[wavelength]:.2f} {ispyb_dcid!r} {guid}")),
        after_watcher(merged(GDA, comment="{ispyb_related_sweeps[3][0]} {ispyb_msp_sample_ids[5]} {ispyb_images}")),
        after_watcher(merged(GDA, comment="{$REPLACE:ispyb_dcg_dcids[2]}")),
    ],
)  # fmt: skip
def test_what_may_well_be_right_is_no_fault(document):
    assert problems(document) == []


def test_declared_placeholder_may_be_anything():
    node = merged(
        WATCH,
        parameters={"pattern": "{where}", "pattern-start": "{n[0]:03d}", "pattern-end": "{n.last}"},
        comment="{$REPLACE:n[a][1]}",
        output={"every": 3},
    )
    assert len(problems(started(node))) == 4
    assert problems(started(node), "where", "n") == []


def test_settings_and_ispyb_provide_what_they_say_they_do():
    from blocks.settings import get_settings
    from tasks.ispyb_access.reading.parameters import DispatcherParameters

    sources = PlaceholderSources()
    for name in [
        *get_settings().recipe_parameters(),
        *(f"ispyb_{field}" for field in DispatcherParameters.model_fields),
    ]:
        assert name in sources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON"),
        ("[]", "No recipe defined"),
        ('{"one": {}, "start": [[1, []]]}', "node key 'one' is not numeric"),
        ('{"1": {"queue": "images"}}', "'start' is missing"),
    ],
)
def test_file_without_a_recipe_is_a_finding(tmp_path, text, expected):
    file = tmp_path / "tried.json"
    file.write_text(text)
    for check in (check_file, validate_file):
        assert expected in str(check(file)[0])


def test_file_that_is_not_there_is_a_finding():
    assert [str(problem) for problem in check_file(Path("/no/recipe.json"))] == [
        "can't be read: No such file or directory"
    ]


def test_structure_alone_asks_for_no_step(tmp_path):
    file = tmp_path / "tried.json"
    file.write_text(json.dumps({"1": {"queue": "tea.making", "output": {"cup": 2}}, "2": {}, "start": [[1, "{"]]}))
    assert validate_file(file) == []
    file.write_text(json.dumps({"1": {"output": "one"}, "2": {"output": "two"}, "start": [[1, []]]}))
    assert len(validate_file(file)) == 2


@pytest.fixture
def site_step(monkeypatch):
    """A function that serves the queue site.step by a step of the site's own."""

    def serve(**options) -> Step:
        step = message_step(queue="site.step", parameters=StepParameters, outputs=("done",), **options)(
            lambda parameters, message, context: ()
        )
        monkeypatch.setattr("flows.recipe.check.node.queue_of", lambda number, node: node["queue"])
        monkeypatch.setattr("flows.recipe.check.node.load_step", lambda queue: step)
        return step

    return serve


def test_step_of_the_site_judges_too_and_its_own_faults_are_findings(site_step):
    def check(parameters, plan):
        raise KeyError(f"{plan.payloads} {plan.has_outputs}")

    site_step(check=check)
    found = problems({"1": {"queue": "site.step", "output": {"done": 1}}, "start": [[1, 5]]})
    assert any("can't check the node: KeyError" in line for line in found)


def test_step_that_only_sends_has_to_be_heard(site_step):
    site_step(only_sends=True)
    found = problems({"1": {"queue": "site.step"}, "start": [[1, 5]]})
    assert found == [
        "node 1: nobody reads what <lambda> sends, expected an output that leads to a step: done, seen none"
    ]


NAMES = st.text(max_size=8) | st.sampled_from(["queue", "output", "error", "2", "parameters"])
VALUES = JSON | st.sampled_from(["{", "{x}", "{ispyb_dc_info[x]}", "{$REPLACE:ispyb_dc_info}", "{ispyb_dcid:x}", "$x"])


@st.composite
def spoilt_recipes(draw):
    """A recipe that we ship, with a few of its values, keys or links replaced by anything."""
    document = json.loads(draw(st.sampled_from(RECIPES)).read_text())
    for _ in range(draw(st.integers(1, 4))):
        value = document
        while isinstance(value, dict | list) and value:
            key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            if draw(st.integers(0, 2)) == 0 or not isinstance(value[key], dict | list):
                if isinstance(value, dict) and draw(st.booleans()):
                    value[draw(st.text(max_size=8) | st.sampled_from(["queue", "output", "error", "2"]))] = value.pop(
                        key
                    )
                else:
                    value[key] = draw(VALUES)
                break
            value = value[key]
    return document


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt_recipes() | recipe_documents())
def test_whatever_a_file_holds_the_checker_says_what_is_wrong(tmp_path_factory, document):
    file = tmp_path_factory.getbasetemp() / "spoilt.json"
    file.write_text(json.dumps(document))
    for problem in check_file(file):
        assert "\n" not in str(problem)
        assert "can't check" not in str(problem)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(STEPS)), st.dictionaries(st.text(max_size=5), VALUES, max_size=3), VALUES, st.data())
def test_whatever_a_step_is_told_the_checker_says_what_is_wrong(queue, parameters, payload, data):
    from flows.recipe.check.parameters import names_of
    from tasks.step.registry import load_step

    names = st.sampled_from(sorted(names_of(load_step(queue).parameters)))
    parameters |= data.draw(st.dictionaries(names, VALUES, max_size=5))
    document = {"1": {"queue": queue, "parameters": parameters}, "start": [[1, payload]]}
    assert not any("can't check" in line for line in problems(document))
