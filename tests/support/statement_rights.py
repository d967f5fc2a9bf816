"""Which rights on tables a statement needs, by what it says."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.grants.needs import CHANGE, NONE, Right

VERBS = (
    (re.compile(r"\bINSERT (?:IGNORE )?INTO [`\"]?(\w+)"), Right.INSERT),
    (re.compile(r"^UPDATE [`\"]?(\w+)"), CHANGE),
    (re.compile(r"^DELETE FROM [`\"]?(\w+)"), Right.SELECT | Right.DELETE),
    (re.compile(r"(?<!DELETE )\b(?:FROM|JOIN) [`\"]?(\w+)"), Right.SELECT),
)
OVER = re.compile(r"^INSERT INTO [`\"]?(\w+)[\s\S]*\bON (?:DUPLICATE KEY|CONFLICT)")

_local = threading.local()


def rights_of(statement: str) -> dict[str, Right]:
    """Return the rights that a statement needs on ISPyB's tables."""
    found: dict[str, Right] = {}
    for pattern, right in (*VERBS, (OVER, CHANGE)):
        for table in pattern.findall(statement):
            if table in METADATA.tables:
                found[table] = found.get(table, NONE) | right
    return found


@contextmanager
def rights_used() -> Iterator[dict[str, Right]]:
    """Note the rights that this thread's statements need, on whichever engine."""
    outer, used = getattr(_local, "used", None), {}
    _local.used = used
    try:
        yield used
    finally:
        _local.used = outer


def _note(_connection, _cursor, statement, *_more) -> None:
    used = getattr(_local, "used", None)
    if used is not None:
        for table, right in rights_of(statement).items():
            used[table] = used.get(table, NONE) | right


event.listen(Engine, "before_cursor_execute", _note)
