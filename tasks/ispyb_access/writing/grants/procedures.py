"""Which of a database's procedures its user may execute, and what is to be granted for that."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError
from blocks.ispyb_connection import transaction
from blocks.ispyb_faults import WRONG_PARAMETERS_MYSQL_CODE, mysql_code
from tasks.ispyb_access.writing.grants.granted import account, answers_of, granted_to


def not_executable(engine: Engine, procedures: Mapping[str, int]) -> tuple[str, ...]:
    """Return the procedures that the user of a database may not execute, or that aren't there as we call them.

    Users who may read everything know of procedures which they may not execute. So each is called without its
    parameters, once: the server refuses whom it must before it misses them, and says how many there are. (It has to be
    one that has parameters.)

    Parameters
    ----------
    procedures
        With how many parameters each is called.

    Raises
    ------
    DatabaseUnavailable, ConfigurationError
        As `granted_to` does.
    """
    found = answers_of(engine).parameters
    for name in procedures:
        if name not in found:
            found[name] = _count_parameters(engine, name)
    return tuple(name for name, count in procedures.items() if found[name] != count)


def grants_to_call(engine: Engine, procedures: Mapping[str, int]) -> tuple[str, ...]:
    """Return the statements that would let the user of a database call procedures, as far as it may not."""
    granted, lacking = granted_to(engine), not_executable(engine, procedures)
    return tuple(
        f"GRANT EXECUTE ON PROCEDURE `{granted.database}`.`{name}` TO {account(granted.user)}"
        for name in lacking
        if answers_of(engine).parameters.get(name) is None
    )


def misfits(engine: Engine, procedures: Mapping[str, int]) -> tuple[str, ...]:
    """Return, in words, which procedures are there with other parameters than those that they're called with."""
    seen = {name: answers_of(engine).parameters.get(name) for name in not_executable(engine, procedures)}
    return tuple(
        f"Procedure {name} has {count} parameters, not {procedures[name]} as the package ispyb's: it's another version"
        for name, count in seen.items()
        if count is not None
    )


def _count_parameters(engine: Engine, procedure: str) -> int | None:
    """Return how many parameters a procedure has; None if it isn't there or not for this user."""
    try:
        with transaction(engine, read_only=True) as connection:
            connection.execute(text(f"CALL `{procedure}`()")).close()
    except ConfigurationError as error:  # denied, or there but for the parameters
        cause = error.__cause__
        if isinstance(cause, DBAPIError) and mysql_code(cause) == WRONG_PARAMETERS_MYSQL_CODE:
            *_, expected, _seen = re.findall(r"\d+", str(cause.orig.args[-1] if cause.orig else ""))
            return int(expected)
    return None
