"""The JSON Schema of recipes, made of the steps' parameter models: editors complete and check recipes with it.

It says less than `flows.recipe.check.recipe`, which follows links and knows what fills placeholders. Draft 7, for
editors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from inspect import getdoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from flows.recipe.check.parameters import annotations_of
from tasks.step import Chooses, Step
from tasks.step.registry import known_queues, load_step

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
PLACEHOLDER = {"$ref": "#/definitions/placeholder"}
LOOKED_UP = {"$ref": "#/definitions/lookedUp"}
AS_TEXT: dict[str, Schema] = {
    "integer": {"type": "string", "pattern": r"^\s*[-+]?[0-9]+(\.0*)?\s*$"},
    "number": {"type": "string", "pattern": r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$"},
    "boolean": {"enum": ["true", "false", "True", "False", "yes", "no", 0, 1]},
}
LINKS = {"$ref": "#/definitions/links"}
TARGETS = {"$ref": "#/definitions/targets"}
NODE_OR_NONE = {"type": ["integer", "null"]}
NO_TARGETS: Schema = {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "null"}}]}


def recipe_schema(queues: Iterable[str] | None = None) -> Schema:
    """Return the schema of recipes.

    Parameters
    ----------
    queues
        The queues that nodes may name; None: all that have a step here, the site's own among them.
    """
    steps = {queue: load_step(queue) for queue in sorted(known_queues() if queues is None else queues)}
    return {
        "$schema": DRAFT,
        "title": "Recipe",
        "description": "A graph of steps: numbered nodes, and the messages that start it.",
        "type": "object",
        "properties": {
            "start": _start(),
            "error": {"description": "Nodes that receive every failure.", "allOf": [TARGETS]},
        },
        "patternProperties": {"^-?0*[1-9][0-9]*$": {"$ref": "#/definitions/node"}},
        "additionalProperties": False,
        "required": ["start"],
        "definitions": _definitions(steps),
    }


def schema_text(queues: Iterable[str] | None = None) -> str:
    """Return the schema of recipes as the text of a file."""
    return json.dumps(recipe_schema(queues), indent=2, ensure_ascii=False) + "\n"


def _definitions(steps: Mapping[str, Step]) -> Schema:
    distinct = list({id(step): step for step in steps.values()}.values())
    chosen = {
        model
        for step in distinct
        for _, chooses in annotations_of(step.parameters, Chooses)
        for model in chooses.models.values()
    }
    models: list[type[BaseModel]] = [*dict.fromkeys(step.parameters for step in distinct)]
    models += sorted(chosen - set(models), key=lambda model: model.__name__)
    references, generated = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/definitions/{model}"
    )
    names = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    optional = {names[model] for model in chosen}
    definitions = {
        name: _relaxed_model(definition, is_chosen=name in optional)
        for name, definition in generated.get("$defs", {}).items()
    }
    for step in distinct:
        definitions[names[step.parameters]] |= _choices(step.parameters, definitions[names[step.parameters]], names)
    return {
        "placeholder": {"type": "string", "pattern": "[{}]", "description": "Filled in when the recipe runs."},
        "lookedUp": {"type": "string", "pattern": "[{}$]", "description": "Filled in when the message is there."},
        "targets": {"anyOf": [NODE_OR_NONE, {"type": "array", "items": NODE_OR_NONE}]},
        "links": {"anyOf": [TARGETS, {"type": "object", "additionalProperties": TARGETS}]},
        "node": _node(steps, distinct, names),
        **dict(sorted(definitions.items())),
    }


# Nodes and links


def _node(steps: Mapping[str, Step], distinct: list[Step], names: Mapping[type[BaseModel], str]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "queue": {
                "description": "Picks the step.",
                "anyOf": [
                    {"enum": list(steps), "enumDescriptions": [_summary(step) for step in steps.values()]},
                    *({"pattern": _family(queue)} for queue in steps if "*" in queue),
                    PLACEHOLDER,
                ],
            },
            "service": {"type": "string", "description": "A label; it picks the step where there's no queue."},
            "parameters": {"type": "object"},
            "output": {"description": "Nodes that receive what the step sends.", "allOf": [LINKS]},
            "error": {"description": "Nodes that receive what the step couldn't use.", "allOf": [LINKS]},
            "transport-delay": {
                "description": "Seconds until messages are delivered to this node.",
                "anyOf": [{"type": "number", "minimum": 0}, AS_TEXT["number"], PLACEHOLDER, {"type": "null"}],
            },
        },
        "anyOf": [{"required": ["queue"]}, {"required": ["service"]}],
        "allOf": [_branch(step, steps, names[step.parameters]) for step in distinct],
    }


def _branch(step: Step, steps: Mapping[str, Step], parameters: str) -> Schema:
    """Say what holds for nodes of a step's queues."""
    queues = [queue for queue, other in steps.items() if other is step]
    needs_parameters = any(field.is_required() for field in step.parameters.model_fields.values())
    consequence: Schema = {
        "properties": {"parameters": {"$ref": f"#/definitions/{parameters}"}, "output": _outputs(step)}
    }
    if needs_parameters:
        consequence["required"] = ["parameters"]
    choice: Schema = {"enum": queues}
    if families := [{"pattern": _family(queue)} for queue in queues if "*" in queue]:
        choice = {"type": "string", "anyOf": [choice, *families]}
    return {"if": {"properties": {"queue": choice}, "required": ["queue"]}, "then": consequence}


