"""`plaza settings`: what can be set, as the page of the documentation."""

from __future__ import annotations

import typer


def settings() -> None:
    """Describe all settings, in Markdown."""
    typer.echo(settings_page(), nl=False)


def settings_page() -> str:
    """Return the documentation's page of settings, made of the model's own descriptions."""
    from blocks.settings import CHECKOUT, Settings

    lines = [
        "# Settings",
        "",
        "Environment variables, or lines of a file `plaza.env` in the checkout; the environment wins.",
        "This page is what `plaza settings` prints.",
        "",
        "| variable | default | |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default).replace(str(CHECKOUT), "<checkout>")
        lines.append(f"| `PLAZA_{name.upper()}` | {f'`{default}`' if default else 'unset'} | {field.description} |")
    return "\n".join(lines) + "\n"
