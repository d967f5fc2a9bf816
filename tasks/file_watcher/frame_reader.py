"""Say how many frames of an HDF5 master are stored. A program: its lines in and out are JSON.

It imports nothing of Plaza, so that it starts quickly. It keeps handles of data files only: the master is opened to
read the layout of its virtual dataset, and closed again. It holds no locks: a reader's lock would keep a detector
from opening its own file again.
"""

import fcntl
import json
import os
import sys
from bisect import bisect_right
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DATA = "/entry/data/data"

# What HDF5 says of files that are being created, copied or opened by their writer. All pass.
_PASSING = (
    "address of object past end of allocation",
    "truncated file: eof =",
    "file is not already open for SWMR writing",
    "file is already open for write",
    "bad object header version number",
    "SWMR read access flag not the same",
)


class UnusableFileError(Exception):
    """A file isn't what it should be, and waiting won't help."""


class NotYetError(Exception):
    """A file isn't ready, and may be later."""


@dataclass(frozen=True)
class Block:
    """Consecutive images in one dataset: `count` of them from image `first` on (from 0), which is its frame `frame`."""

    first: int
    count: int
    file: Path
    dataset: str
    frame: int


@dataclass(frozen=True)
class Answer:
    """What a look found: images there, images expected (None: not known yet), and what is missing next."""

    found: int
    expected: int | None
    waiting_for: str | None


class FrameReader:
    """Looks at one master and its data files, one data file at a time."""

    def __init__(self, master: str) -> None:
        self._master = Path(master)
        self._blocks: tuple[Block, ...] | None = None
        self._data: DataFile | None = None

    def look(self, seen: int, limit: int) -> Answer:
        """Return how many images from number `seen` (from 0) on are stored, in order, at most `limit`.

        Raises
        ------
        UnusableFileError
            The master or a data file isn't what it should be.
        """
        found, waiting_for = 0, None
        try:
            self._blocks = self._blocks or read_layout(self._master)
            while found < limit and (block := self._block_of(seen + found)):
                offset = seen + found - block.first
                wanted = min(limit - found, block.count - offset)
                there = self._open(block).count_stored(block.frame + offset, wanted)
                found += there
                if there < wanted:
                    waiting_for = f"image {seen + found + 1} in {block.file}"
                    break
        except (NotYetError, OSError, RuntimeError, KeyError) as error:
            waiting_for = self._explain(error, seen + found)
            self.close()
        return Answer(found, self._expected, waiting_for)

    def close(self) -> None:
        """Close the data file."""
        if self._data:
            self._data.close()
        self._data = None

    @property
    def _expected(self) -> int | None:
        return None if self._blocks is None else self._blocks[-1].first + self._blocks[-1].count

    def _block_of(self, image: int) -> Block | None:
        assert self._blocks is not None, "the layout wasn't read"
        if image >= (self._expected or 0):
            return None
        return self._blocks[bisect_right(self._blocks, image, key=lambda block: block.first) - 1]

    def _open(self, block: Block) -> "DataFile":
        if self._data and self._data.block == block:
            self._data.refresh()
        else:
            self.close()
            self._data = DataFile(block)
        return self._data

    def _explain(self, error: Exception, image: int) -> str:
        """Say which file has to be waited for, or raise UnusableFileError if waiting won't help."""
        block = self._block_of(image) if self._blocks else None
        file = block.file if block else self._master
        if not file.exists():
            return f"{file}, which isn't there"
        if is_passing(error) or file.stat().st_size == 0:
            return f"{file}, which can't be read yet ({error})"
        raise UnusableFileError(f"{file} can't be read: {error}") from error


