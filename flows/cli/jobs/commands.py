"""`plaza job …`: processing jobs in ISPyB, and the programs that process them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from blocks.errors import ConfigurationError, MessageRefused, UnknownJob
from blocks.identifiers import Dcid, JobId, parse_dcid, parse_job_id
from flows.cli.ispyb.by_hand import fulfil_by_hand
from flows.cli.ispyb.option import IspybURL, open_ispyb
from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from flows.mimas.backlog import HeldJob
    from tasks.ispyb_access.overviews.jobs import Job, Program
    from tasks.step.ports import FailedLaunch, LaunchedRecipe


class JobGroup(TyperGroup):
    """Takes a job's number in place of a command's name: shows the job."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command and its arguments."""
        return super().resolve_command(ctx, ["show", *args] if args[0].isdecimal() else args)


app = typer.Typer(
    cls=JobGroup,
    help="Show, list, create and update processing jobs: `plaza job JOB` shows one.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MESSAGE = "message-"
"""How the names of held messages begin that name no job."""
JobNumber = Annotated[
    int, typer.Argument(metavar="JOB", help="The job's number in ISPyB.", show_default=False, parser=integer)
]
DisplayName = Annotated[str | None, typer.Option("--display-name", help="What people see; cut at 80 characters.")]
Comment = Annotated[str | None, typer.Option(help="Cut at 255 characters.")]


@app.command()
def show(
    job_id: JobNumber,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="The programs' files and command lines too.")
    ] = False,
    as_json: AsJson = False,
    ispyb: IspybURL = None,
) -> None:
    """Show a job: its parameters and images, its programs and how they stand."""
    from flows.cli.jobs.output import job_text
    from tasks.ispyb_access.overviews.jobs import read_job

    with open_ispyb(ispyb) as engine:
        job = read_job(engine, parse_job_id(job_id))
    if as_json:
        typer.echo(_as_json(job))
    else:
        job_text(job, verbose=verbose)


@app.command("list")
def list_(
    dcid: Annotated[
        int | None, typer.Option(help="Of this data collection, or with images of it.", parser=integer)
    ] = None,
    beamline: Annotated[str | None, typer.Option(help="Of this beamline, as in i03.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = 20,
    as_json: AsJson = False,
    ispyb: IspybURL = None,
) -> None:
    """List the newest jobs, newest first, with the status of their last program."""
    from flows.cli.jobs.output import job_table
    from tasks.ispyb_access.overviews.jobs import list_jobs

    with open_ispyb(ispyb) as engine:
        jobs = list_jobs(engine, None if dcid is None else parse_dcid(dcid), beamline, count)
    if as_json:
        for job in jobs:
            typer.echo(_as_json(job))
    elif jobs:
        job_table(jobs)
    else:
        typer.echo("No jobs.")


@app.command()
def create(
    dcid: Annotated[int, typer.Option(help="The data collection; 0: only the sweeps count.", parser=integer)],
    recipe: Annotated[str, typer.Option(help="What processes it: the recipe ispyb-RECIPE.")],
    parameters: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Any number.")] = None,
    sweeps: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="DCID:START:END", help="Any number; without: all images of the collection."),
    ] = None,
    display_name: DisplayName = None,
    comment: Comment = None,
    source: Annotated[
        str, typer.Option(help="Who wants it; `automatic`: as if Mimas had asked for it, which makes it once.")
    ] = "user",
    autostart: Annotated[bool, typer.Option("--autostart", help="Start its recipe at once, on the site.")] = False,
    variables: Annotated[
        list[str] | None,
        typer.Option("--trigger-variable", metavar="KEY=VALUE", help="What the recipe is started with. Any number."),
    ] = None,
    as_json: AsJson = False,
    ispyb: IspybURL = None,
) -> None:
    """Create a job and print its number."""
    from flows.site.running_site import use_running_site
    from tasks.ispyb_access.writing.requests import Request

    if autostart:
        use_running_site()  # without a site it fails here, before anything is written
    wanted = {
        "DCID": dcid,
        "recipe": recipe,
        "source": source,
        "displayname": display_name,
        "comment": comment,
        "autostart": autostart,
        "parameters": [_key_value(text, "--param") for text in parameters or ()],
        "triggervariables": [_key_value(text, "--trigger-variable") for text in variables or ()],
        "sweeps": [_sweep(text) for text in sweeps or ()],
    }
    outcome = fulfil_by_hand(Request("create_ispyb_job", (wanted,), {}), ispyb)
    typer.echo(json.dumps({"job": outcome.value}) if as_json else outcome.value)
    if autostart:
        (announcement,) = outcome.announcements
        _start(recipe, Dcid(dcid) if dcid else None, JobId(int(outcome.value)), announcement.payload["parameters"])


