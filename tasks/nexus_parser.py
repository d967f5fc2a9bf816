"""Find all files that belong to a NeXus master, and count the images that they hold."""

from collections.abc import Iterator, Mapping
from os.path import normpath
from pathlib import Path
from typing import Any

from blocks.errors import MessageRefused
from tasks.step import USUAL_RETRIES, Message, NodePlan, Send, StepContext, StepParameters, message_step

SUCCESSFUL = "DataCollection Successful"
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
    """
    master = parameters.file or (message.payload.get("file") if isinstance(message.payload, Mapping) else None)
    if not master or not isinstance(master, str):
        raise MessageRefused(NO_FILE)
    if not Path(master).exists():
        yield from _complain(f"File {master} not found", parameters, context)
        return
    related = count_images(Path(master))
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


def count_images(master: Path) -> dict[str, int | None]:
    """Return all files of a data set with the number of images in each; None for one that is missing or unreadable.

    Files are the master and the targets of all external links within it. Images are counted for the links `data_*`
    of /entry/data; a data set whose last chunk is empty counts as none.

    Raises
    ------
    MessageRefused
        The file isn't HDF5, has no /entry/data, or links a file to two data sets.
    OSError
        The file system doesn't answer now.
    """
    import h5py

    try:
        # Without a lock, which would keep a writer from opening the file again.
        with h5py.File(master, "r", swmr=True, locking=False) as file:
            data = file.get("/entry/data")
            if not isinstance(data, h5py.Group):
                raise MessageRefused(f"{master} should be a NeXus file with a group /entry/data, and has none")
            counts = _count_data(data, master)
            others = {_target(link, master) for link in _external_links(file, set())} - set(counts)
            return counts | {other: 0 if Path(other).is_file() else None for other in sorted(others)}
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) and USUAL_RETRIES.may_pass(error):
            raise
        raise MessageRefused(f"{master} can't be read as a NeXus file: {error}") from error


def _count_data(data: Any, master: Path) -> dict[str, int | None]:
    import h5py

    own_images, counts = 0, dict[str, int | None]()
    for name in data:
        if not name.startswith("data_"):
            continue
        link = data.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            own_images += _count_frames(data, name) or 0
            continue
        target = _target(link, master)
        if target in counts:
            raise MessageRefused(f"{master} links two data sets to {target}: how many images it holds isn't clear")
        counts[target] = _count_frames(data, name)
    return {_absolute(master): own_images} | counts


def _count_frames(data: Any, name: str) -> int | None:
    try:
        dataset = data[name]
        shape, chunks = dataset.shape, dataset.chunks
        if shape[0] == 0 or chunks is None:
            return shape[0]
        # The shape may be full from the start: what was never written has no last chunk.
        last = tuple((length - 1) // chunk * chunk for length, chunk in zip(shape, chunks, strict=True))
        return shape[0] if dataset.id.get_chunk_info_by_coord(last).size else 0
    except (OSError, RuntimeError, KeyError, AttributeError, IndexError):
        # AttributeError, IndexError: the link leads to a group or to a single number.
        return None


def _external_links(group: Any, visited: set[Any]) -> Iterator[Any]:
    """Yield the external links of a group and of the groups in it, each group once: hard links may go in circles."""
    import h5py

    visited.add(group.id)
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield link
        elif isinstance(link, h5py.HardLink) and group.get(name, getclass=True) is h5py.Group:
            child = group[name]
            if child.id not in visited:
                yield from _external_links(child, visited)


def _target(link: Any, master: Path) -> str:
    return _absolute(master.parent / link.filename)


def _absolute(path: Path) -> str:
    return normpath(path.absolute())
