"""What a step says of itself to those who check recipes before they run (`plaza recipe check`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


class Fills:
    """Annotates a parameter with the names of the placeholders in it that the step itself fills.

    >>> from typing import Annotated
    >>> Content = Annotated[str, Fills("payload")]  # "{payload}" stays in the recipe until the step has the message
    """

    def __init__(self, *names: str) -> None:
        self.names = names


class Chooses:
    """Annotates a parameter whose value chooses what else the step reads, from its parameters and its messages alike.

    Texts with a `$` in them are looked up in the message's environment.

    Parameters
    ----------
    models
        What is read, by the parameter's value.
    """

    def __init__(self, models: Mapping[str, type[BaseModel]]) -> None:
        self.models = models


class SpeltFreely:
    """Base of models that know their parameters by other spellings of their names too."""

    @classmethod
    def respelt(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the names that the model has for them; those that it doesn't know keep theirs."""
        raise NotImplementedError


@dataclass(frozen=True)
class NodePlan:
    """What is known of a recipe's node before it runs.

    Parameters
    ----------
    node
        As it stands in the recipe, its placeholders filled from an example data collection.
    payloads
        What its messages bring, where only `start` sends some; None: other steps send them, so it isn't known.
    """

    node: Mapping[str, Any]
    payloads: tuple[Any, ...] | None = None

    @property
    def has_outputs(self) -> bool:
        """Some output leads somewhere."""
        output = self.node.get("output")
        return any(output.values()) if isinstance(output, Mapping) else bool(output)

    def may_bring(self, name: str) -> bool:
        """Tell whether each message may have a value of a name: nobody knows, or all of them do."""
        if self.payloads is None:
            return True
        return all(isinstance(payload, Mapping) and payload.get(name) for payload in self.payloads)