@app.command()
def held(as_json: AsJson = False) -> None:
    """List the jobs that are held until somebody starts them, the one first that has waited longest."""
    from flows.cli.jobs.output import held_table
    from flows.mimas.backlog import Backlog

    jobs = Backlog.of().held()
    if as_json:
        for job in jobs:
            typer.echo(json.dumps({"name": job.name, **job.model_dump(mode="json")}))
    elif jobs:
        held_table(jobs)
    else:
        typer.echo("No job is held.")


@app.command()
def start(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="The job's number in ISPyB, or what `plaza job held` calls it.", show_default=False
        ),
    ],
    ispyb: IspybURL = None,
) -> None:
    """Start a job's recipe on the site, such as that of a job that is held; what runs already isn't started again."""
    from flows.mimas.backlog import Backlog
    from flows.site.running_site import use_running_site

    use_running_site()
    backlog = Backlog.of()
    is_message = job.startswith(MESSAGE)
    held_job = backlog.find(job if is_message else parse_job_id(integer(job)))
    if not is_message:
        _start_job(parse_job_id(integer(job)), held_job.variables if held_job else {}, ispyb)
    elif held_job is None:
        raise UnknownJob(f"{job!r:.200} isn't held: expected a name that `plaza job held` lists, or a job's number")
    else:
        _start_message(held_job)
    if held_job is None:
        return
    try:  # only now: should this process die before, it's still held
        backlog.release(held_job)
    except OSError as error:
        typer.echo(f"plaza: it runs, but {backlog.path} still lists it as held: {error}", err=True)


def _start_job(job_id: JobId, variables: Mapping[str, Any], ispyb: str | None) -> None:
    from tasks.ispyb_access.overviews.jobs import read_job

    with open_ispyb(ispyb) as engine:
        job = read_job(engine, job_id)
    if not job.recipe:
        raise MessageRefused(f"job {job_id} names no recipe: say which with `plaza job update {job_id} --recipe …`")
    _start(job.recipe, job.dcid, job_id, variables)


def _start_message(held_job: HeldJob) -> None:
    """Start what a held message names, as the dispatcher would; ISPyB is the site's."""
    import asyncio

    from flows.events.dispatcher_step import launch_of_event
    from flows.events.dispatching import dispatch
    from flows.events.request import RunRequest
    from flows.resources import SiteResources

    async def launch() -> Sequence[LaunchedRecipe | FailedLaunch]:
        async with SiteResources() as resources:
            found = await dispatch(RunRequest.model_validate(held_job.message), held_job.name, resources)
            launches = [launch_of_event(event, held_job.name) for event in found.events]
            return await resources.launcher.launch([*launches, *([found.launch] if found.launch else [])])

    for launched in asyncio.run(launch()):
        _tell(launched, f"{held_job.name} is still held", held_job.name)