def _family(queue: str) -> str:
    """Return what the names of queues look like of which there is one for each beamline."""
    return f"^{re.escape(queue).replace(re.escape('*'), '[A-Za-z0-9_-]+')}$"


def _outputs(step: Step) -> Schema:
    fixed = {name: TARGETS for name in step.outputs if "*" not in name}
    counted = {f"^{name.replace('*', '[0-9]+')}$": TARGETS for name in step.outputs if "*" in name}
    named = {
        "type": "object",
        "properties": fixed,
        "patternProperties": counted | {"[{}]": TARGETS},
        "additionalProperties": False,
    }
    return {"anyOf": [NO_TARGETS if step.default_output is None else TARGETS, named]}


def _start() -> Schema:
    return {
        "description": "The messages that start it: pairs of node number and payload.",
        "type": "array",
        "minItems": 1,
        "items": {"type": "array", "items": [{"type": "integer"}, {}], "minItems": 2, "maxItems": 2},
    }


def _summary(step: Step) -> str:
    function = step.message_function or step.stream_function
    return (getdoc(function) or "").partition("\n")[0]


# Parameters


def _choices(model: type[BaseModel], definition: Schema, names: Mapping[type[BaseModel], str]) -> Schema:
    """Say what else is read, by the value of the parameters that choose it."""
    branches: list[Schema] = []
    for name, chooses in annotations_of(model, Chooses):
        description = definition["properties"][name].get("description", "")
        choices = [{"enum": list(chooses.models)}, PLACEHOLDER]
        definition["properties"][name] = {"description": description, "anyOf": choices}
        branches += [
            {
                "if": {"properties": {name: {"const": value}}, "required": [name]},
                "then": {"$ref": f"#/definitions/{names[chosen]}"},
            }
            for value, chosen in chooses.models.items()
        ]
    return {"allOf": branches} if branches else {}


def _relaxed_model(definition: Schema, *, is_chosen: bool) -> Schema:
    """Let placeholders stand for any value of a model; messages may bring what a chosen one requires."""
    open_value = LOOKED_UP if is_chosen else PLACEHOLDER
    kept = {key: value for key, value in definition.items() if key not in ("title", "additionalProperties")}
    if "properties" in kept:
        kept["properties"] = {name: _relaxed(below, open_value) for name, below in kept["properties"].items()}
    if "description" in kept:
        kept["description"] = kept["description"].partition("\n\n")[0].replace("\n", " ")
    if is_chosen:
        kept.pop("required", None)
    return kept


def _relaxed(schema: Schema, open_value: Schema) -> Schema:
    """Let a placeholder stand for a value or for any within it, and text for a number."""
    about = {key: schema[key] for key in ("description", "default") if schema.get(key) is not None}
    members = schema.get("anyOf", [schema])
    allowed = [_relaxed_member(member, open_value) for member in members]
    allowed += [AS_TEXT[kind] for kind in dict.fromkeys(member.get("type") for member in members) if kind in AS_TEXT]
    if {} in allowed or {"type": "string"} in allowed:  # takes any text
        return about | ({"anyOf": allowed} if len(allowed) > 1 else allowed[0])
    return about | {"anyOf": [*allowed, open_value]}


def _relaxed_member(member: Schema, open_value: Schema) -> Schema:
    kept = {key: value for key, value in member.items() if key not in ("title", "description", "default", "format")}
    for name in ("items", "additionalProperties"):
        if isinstance(kept.get(name), dict):
            kept[name] = _relaxed(kept[name], open_value)
    if "prefixItems" in kept:
        kept["items"] = [_relaxed(item, open_value) for item in kept.pop("prefixItems")]
    return kept
