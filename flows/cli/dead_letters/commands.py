"""`plaza dlq …`: messages that no step could use, and what to do with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import structs, to_builtins

from blocks.errors import ConfigurationError, DamagedDeadLetter, PlazaError, UnknownDeadLetter
from blocks.identifiers import parse_dcid
from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
    from flows.recipe.run_record.dead_letters.selection import DeadLetterSelection
    from flows.recipe.run_record.dead_letters.store import DeadLetters

app = typer.Typer(help="Look at messages that no step could use, and deal with them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="ID", help="The dead letter: its id, or the start of it.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Dead letters: ids, or the start of them.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters, or all that the options choose.")]
Run = Annotated[str | None, typer.Option(help="Of this recipe run: its id or recipe ID, or the start of one.")]
OfRecipe = Annotated[str | None, typer.Option("--recipe", help="Of runs of this recipe.")]
OfStep = Annotated[str | None, typer.Option("--step", help="Of this step: its name, its queue, or its node's number.")]
OfDcid = Annotated[int | None, typer.Option(help="Of this data collection.", parser=integer)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

SOME, CAN_NOT_SAY = 1, 2  # exit statuses: as with Zocalo's dlq_check, scripts see whether there are any


@app.command("list")
def list_(
    run: Run = None, recipe: OfRecipe = None, step: OfStep = None, dcid: OfDcid = None, as_json: AsJson = False
) -> None:
    """List the dead letters, oldest first.

    Exits with 0 if there are none, with 1 if there are any, with 2 if that can't be found out.
    """
    from flows.cli.dead_letters.output import dead_letter_table

    damaged: list[DamagedDeadLetter] = []
    try:
        with _dead_letters() as dead_letters:
            found = _selection(run, recipe, step, dcid).of(dead_letters, damaged.append)
    except PlazaError as error:
        typer.echo(f"plaza: {error}", err=True)
        raise typer.Exit(CAN_NOT_SAY) from error
    if as_json:
        for dead_letter in found:
            typer.echo(json.dumps({"id": dead_letter.name, **to_builtins(dead_letter)}))
    elif found:
        dead_letter_table(found)
    elif not damaged:
        typer.echo("No dead letters.")
    _report(damaged)
    if found or damaged:
        raise typer.Exit(SOME)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Print all that is known of a dead letter."""
    from flows.cli.dead_letters.output import dead_letter_text

    with _dead_letters() as dead_letters:
        dead_letter = dead_letters.get(name)
    if as_json:
        typer.echo(json.dumps({"id": dead_letter.name, **to_builtins(dead_letter)}, indent=2))
    else:
        dead_letter_text(dead_letter)


@app.command()
def reinject(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ID|FILE]…", help="Dead letters, or files of purged ones.")
    ] = None,
    all_: All = False,
    run: Run = None,
    recipe: OfRecipe = None,
    step: OfStep = None,
    dcid: OfDcid = None,
) -> None:
    """Have messages handled once more, as they now are (see `plaza dlq edit`); their recipe runs go on from there."""
    from flows.site.running_site import use_running_site

    selection = _selection(run, recipe, step, dcid)
    _check_choice(names, all_, selection)
    use_running_site()
    from flows.recipe.reinject import reinject as reinject_dead_letters

    failed = False
    with _dead_letters() as dead_letters:
        chosen = _named(dead_letters, names) if names else _selected(dead_letters, selection)
        for reinjection in reinject_dead_letters(dead_letters, chosen):
            if reinjection.error:
                typer.echo(f"plaza: {reinjection.error}", err=True)
                failed = True
            else:
                typer.echo(f"re-injected {_count(len(reinjection.dead_letters))}: {reinjection.message}")
    if failed:
        raise typer.Exit(1)


@app.command()
def edit(
    name: Name,
    payload: Annotated[str | None, typer.Option(help="The new payload, as JSON.")] = None,
    payload_file: Annotated[Path | None, typer.Option(help="File of the new payload, as JSON; - for input.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the payload (JSON or text).")
    ] = None,
) -> None:
    """Change what a dead letter says: payload and environment, in $VISUAL or $EDITOR if no option says how.

    Who changed it, and when, is kept in its history.
    """
    from flows.cli.dead_letters import editing

    with _dead_letters() as dead_letters:
        old = dead_letters.get(name)
        content = {"payload": old.payload, "environment": dict(old.environment)}
        if payload is None and payload_file is None and not assignments:
            new = editing.edit_in_editor(content, old.name)
        else:
            new = {**content, "payload": editing.edited_payload(old.payload, payload, payload_file, assignments or ())}
        if new == content:
            typer.echo(f"dead letter {old.name} stays as it is")
            return
        changed = [key for key in new if new[key] != content[key]]
        dead_letters.change(old, structs.replace(old, **new).noting(f"changed {' and '.join(changed)}"))
    typer.echo(f"changed {' and '.join(changed)} of dead letter {old.name}; see `plaza dlq reinject {old.name}`")


