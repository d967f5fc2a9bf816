"""A detector: a program that writes an NXmx master and data files as told, line by line, on standard input.

Orders: `master`, `open FILE`, `write FILE N` (image N of that file, not flushed), `flush FILE`, `close FILE`.
Each is answered with the order itself.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

SHAPE = (8, 8)


def write_master(folder, per_file, source_is_link):
    """Write scan.nxs, whose images stand in scan_1.h5, scan_2.h5 …, as many in each as told."""
    layout = h5py.VirtualLayout((sum(per_file), *SHAPE), "u4")
    with h5py.File(folder / "scan.nxs.part", "w", libver=("v110", "v110")) as master:
        data, start = master.create_group("entry/data"), 0
        for number, count in enumerate(per_file, 1):
            name, path = f"scan_{number}.h5", "/data"
            if source_is_link:
                data[f"data_{number:06d}"] = h5py.ExternalLink(name, path)
                name, path = ".", f"/entry/data/data_{number:06d}"
            layout[start : start + count] = h5py.VirtualSource(name, path, (count, *SHAPE), "u4")
            start += count
        data.create_virtual_dataset("data", layout)
    (folder / "scan.nxs.part").rename(folder / "scan.nxs")


class Writer:
    """One data file under SWMR, pre-sized or growing."""

    def __init__(self, path, count, presized):
        self.file = h5py.File(path, "w", libver=("v110", "v110"))
        shape = (count if presized else 0, *SHAPE)
        self.data = self.file.create_dataset("data", shape, "u4", maxshape=(None, *SHAPE), chunks=(1, *SHAPE))
        self.file.swmr_mode = True

    def write(self, frame):
        """Write a frame without flushing it."""
        if frame >= self.data.shape[0]:
            self.data.resize(frame + 1, axis=0)
        self.data[frame] = np.full(SHAPE, frame + 1)


def main():
    """Do as told until there is nothing more to do."""
    folder, presized, source_is_link = Path(sys.argv[1]), sys.argv[2] == "presized", sys.argv[3] == "link"
    per_file = [int(count) for count in sys.argv[4:]]
    writers = {}
    for order in sys.stdin:
        match order.split():
            case ["master"]:
                write_master(folder, per_file, source_is_link)
            case ["open", number]:
                writers[number] = Writer(folder / f"scan_{number}.h5", per_file[int(number) - 1], presized)
            case ["write", number, frame]:
                writers[number].write(int(frame) - 1)
            case ["flush", number]:
                writers[number].data.flush()
            case ["close", number]:
                writers.pop(number).file.close()
        sys.stdout.write(order)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
