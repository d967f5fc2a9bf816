"""The outputs of a node's step: which of them give up, which lead somewhere, and which it has never declared."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase

from flows.recipe.engine.routing import Routes
from tasks.step import ABORT, Step

logger = logging.getLogger(__name__)


class Outputs:
    """What a step sends on.

    Parameters
    ----------
    routes
        Where the outputs lead.

    Attributes
    ----------
    usual
        Outputs that don't give up, and are declared or have been told of: each send is looked up here first, since a
        microsecond counts. Names like `select-100` join it once they are known to be declared.
    """

    def __init__(self, step: Step, routes: Routes) -> None:
        self._step, self._routes = step, routes
        self._aborts = {ABORT, None} if step.default_output == ABORT else {ABORT}
        self.usual = {None, step.default_output, *step.outputs} - self._aborts

    def gives_up(self, output: str | None) -> bool:
        """Tell whether a send on an output says that the step gives up; that one isn't declared is told once."""
        if output in self._aborts:
            return True
        if output not in self.usual and not any(fnmatchcase(str(output), pattern) for pattern in self._step.outputs):
            logger.error(
                "the step %s sends on the output %r, which it doesn't declare: expected one of %s",
                *(self._step.name, output, ", ".join(self._step.outputs) or "none"),
            )
        self.usual.add(output)
        return False

    def leads(self, output: str | None) -> bool:
        """Tell whether what is sent on an output reaches a node."""
        return bool(self._routes[output])