@app.command()
def purge(
    names: Names = None,
    all_: All = False,
    run: Run = None,
    recipe: OfRecipe = None,
    step: OfStep = None,
    dcid: OfDcid = None,
) -> None:
    """Take dead letters off the list; what they say is kept in files, which `plaza dlq reinject` takes too."""
    selection = _selection(run, recipe, step, dcid)
    _check_choice(names, all_, selection)
    with _dead_letters() as dead_letters, dead_letters.held():
        if names:
            files = {dead_letters.find(name): None for name in names}  # damaged ones too
        else:
            files = {dead_letters.file_of(dead_letter): None for dead_letter in _selected(dead_letters, selection)}
        _purge(dead_letters, files)


@app.command()
def expire(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Such as 12h, 30d or 2w.", show_default=False)],
) -> None:
    """Purge dead letters that are older than some age."""
    from flows.recipe.run_record.dead_letters.selection import DeadLetterSelection, read_age

    selection = DeadLetterSelection(older_than_s=read_age(older_than))
    with _dead_letters() as dead_letters, dead_letters.held():
        _purge(dead_letters, [dead_letters.file_of(dead_letter) for dead_letter in _selected(dead_letters, selection)])


@contextmanager
def _dead_letters() -> Iterator[DeadLetters]:
    """Give the site's dead letters; what the file system refuses is told as an error of Plaza's own."""
    from blocks.settings import get_settings
    from flows.recipe.run_record.dead_letters.store import DeadLetters

    home = get_settings().home
    try:
        if not home.is_dir():
            raise ConfigurationError(f"there is no home folder {home}: set PLAZA_HOME to that of the site")
        yield DeadLetters()
    except OSError as error:
        raise ConfigurationError(f"{error.filename or home} can't be used: {error.strerror or error}") from error


def _selection(run: str | None, recipe: str | None, step: str | None, dcid: int | None) -> DeadLetterSelection:
    from flows.recipe.run_record.dead_letters.selection import DeadLetterSelection

    return DeadLetterSelection(run, recipe, step, None if dcid is None else parse_dcid(dcid))


def _check_choice(names: Sequence[str] | None, all_: bool, selection: DeadLetterSelection) -> None:
    from flows.recipe.run_record.dead_letters.selection import DeadLetterSelection

    if bool(names) == all_:
        raise UnknownDeadLetter("name dead letters, or say --all (and --run, --recipe, --step or --dcid): one of both")
    if names and selection != DeadLetterSelection():
        raise UnknownDeadLetter("--run, --recipe, --step and --dcid go with --all, not with names")


def _named(dead_letters: DeadLetters, names: Iterable[str]) -> list[DeadLetter]:
    """Return the dead letters of some names, or of files that were purged."""
    from flows.recipe.run_record.dead_letters.dead_letter import read_dead_letter

    found = [read_dead_letter(Path(name)) if Path(name).is_file() else dead_letters.get(name) for name in names]
    return [*{dead_letter.name: dead_letter for dead_letter in found}.values()]


def _selected(dead_letters: DeadLetters, selection: DeadLetterSelection) -> list[DeadLetter]:
    damaged: list[DamagedDeadLetter] = []
    chosen = selection.of(dead_letters, damaged.append)
    _report(damaged)
    if not chosen:
        typer.echo("No such dead letters.")
    return chosen


def _purge(dead_letters: DeadLetters, files: Iterable[Path]) -> None:
    kept = [dead_letters.purge(file) for file in files]
    if kept:
        folders = ", ".join(sorted({str(file.parent) for file in kept}))
        typer.echo(f"purged {_count(len(kept))}; kept in {folders}")


def _report(damaged: list[DamagedDeadLetter]) -> None:
    for error in damaged:
        typer.echo(f"plaza: {error}", err=True)


def _count(number: int) -> str:
    return f"{number} dead letter{'s' * (number != 1)}"
