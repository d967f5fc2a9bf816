"""Write what a request asks for: the one place where its commands meet what carries them out."""

from __future__ import annotations

from typing import TypeVar

from tasks.ispyb_access.writing.commands import CarryOut
from tasks.ispyb_access.writing.requests import Calls, Outcome, Request
from tasks.ispyb_access.writing.writer import Writer

Result = TypeVar("Result")


def fulfil(request: Request, writer: Writer, entry: str | None) -> Outcome:
    """Write what a request asks for; done before under this entry's name, it isn't done again.

    Raises
    ------
    MessageRefused, RowAwaited
        As `Request.calls` does, and nothing of it is written.
    DatabaseUnavailable, ConfigurationError
        As `Writer.session` does.
    """
    with writer.session(entry) as session:
        return answer_all(request.calls(left=lambda: session.left), session)


def answer_all(calls: Calls[Result], carry_out: CarryOut) -> Result:
    """Answer commands one after the other until there are no more, and return what came of them.

    A fault is thrown where the command was yielded: the request knows which of its steps that was.
    """
    try:
        call = next(calls)
        while True:
            try:
                value = carry_out(call)
            except Exception as error:
                call = calls.throw(error)
            else:
                call = calls.send(value)
    except StopIteration as end:
        result: Result = end.value
        return result