class DataFile:
    """An open data file of a block."""

    def __init__(self, block: Block) -> None:
        import h5py

        self.block = block
        _check_unlocked(block.file)
        self._file = h5py.File(block.file, "r", swmr=True)
        try:
            self._dataset = self._find_dataset()
            self._is_complete = self._has_all_chunks()
        except BaseException:
            self._file.close()
            raise

    def refresh(self) -> None:
        """Take in what the writer has flushed since; without this an open file stays as it was first seen."""
        if not self._is_complete:
            self._dataset.refresh()

    def count_stored(self, frame: int, wanted: int) -> int:
        """Return how many frames are stored without a gap, from one on, at most `wanted`."""
        if self._is_complete:
            return wanted
        return next((there for there in range(wanted) if not self._is_stored(frame + there)), wanted)

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def _find_dataset(self) -> Any:
        try:
            dataset = self._file[self.block.dataset]
        except KeyError:
            raise NotYetError(f"no dataset {self.block.dataset} yet") from None
        if dataset.chunks is None:
            raise UnusableFileError(
                f"{self.block.file}: the dataset {self.block.dataset} should be chunked, one image to a chunk"
            )
        return dataset

    def _has_all_chunks(self) -> bool:
        # Asking for a chunk costs as much as there are chunks (0.5 ms at 3600). A finished file needs one question.
        shape, chunks = self._dataset.shape, self._dataset.chunks
        is_long_enough = shape[0] >= self.block.frame + self.block.count
        return is_long_enough and chunks == (1, *shape[1:]) and self._dataset.id.get_num_chunks() == shape[0]

    def _is_stored(self, frame: int) -> bool:
        # The shape says nothing (it may be full from the start), and reading gives zeros: only a chunk's size tells.
        chunk = frame - frame % self._dataset.chunks[0]
        return self._dataset.id.get_chunk_info_by_coord((chunk, *[0] * (self._dataset.ndim - 1))).size > 0


def is_passing(error: Exception) -> bool:
    """Tell whether an error of HDF5 is one that a file in the making gives."""
    return isinstance(error, NotYetError) or any(text in str(error) for text in _PASSING)


def read_layout(master: Path) -> tuple[Block, ...]:
    """Read which frames of which files the images of a master are.

    Raises
    ------
    UnusableFileError
        There is no virtual dataset, or it isn't made of contiguous blocks of whole images.
    """
    import h5py

    _check_unlocked(master)
    with h5py.File(master, "r", swmr=True) as file:
        data = file.get(DATA)
        if not isinstance(data, h5py.Dataset) or not data.is_virtual:
            raise UnusableFileError(f"{master} should have a virtual dataset {DATA}, as NXmx masters have")
        sources = [(_extent(source.vspace, master), source) for source in data.virtual_sources()]
        blocks: list[Block] = []
        images, end = 0, 0
        for (start, count), source in sorted(sources, key=lambda extent_and_source: extent_and_source[0]):
            frame, frames = _extent(source.src_space, master, all_of=count)
            if frames != count or start < end:
                raise UnusableFileError(f"{master}: {DATA} should map each image to one frame of one file")
            blocks.append(Block(images, count, *_locate(file, master, source), frame))
            images, end = images + count, start + count
    if not blocks:
        raise UnusableFileError(f"{master}: {DATA} maps no images")
    return tuple(blocks)


def _check_unlocked(path: Path) -> None:
    """Raise NotYetError if a writer that doesn't use SWMR has the file open: it locks the file till it's done."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYetError("its writer has locked it") from None
        except OSError:
            return  # a file system without locks


def _extent(space: Any, master: Path, all_of: int | None = None) -> tuple[int, int]:
    """Return the first frame and the number of frames of a selection.

    A whole source doesn't know its size, since nobody has opened its file: then it is `all_of` the images mapped to it.
    """
    import h5py

    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, space.shape[0] if all_of is None else all_of
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = (axes[0] for axes in space.get_regular_hyperslab())
        if h5py.h5s.UNLIMITED not in (count, block) and (count == 1 or stride == block):
            return start, count * block
    raise UnusableFileError(f"{master}: {DATA} should map contiguous blocks of images")


def _locate(file: Any, master: Path, source: Any) -> tuple[Path, str]:
    """Return file and dataset of a block. A source "." is the master itself, where mostly an external link stands."""
    import h5py

    if source.file_name != ".":
        return master.parent / source.file_name, source.dset_name
    link = file.get(source.dset_name, getlink=True)
    if link is None:
        raise UnusableFileError(f"{master}: {DATA} maps {source.dset_name}, which isn't in the file")
    if isinstance(link, h5py.ExternalLink):
        return master.parent / link.filename, link.path
    return master, source.dset_name


def main() -> None:
    """Answer questions, one JSON line each, until there are no more: when the asker is gone, so is this."""
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    reader = FrameReader(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = asdict(reader.look(**json.loads(line)))
        except UnusableFileError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
