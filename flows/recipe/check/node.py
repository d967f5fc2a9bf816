"""Check one node: its step, outputs, parameters and placeholders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from blocks.errors import MessageRefused, RecipeError, UnknownStep
from flows.recipe.check.parameters import ParameterProblem, annotations_of, has_parameter, names_of, parameter_problems
from flows.recipe.check.placeholder_sources import PlaceholderSources, closest, is_open, texts
from flows.recipe.check.problem import Problem
from flows.recipe.language.recipe import links
from flows.recipe.language.values import shown
from tasks.step import Chooses, Fills, NodePlan, Step
from tasks.step.registry import SERVICES, known_queues, load_step, queue_of

# All that Zocalo's recipes have, whether Plaza reads it or not
NODE_KEYS = (
    "comment",
    "error",
    "exchange",
    "gridinfo",
    "job_parameters",
    "output",
    "parameters",
    "queue",
    "service",
    "topic",
    "transport-delay",
    "wrapper",
)
LIKELY_TYPO = 0.8  # likeness from 0 to 1


class NodeChecker:
    """Checks a node.

    Parameters
    ----------
    payloads
        What its messages bring, where only `start` sends some; None: it isn't known.
    sources
        What fills placeholders.
    """

    def __init__(
        self, number: int, node: Mapping[str, Any], payloads: tuple[Any, ...] | None, sources: PlaceholderSources
    ) -> None:
        self._number, self._node, self._payloads, self._sources = number, node, payloads, sources
        self._place = f"node {number}"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the node."""
        yield from self._keys()
        yield from self._delay()
        step = None
        try:
            step = self._step()
        except UnknownStep as error:
            yield self._unknown_step(error)
        misplaced = list(self._placeholders(step))
        yield from misplaced
        if step is None:
            return
        yield from self._outputs(step)
        given = self._node.get("parameters")
        if given is not None and not isinstance(given, Mapping):
            yield self._problem("wrong `parameters`", "a JSON object", shown(given))
            return
        problems = list(self._parameters(step))
        yield from problems
        if all(problem.is_warning for problem in [*misplaced, *problems]):
            yield from self._ask_step(step)

    def _problem(self, what: str, expected: str = "", seen: str = "", meant: str | None = None) -> Problem:
        return Problem(self._place, what, expected, seen, meant)

    def _warning(self, what: str, expected: str, seen: str, meant: str) -> Problem:
        return Problem(self._place, what, expected, seen, meant, is_warning=True)

    # What stands in the node itself

    def _keys(self) -> Iterator[Problem]:
        for key in self._node:
            meant = closest(key, set(NODE_KEYS) - set(self._node), LIKELY_TYPO)
            if key not in NODE_KEYS and meant:
                yield self._warning("unknown key of a node", "one that means something", repr(key), meant)

    def _delay(self) -> Iterator[Problem]:
        value = self._node.get("transport-delay")
        if value is None or is_open(value):
            return
        delay = math.nan
        with suppress(TypeError, ValueError, OverflowError):
            delay = math.nan if isinstance(value, bool) else float(value)
        if not 0 <= delay < math.inf:
            yield self._problem("wrong `transport-delay`", "seconds, 0 or more", shown(value))

    def _step(self) -> Step | None:
        """Return the node's step; None if a placeholder names it."""
        if is_open(self._node.get("queue")) or (self._node.get("queue") is None and is_open(self._node.get("service"))):
            return None
        return load_step(queue_of(self._number, self._node))

    def _unknown_step(self, error: UnknownStep) -> Problem:
        queue, service = self._node.get("queue"), self._node.get("service")
        if queue in known_queues():
            return self._problem(str(error))
        expected = f"one of {', '.join(known_queues())}"
        if queue is not None:
            return self._problem("unknown queue", expected, shown(queue), closest(queue, known_queues()))
        if service is not None:
            label = re.sub(r"[\s_-]|^dls", "", str(service).lower())
            meant = SERVICES.get(closest(label, SERVICES) or "")
            return self._problem("unknown service, and no queue", f"a queue, {expected}", shown(service), meant)
        return self._problem("neither queue nor service", f"a queue, {expected}")

    def _placeholders(self, step: Step | None) -> Iterator[Problem]:
        own = (
            {f"parameters.{name}": fills.names for name, fills in annotations_of(step.parameters, Fills)}
            if step
            else {}
        )
        for path, text in texts(self._node):
            filled_by_step = own.get(path.partition("[")[0], ())
            for problem in self._sources.problems(text, filled_by_step):
                yield problem.at(self._place, path)

    # What the step says of it

    def _outputs(self, step: Step) -> Iterator[Problem]:
        output, names = self._node.get("output"), ", ".join(step.outputs)
        leads_on = any(link.path[0] == "output" for link in links(self._node))
        if isinstance(output, Mapping):
            for name in output:
                if not is_open(name) and not any(_matches(name, pattern) for pattern in step.outputs):
                    expected = f"one of {names}" if names else "none, for it sends nothing"
                    yield self._problem(
                        f"unknown output of {step.name}", expected, repr(name), _meant_output(name, step)
                    )
        elif leads_on and step.default_output is None:
            expected = f"outputs by their names: {names}" if names else "none, for it sends nothing"
            yield self._problem(f"unnamed output of {step.name}", expected, shown(output))
        if step.only_sends and not leads_on:
            yield self._problem(
                f"nobody reads what {step.name} sends", f"an output that leads to a step: {names}", "none"
            )

    def _parameters(self, step: Step) -> Iterator[Problem]:
        models: list[type[BaseModel]] = [step.parameters]
        problems = parameter_problems(step.parameters, self._given, self._example_parameters)
        for parameter, chooses in annotations_of(step.parameters, Chooses):
            choice = self._given.get(parameter)
            if not isinstance(choice, str) or is_open(choice):
                continue
            if model := chooses.models.get(choice):
                models.append(model)
                problems += self._chosen_problems(model)
            else:
                expected = f"one of {', '.join(chooses.models)}"
                yield self._problem(f"unknown {parameter}", expected, repr(choice), closest(choice, chooses.models))
        known = {name for name in self._given if any(has_parameter(model, name) for model in models)}
        unknown = [name for name in self._given if name not in known and not is_open(name)]
        for problem in problems:
            yield self._explain(problem, step, unknown)
        names = set().union(*(names_of(model) for model in models))
        unused = names - set(self._given) - {problem.parameter for problem in problems}
        for name in unknown:
            if meant := closest(name, unused, LIKELY_TYPO):
                yield self._warning(f"unknown parameter of {step.name}", "one that it reads", repr(name), meant)

    def _chosen_problems(self, model: type[BaseModel]) -> list[ParameterProblem]:
        """Hold parameters and messages together against what a command reads; texts with `$` are filled later."""
        problems = []
        for payload in [{}] if self._payloads is None else self._payloads:
            own = payload if isinstance(payload, Mapping) else {}
            given = {name: _environment_open(value) for name, value in {**self._given, **own}.items()}
            examples = {**self._example_parameters, **own}
            problems += parameter_problems(model, given, examples, is_complete=self._payloads is not None)
        return list(dict.fromkeys(problems))

    def _explain(self, problem: ParameterProblem, step: Step, unknown: list[str]) -> Problem:
        if problem.is_missing:
            meant = closest(problem.parameter, unknown) and problem.parameter
            return self._problem(f"missing parameter of {step.name}", problem.expected, problem.seen, meant)
        if not problem.parameter:
            return self._problem(f"parameters of {step.name} that don't go together", problem.expected)
        return self._problem(f"mistyped parameter {problem.parameter!r} of {step.name}", problem.expected, problem.seen)

    def _ask_step(self, step: Step) -> Iterator[Problem]:
        """Ask the step itself, with the values of an example data collection."""
        own = {name for _, fills in annotations_of(step.parameters, Fills) for name in fills.names}
        if step.check is None or not self._sources.has_examples_for([self._node, self._payloads], own):
            return
        try:
            parameters = step.parameters.model_validate(self._example_parameters)
            step.check(parameters, NodePlan(self._example, self._example_payloads))
        except MessageRefused as error:
            example = " (in an example data collection)" if is_open(self._node) else ""
            yield self._problem(f"{error}{example}")
        except ValidationError:
            return  # it's the example that doesn't fit: whatever is wrong by itself has been said
        except Exception as error:  # of a site's own step
            yield self._problem(f"{step.name} can't check the node: {type(error).__name__}: {error}")

    @property
    def _given(self) -> Mapping[str, Any]:
        return self._node.get("parameters") or {}

    @cached_property
    def _example(self) -> Mapping[str, Any]:
        try:
            filled: Mapping[str, Any] = self._sources.fill(self._node)
        except RecipeError:
            return self._node
        return filled

    @property
    def _example_parameters(self) -> Mapping[str, Any]:
        return self._example.get("parameters") or {}

    @property
    def _example_payloads(self) -> tuple[Any, ...] | None:
        if self._payloads is None:
            return None
        try:
            return tuple(self._sources.fill(payload) for payload in self._payloads)
        except RecipeError:  # which is a problem of its own
            return None


def _matches(name: Any, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"\d+"), str(name)) is not None


def _meant_output(name: Any, step: Step) -> str | None:
    return closest(re.sub(r"\d+", "*", str(name)), step.outputs)


def _environment_open(value: Any) -> Any:
    """Give a text that is looked up in a message's environment the looks of a placeholder: its type is open."""
    return f"{{{value}}}" if isinstance(value, str) and "$" in value else value