@app.command()
def update(
    job_id: JobNumber,
    display_name: DisplayName = None,
    comment: Comment = None,
    recipe: Annotated[str | None, typer.Option(help="What processes it: the recipe ispyb-RECIPE.")] = None,
    status: Annotated[
        str | None, typer.Option(help="How its program stands: success, failure or running. An end is final.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="What its program has to say; cut at 80 characters.")] = None,
    program: Annotated[
        int | None, typer.Option(help="Which of its programs; without: the only one.", parser=integer)
    ] = None,
    as_json: AsJson = False,
    ispyb: IspybURL = None,
) -> None:
    """Change what is given of a job, and of its program, in one transaction; then show the job."""
    from tasks.ispyb_access.overviews.jobs import read_job
    from tasks.ispyb_access.writing.composite_commands import MULTIPART
    from tasks.ispyb_access.writing.requests import Request

    changes = {"displayname": display_name, "comment": comment, "recipe": recipe}
    if not any((*changes.values(), status, message)):
        raise typer.BadParameter("say what to change: --display-name, --comment, --recipe, --status or --message")
    if status not in {None, "success", "failure", "running"}:
        raise typer.BadParameter(f"expected success, failure or running, seen {status!r}", param_hint="--status")
    with open_ispyb(ispyb) as engine:
        before = read_job(engine, parse_job_id(job_id))
    items: list[dict[str, Any]] = [{"ispyb_command": "update_ispyb_job", "job_id": job_id, **changes}]
    if status or message or program is not None:
        items.append(_program_update(before.changeable_program(program), status, message))
    fulfil_by_hand(Request(MULTIPART, ({"ispyb_command_list": items},), {}), ispyb)
    show(job_id, as_json=as_json, ispyb=ispyb)


def _program_update(program: Program, status: str | None, message: str | None) -> dict[str, Any]:
    """Return the command that says how a program stands."""
    from datetime import datetime

    now = datetime.now()
    return {
        "ispyb_command": "update_processing_status",
        "program_id": program.id,
        "status": status,
        "message": message,
        "start_time": now,
        "update_time": now,
    }


def _start(recipe: str, dcid: Dcid | None, job_id: JobId, variables: Mapping[str, Any]) -> None:
    """Start a job's recipe on the site, or say that it can't be.

    Raises
    ------
    ConfigurationError
        It isn't deployed, or Prefect's API doesn't answer: the job stays as it is.
    """
    import asyncio

    from flows.mimas.launches import jobs
    from flows.mimas.launches.patient_launcher import PatientLauncher
    from flows.resources import SiteResources
    from flows.run_marks import JOB_RECIPE_PREFIX

    async def launch() -> LaunchedRecipe | FailedLaunch:
        async with SiteResources() as resources:
            launcher = PatientLauncher(resources.launcher, patience_s=0)  # a person waits, and can try again
            name = JOB_RECIPE_PREFIX + recipe
            return await jobs.start(launcher, name, dcid or None, job_id, variables, "by hand")

    _tell(asyncio.run(launch()), f"job {job_id} is in ISPyB", str(job_id))


def _tell(launched: LaunchedRecipe | FailedLaunch, kept: str, name: str) -> None:
    from tasks.step.ports import FailedLaunch

    if isinstance(launched, FailedLaunch):
        raise ConfigurationError(
            f"{kept}, but its recipe {launched.recipe} could not be started: {launched.reason}. "
            f"See `plaza status` and `plaza deploy`; then: plaza job start {name}"
        )
    word = "is taken up again" if launched.taken_up else "has a run already" if launched.earlier else "starts"
    stood = f" ({launched.state})" if launched.state else ""
    typer.echo(f"recipe {launched.recipe} {word}: run {launched.flow_run_id}{stood}", err=True)


def _key_value(text: str, option: str) -> dict[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise typer.BadParameter(f"expected KEY=VALUE, seen {text!r}", param_hint=option)
    return {"key": key, "value": value}


def _sweep(text: str) -> dict[str, int]:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"expected DCID:START:END, seen {text!r}", param_hint="--sweep")
    return dict(zip(("DCID", "start", "end"), map(int, parts), strict=True))


def _as_json(job: Job) -> str:
    return json.dumps(asdict(job) | {"status": job.status}, default=lambda moment: moment.isoformat())
