"""One way to an image's statistics, in a process of its own: `python spots_ways.py work|before|dials|own`.

Run by its path, not as a module of this package: the folder of PYTHONPATH says whose `tasks` are measured, be it
another commit's. For each line of JSON on standard input ([algorithm, [[file, range], …]]) it does these images once
and says, as a line, the CPU seconds of each, what came out, and its largest memory so far.
"""

import functools
import gc
import json
import logging
import os
import sys
import time
from pathlib import Path

OPTIONS = {"d_max": 40.0, "disable_parallax_correction": True}


def main(way):
    logging.disable(logging.INFO)  # as in Plaza's processes: DIALS formats what nobody reads
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever DIALS prints is no answer
    prepare = functools.cache(
        {"work": prepare_work, "before": prepare_before, "dials": prepare_dials, "own": prepare_own}[way]
    )
    prepare("dispersion")
    gc.freeze()
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        algorithm, images = json.loads(line)
        analyse = prepare(algorithm)
        seconds, found = [], []
        for file, scan_range in images:
            start = time.process_time()
            result = analyse(file, tuple(scan_range) if scan_range else None)
            seconds.append(time.process_time() - start)
            found.append(result)
        answers.write(json.dumps({"seconds": seconds, "found": found, "peak_mb": peak_mb()}) + "\n")
        answers.flush()


def peak_mb():
    """Return the largest memory of this process, MB; that of getrusage begins with its parent's."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def prepare_work(algorithm):
    """DIALS's own function, as Zocalo's service calls it."""
    import hdf5plugin  # noqa: F401
    from dials.command_line.find_spots_server import work

    arguments = [
        f"spotfinder.filter.d_max={OPTIONS['d_max']}",
        f"spotfinder.filter.disable_parallax_correction={OPTIONS['disable_parallax_correction']}",
        f"spotfinder.threshold.algorithm={algorithm}",
    ]

    def analyse(file, scan_range):
        chosen = ["spotfinder.scan_range={},{}".format(*scan_range)] if scan_range else []
        return {name: value for name, value in work(file, arguments + chosen).items() if name in NINE}

    return analyse


NINE = (
    "d_min_distl_method_1",
    "d_min_distl_method_2",
    "estimated_d_min",
    "n_spots_4A",
    "n_spots_no_ice",
    "n_spots_total",
    "noisiness_method_1",
    "noisiness_method_2",
    "total_intensity",
)


def prepare_before(algorithm):
    """The analyser, as a commit had it that knew one way only."""
    from tasks.diffraction.analyser import Analyser
    from tasks.diffraction.requests import SpotFindingOptions

    analyser = Analyser(SpotFindingOptions(threshold_algorithm=algorithm, **OPTIONS))
    return lambda file, scan_range: analyser.analyse(file, scan_range).as_payload()


def prepare_own(algorithm, by_dials=None):
    """The analyser, in its own way where it's proven; or by DIALS."""
    from tasks.diffraction.analyser import Analyser
    from tasks.diffraction.requests import ImageRequest, SpotFindingOptions

    options = SpotFindingOptions(threshold_algorithm=algorithm, **OPTIONS)
    analyser = Analyser(options)

    def analyse(file, scan_range):
        analysis = analyser.examine(ImageRequest(file, options, scan_range, by_dials=by_dials))
        return analysis.statistics.as_payload() | {"by_dials": analysis.by_dials}

    return analyse


def prepare_dials(algorithm):
    """The analyser, had to do it by DIALS: what images cost that its own way isn't proven for."""
    return prepare_own(algorithm, by_dials="it's measured")


if __name__ == "__main__":
    main(*sys.argv[1:])
