"""The image files that a process reads: masters are opened once; of single images only the last one stays open.

An image that is analysed and drawn, one after the other, is read once, if nobody has written to it in between.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from blocks.errors import PlazaError
from tasks.diffraction.image_files.data_set import DataSet
from tasks.diffraction.image_files.opening import open_data_set
from tasks.diffraction.requests import MASTER_SUFFIXES


class DataSets:
    """The data sets of a process: those of masters are kept, the last used ones, until their files change."""

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, DataSet] = OrderedDict()
        self._single: DataSet | None = None

    def open(self, file: str) -> DataSet:
        """Return the data set of a file.

        Raises
        ------
        ImageUnreadable
            It's missing or no format of dxtbx's reads it.
        """
        if not file.lower().endswith(MASTER_SUFFIXES):
            return self._open_single(file)
        kept = self._kept[file].as_of_now() if file in self._kept else None
        if kept is not None:
            self._kept[file] = kept
            self._kept.move_to_end(file)
            return kept
        self.forget(file)
        while len(self._kept) >= self._limit:
            self.forget(next(iter(self._kept)))
        self._kept[file] = open_data_set(file)
        return self._kept[file]

    def _open_single(self, file: str) -> DataSet:
        last, self._single = self._single, None
        if last is None or last.file != file or not last.is_unchanged:
            del last  # before the next one is read: an image may be large
            last = open_data_set(file)
        self._single = last
        return last

    @contextmanager
    def using(self, file: str) -> Iterator[DataSet]:
        """Have the data set of a file, and forget it where the next image must not be read with what is open now."""
        data_set = self.open(file)
        try:
            yield data_set
        except PlazaError:
            # What isn't stored yet stays so for whoever has read it, unless the file is opened anew.
            if not data_set.is_direct:
                self.forget(file)
            raise
        except Exception:
            # Models of a file that is being replaced may be wrong for ever: the next image reads them anew.
            self.forget(file)
            raise
        if not data_set.may_be_kept:
            self.forget(file)

    def forget(self, file: str) -> None:
        """Close and drop a file's data set, if it's kept."""
        if file in self._kept:
            self._kept.pop(file).close()
        if self._single is not None and self._single.file == file:
            self._single = None
