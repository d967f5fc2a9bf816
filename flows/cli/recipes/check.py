"""`plaza recipe check` and `plaza recipe schema`: find what is wrong with recipes before they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.display_text import printable


def check(
    files: Annotated[list[Path], typer.Argument(help="Recipe files; - for standard input.", show_default=False)],
    structure: Annotated[
        bool, typer.Option("--structure", help="Only the rules of the language, whatever the steps are.")
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="Name of a placeholder that the run's parameters will fill; may be given again."),
    ] = None,
) -> None:
    """Check recipes: their structure, and each node against the step that serves it.

    Prints each problem as `file: node: what, expected, seen`. Exit status 1 if there are others than warnings.
    """
    if structure:
        _validate(files)
        return
    from flows.recipe.check.placeholder_sources import PlaceholderSources
    from flows.recipe.check.recipe import check_file, errors

    sources, is_sound = PlaceholderSources(parameter or ()), True
    for file in files:
        problems = check_file(file, sources)
        is_sound = is_sound and not errors(problems)
        for problem in problems:
            typer.echo(printable(f"{file}: {problem}"))
    raise typer.Exit(0 if is_sound else 1)


def _validate(files: list[Path]) -> None:
    from flows.recipe.check.problem import validate_file

    faulty = {file: problems for file in files if (problems := validate_file(file))}
    for file, problems in faulty.items():
        for problem in problems:
            typer.echo(printable(f"{file}: {problem}"))
    if faulty:
        typer.echo(printable(f"Errors found in the following recipes: {', '.join(map(str, faulty))}"))
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of recipes, for editors; it knows the steps that are installed here."""
    from flows.recipe.check.json_schema import schema_text

    typer.echo(schema_text(), nl=False)
