"""The one place of the API's server that uses a name which Prefect keeps private.

Prefect checks a deployment's parameter schema anew each time that a run is created: with those of Mimas, whose schema
bounds what events may bring, 11 ms of the 55 ms that the server computes for a run.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from prefect.utilities.schema_tools import validation

_SCHEMAS: Final = 512
"""That are remembered: more than a site has deployments."""


def remember_checked_schemas() -> None:
    """Have Prefect check a schema once; the parameters themselves are checked each time."""
    check = validation._VALIDATOR.check_schema  # noqa: SLF001

    @lru_cache(maxsize=_SCHEMAS)
    def check_text(text: str) -> None:
        check(json.loads(text))  # what it raises isn't remembered

    def check_schema(schema: Any, **options: Any) -> None:
        if options:
            check(schema, **options)
        else:
            check_text(json.dumps(schema))

    validation._VALIDATOR.check_schema = check_schema  # noqa: SLF001
