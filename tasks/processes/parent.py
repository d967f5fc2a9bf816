"""A child process's end of the lines between it and its parent; see `tasks.processes.child`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO


@contextmanager
def lines_to_parent() -> Iterator[Callable[[str], None]]:
    """Give what sends a line to the parent. What a library prints meanwhile goes to standard error, among its logs.

    Raises
    ------
    BrokenPipeError
        By the sender: the parent is gone.
    """
    sys.stdout.flush()
    # Of file descriptors, not of sys.stdout: HDF5 and DIALS print from C, past Python.
    pipe = FileIO(os.dup(1), "w")
    os.dup2(2, 1)
    with pipe:
        yield lambda line: _write(pipe, line.encode() + b"\n")


def _write(pipe: FileIO, line: bytes) -> None:
    while line:  # of a long one, a pipe takes a part at a time
        line = line[pipe.write(line) :]
