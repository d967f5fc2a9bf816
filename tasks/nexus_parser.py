"""Find all files that belong to a NeXus master, and count the images that they hold."""

from collections.abc import Iterator, Mapping

from blocks.errors import MessageRefused
from tasks.fresh_folders import is_there
from tasks.nexus.counting import count_images
from tasks.nexus.errors import UnusableMaster
from tasks.step import Message, NodePlan, Send, StepContext, StepParameters, message_step

SUCCESSFUL = "DataCollection Successful"  # the beamline's words in DataCollection.runStatus
NO_FILE = "the NeXus parser needs the path of a file, in the parameters or in the payload; saw none"


class RelatedFilesParameters(StepParameters):
    """Which master to look at, and what to expect of it.

    Parameters
    ----------
    file
        The NeXus file; the payload's `file` if there is none.
    expected_images
        How many images there should be; fewer are told on the output `error`.
    run_status
        How the data collection ended. If not well, missing images are no error.
    """

    file: str | None = None
    expected_images: int | None = None
    run_status: str | None = None

    @property
    def forgives(self) -> bool:
        """Whether missing images are to be expected, since the data collection didn't end well."""
        return self.run_status is not None and self.run_status != SUCCESSFUL


def check_master(parameters: RelatedFilesParameters, plan: NodePlan) -> None:
    """Refuse a node that has no file to look at."""
    if not parameters.file and not plan.may_bring("file"):
        raise MessageRefused(NO_FILE)


@message_step(
    queue="nexusparser.find_related_files",
    parameters=RelatedFilesParameters,
    outputs=("every", "all", "error"),
    default_output="all",
    check=check_master,
    only_sends=True,
)
def find_related_files(parameters: RelatedFilesParameters, message: Message, context: StepContext) -> Iterator[Send]:
    """Send the path of each file of a data set (`every`), then all of them (`all`), and what is missing (`error`).

    Raises
    ------
    MessageRefused
        No file is named, or it isn't a NeXus master.
    NotReady
        The master is in the making.
    """
    master = parameters.file or (message.payload.get("file") if isinstance(message.payload, Mapping) else None)
    if not master or not isinstance(master, str):
        raise MessageRefused(NO_FILE)
    if not is_there(master):
        yield from _complain(f"File {master} not found", parameters, context)
        return
    try:
        related = count_images(master)
    except UnusableMaster as error:
        raise MessageRefused(str(error)) from error
    seen = sum(count or 0 for count in related.values())
    if parameters.expected_images is not None and seen < parameters.expected_images:
        yield from _complain(_describe_gaps(related, seen, parameters.expected_images), parameters, context)
    yield from (Send({"file": file}, "every") for file in related)
    yield Send({"filelist": sorted(related)}, "all")


def _complain(text: str, parameters: RelatedFilesParameters, context: StepContext) -> Iterator[Send]:
    if parameters.forgives:
        context.logger.info("not an error, since the run's status is %r: %s", parameters.run_status, text)
        return
    context.logger.error("%s", text)
    yield Send(text, "error")


def _describe_gaps(related: Mapping[str, int | None], seen: int, expected: int) -> str:
    lines = [f"Dataset contains {seen} images instead of expected {expected} images"]
    for file, count in sorted(related.items()):
        lines.append(f"File {file} is invalid or missing" if count is None else f"File {file} contains {count} images")
    return "\n".join(lines)
