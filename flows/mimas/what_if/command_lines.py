"""What Mimas asks for as the command lines that beamline staff know from Zocalo, fit to be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from flows.mimas.scenario import Invocation, ISPyBJobInvocation, RecipeInvocation


def command_line(wanted: Invocation) -> str:
    """Return the command that asks for the same, in one line.

    >>> command_line(RecipeInvocation(1234, "archive-nexus"))
    'zocalo.go -r archive-nexus 1234'
    """
    return " ".join(_go_words(wanted) if isinstance(wanted, RecipeInvocation) else _job_words(wanted))


def _go_words(wanted: RecipeInvocation) -> Iterator[str]:
    yield from ("zocalo.go", "-r", _quoted(wanted.recipe), str(wanted.dcid))


def _job_words(job: ISPyBJobInvocation) -> Iterator[str]:
    """Yield the words in Zocalo's order; those of variable text are always in quotes there, and so here."""
    yield from ("ispyb.job", "--new", f"--dcid={job.dcid}")
    yield from (f"--source={_quoted(job.source)}", f"--recipe={_quoted(job.recipe)}")
    for sweep in job.sweeps:
        yield f"--add-sweep={sweep.dcid}:{sweep.start}:{sweep.end}"
    for parameter in job.parameters:
        yield f"--add-param={_quoted(f'{parameter.key}:{parameter.value}')}"
    if job.display_name:
        yield f"--display={_in_quotes(job.display_name)}"
    if job.comment:
        yield f"--comment={_in_quotes(job.comment)}"
    if job.autostart:
        yield "--trigger"
    for variable in job.trigger_variables:
        yield f"--trigger-variable={_quoted(f'{variable.key}:{variable.value}')}"


def _quoted(text: str) -> str:
    return shlex.quote(text) if text.isprintable() else _escaped(text)


def _in_quotes(text: str) -> str:
    if not text.isprintable():
        return _escaped(text)
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _escaped(text: str) -> str:
    r"""Quote text of which a part can't stand in a line, as bash and zsh read it: `$'two\x0alines'`.

    A NUL is left out: no argument of a program has one.
    """
    return f"$'{''.join(map(_escaped_character, text))}'"


def _escaped_character(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape") if byte)
