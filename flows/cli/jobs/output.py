"""How processing jobs look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.cli.tables import print_table
from flows.display_text import one_line

if TYPE_CHECKING:
    from flows.mimas.backlog import HeldJob
    from tasks.ispyb_access.overviews.jobs import Job, Program

TITLES = ("job", "dcid", "recipe", "shown as", "asked for by", "recorded", "status")
HELD_TITLES = ("job", "dcid", "recipe", "beamline", "waits for room on", "held since")
COLOURS = {"success": "green", "failure": "red", "running": "cyan"}


def job_table(jobs: Sequence[Job]) -> None:
    """Print a line for each job."""
    rows = [
        (
            str(job.id),
            str(job.dcid or ""),
            job.recipe or "",
            job.display_name or "",
            "Mimas" if job.automatic else "a person",
            f"{job.recorded:%Y-%m-%d %H:%M:%S}" if job.recorded else "",
            Text(job.status, COLOURS.get(job.status, "")),
        )
        for job in jobs
    ]
    print_table(TITLES, rows)


def held_table(jobs: Sequence[HeldJob]) -> None:
    """Print a line for each held job."""
    rows = [
        (
            str(job.job_id or job.name),
            str(job.dcid or ""),
            job.recipe or ", ".join(map(str, job.message.get("recipes") or ())),
            job.beamline or "",
            job.cluster,
            f"{job.since.astimezone():%Y-%m-%d %H:%M:%S}",
        )
        for job in jobs
    ]
    print_table(HELD_TITLES, rows)


def job_text(job: Job, *, verbose: bool) -> None:
    """Print all of a job; `verbose`: the programs' command lines and files too."""
    console = Console(highlight=False, soft_wrap=True)
    facts = {
        "job": f"{job.id}{' (automatic)' if job.automatic else ''}",
        "recipe": f"{job.recipe or 'none'}",
        "shown as": job.display_name or "",
        "comment": job.comment or "",
        "dcid": "none" if job.dcid is None else job.dcid,
        "recorded": job.recorded or "",
    }
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<10}", "bold"), one_line(str(value))))
    for title, lines in (
        ("parameters", [f"{key}={value}" for key, value in job.parameters]),
        ("images", [f"dcid {dcid}: {start} to {end}" for dcid, start, end in job.sweeps]),
    ):
        console.print(Text(title if lines else f"{title}: none", "bold"))
        for line in lines:
            console.print(Text(f"  {one_line(line)}"))
    console.print(Text("programs" if job.programs else "programs: none", "bold"))
    for program in job.programs:
        for text in _program_lines(program, verbose=verbose):
            console.print(text)


def _program_lines(program: Program, *, verbose: bool) -> Iterator[Text]:
    style = COLOURS.get(program.status, "")
    yield Text.assemble(f"  {program.id}  {one_line(program.name or '')}  ", (program.status, style))
    facts = {
        "message": program.message,
        "started": program.started,
        # Of one that runs, ISPyB's end time is that of its last update
        "ended" if program.has_ended else "last heard of": program.ended,
    }
    if verbose:
        facts |= {"command": program.command_line, "environment": program.environment}
    for name, value in facts.items():
        if value is not None:
            yield Text(f"      {name}: {one_line(str(value))}")
    for file in program.attachments if verbose else ():
        yield Text(f"      {file.file_type}: {one_line(f'{file.file_path}/{file.file_name}')}")
