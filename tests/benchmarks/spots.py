"""Spots on an image: CPU time of one thread, by DIALS's `work()`, by the analyser as it was, and as it is.

    python -m tests.benchmarks.spots [--cases 6m-nxs …] [--algorithm dispersion] [--rounds 2] [--json]

Each way has a process and an environment of its own; they do the same images in turn, round by round, so that what
slows the machine slows all of them, and the ratios are of one run. Of each image the best round counts. Cases of real
images are left out where those aren't there.

The analyser as it was is that of `--before`, a commit of this repository, without the settings for `malloc` that its
processes are started with since; without git it's the one of now, told to have DIALS do it, without those settings.
"""

from __future__ import annotations

import argparse
import asyncio
import bz2
import gzip
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.diffraction.dials_processes.child import ENVIRONMENT
from tasks.diffraction.kernel import why_not_compiled
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tests.benchmarks.bench_site import load

CHECKOUT = Path(__file__).parents[2]
REAL_DATA = CHECKOUT.parent / "shared" / "data"
BEFORE = "dd333c4"
"""The last commit whose analyser had DIALS do all of it."""

FEWEST = 2
WHY_SEVERAL = "Of one alone, the file would stay open from round to round, which it doesn't when images come in."

Image = tuple[str, tuple[int, int] | None]
WAYS = ("work()", "before", "by DIALS", "now")


@dataclass(frozen=True)
class Geometry16M(Geometry):
    """A detector of an Eiger 16M's pixels."""

    @property
    def width(self) -> int:
        return 4148

    @property
    def height(self) -> int:
        return 4362


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--algorithm", choices=["dispersion", "dispersion_extended", "both"], default="both")
    parser.add_argument("--images", type=int, default=2, help="different images of each case")
    parser.add_argument("--rounds", type=int, default=2, help="times that each is done by each way; the best counts")
    parser.add_argument("--before", default=BEFORE, help="commit whose analyser is the one as it was")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.images < FEWEST:
        parser.error(f"--images: expected {FEWEST} or more; seen {arguments.images}. {WHY_SEVERAL}")
    algorithms = ["dispersion", "dispersion_extended"] if arguments.algorithm == "both" else [arguments.algorithm]
    rows = []
    with TemporaryDirectory(prefix="plaza-spots-") as folder, _before(Path(folder), arguments.before) as before:
        if not arguments.json:
            sys.stdout.write(f"{HEAD}\n")
        for case in arguments.cases:
            images = CASES[case](Path(folder), arguments.images)
            if len(images) < FEWEST:
                sys.stderr.write(f"{case}: of its real images {len(images)} are there, {FEWEST} are needed\n")
                continue
            for row in measure(images, algorithms, before, arguments.rounds):
                rows.append({"case": case} | row)
                if not arguments.json:
                    sys.stdout.write(describe(rows[-1]) + "\n")
                    sys.stdout.flush()
    report = {"rows": rows, "load": load(), "kernel": why_not_compiled() or "compiled"}
    sys.stdout.write(json.dumps(report) + "\n" if arguments.json else f"load {load()}; kernel: {report['kernel']}\n")


def measure(
    images: Sequence[Image], algorithms: Sequence[str], before: Path | None, rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield, for each algorithm, CPU ms an image of each way, ratios, and whether all say the same.

    The largest memory of a process (MB) is that since it began: of the algorithms so far.
    """
    plain = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    plain |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    programs: dict[str, tuple[str, dict[str, str]]] = {
        "work()": ("work", plain),
        "before": ("before", plain | {"PYTHONPATH": str(before)}) if before else ("dials", plain),
        "by DIALS": ("dials", plain | ENVIRONMENT),
        "now": ("own", plain | ENVIRONMENT),
    }
    children = {name: _start(way, environment) for name, (way, environment) in programs.items()}
    try:
        for child in children.values():
            assert _read(child) == "ready\n"
        for algorithm in algorithms:
            yield {"algorithm": algorithm} | _measure_in_turn(children, algorithm, images, rounds)
    finally:
        for child in children.values():
            child.kill()
            child.wait()


def _measure_in_turn(
    children: dict[str, subprocess.Popen[str]], algorithm: str, images: Sequence[Image], rounds: int
) -> dict[str, Any]:
    seconds: dict[str, list[list[float]]] = {name: [] for name in children}
    answers: dict[str, dict[str, Any]] = {}
    for _ in range(rounds + 1):  # the first makes what belongs to the data set
        for name, child in children.items():
            assert child.stdin is not None
            child.stdin.write(json.dumps([algorithm, images]) + "\n")
            child.stdin.flush()
            answers[name] = json.loads(_read(child))
            seconds[name].append(answers[name]["seconds"])
    # of each image the best round, the first left out
    cpu_ms = {
        name: 1000 * statistics.mean(min(of_image) for of_image in zip(*done[1:], strict=True))
        for name, done in seconds.items()
    }
    found = {name: [_nine(one) for one in answer["found"]] for name, answer in answers.items()}
    by_dials = [one["by_dials"] for one in answers["now"]["found"] if one["by_dials"]]
    return {
        "cpu_ms": {name: round(ms, 2) for name, ms in cpu_ms.items()},
        "to_work": round(cpu_ms["work()"] / cpu_ms["now"], 2),
        "to_before": round(cpu_ms["before"] / cpu_ms["now"], 2),
        "peak_mb": {name: round(answer["peak_mb"]) for name, answer in answers.items()},
        "same": all(one == found["work()"] for one in found.values()),
        "left_to_dials": sorted(set(by_dials)),
    }


def _nine(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "by_dials"}


def _start(way: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("spots_ways.py")), way],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _read(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"a way ended: exit code {child.wait()}; its last words are above")
    return line


@contextmanager
def _before(folder: Path, commit: str) -> Iterator[Path | None]:
    """Have the modules of a commit in a folder; None if there's no git, or no such commit."""
    place = folder / "before"
    place.mkdir()
    packed = subprocess.run(
        ["git", "-C", str(CHECKOUT), "archive", commit, "tasks", "blocks"], capture_output=True, check=False
    )
    if packed.returncode:
        sys.stderr.write(
            f"commit {commit} isn't there: `before` is today's analyser by DIALS, without malloc settings\n"
        )
        yield None
        return
    subprocess.run(["tar", "-x", "-C", str(place)], input=packed.stdout, check=True)
    yield place


def _rotation(size: str, image_format: str) -> Callable[[Path, int], list[Image]]:
    def make(folder: Path, count: int) -> list[Image]:
        plan = CollectionPlan.rotation(
            images=count,
            width_deg=0.5,
            image_format=ImageFormat(image_format),
            geometry=Geometry.of(DetectorSize(size), 0.9795, 120.0 if size == "300k" else 200.0),
        )
        sweep = asyncio.run(render(plan, folder))
        if image_format == "cbf":
            return [(str(Path(sweep.folder) / name), None) for name in sweep.file_names()]
        return [(str(Path(sweep.folder) / plan.template), (number, number)) for number in range(1, count + 1)]

    return make


def _eiger_16m(folder: Path, count: int) -> list[Image]:
    """Render 16M images in 16 bits, bitshuffle and LZ4, as an Eiger writes them.

    Their spots are those that a 6M detector around the same beam has: dxtbx predicts none on a Pilatus of this size.
    """
    from tasks.simulation.image_making.crystal import place_crystal, predict
    from tasks.simulation.image_making.nxmx import write_images, write_master
    from tasks.simulation.image_making.rendering import Renderer

    small = Geometry.of(DetectorSize.M6, 0.9795, 200.0)
    large = Geometry16M(DetectorSize.M6, 0.9795, 200.0, 2075.0, 2170.0)
    plan = CollectionPlan.rotation(images=count, width_deg=0.5, image_format=ImageFormat.NXS, geometry=small)
    place = folder / "16m"
    if not place.exists():
        place.mkdir()
        spots = predict(place_crystal(plan), plan)
        shift_x, shift_y = large.beam_x_px - small.beam_x_px, large.beam_y_px - small.beam_y_px
        plan = plan.model_copy(update={"geometry": large})
        renderer = Renderer.of(plan, replace(spots, x=spots.x + shift_x, y=spots.y + shift_y))
        write_images(place, plan, map(renderer.render, range(count)))
        write_master(place, plan, renderer.gaps)
    return [(str(place / plan.template), (number, number)) for number in range(1, count + 1)]


def _real(names: str, opened: Callable[..., Any]) -> Callable[[Path, int], list[Image]]:
    """Real CBFs, decompressed: how they come off a detector."""

    def make(folder: Path, count: int) -> list[Image]:
        images: list[Image] = []
        for packed in sorted(REAL_DATA.glob(names))[:count]:
            plain = folder / packed.stem
            with opened(packed) as source:
                plain.write_bytes(source.read())
            images.append((str(plain), None))
        return images

    return make


CASES: dict[str, Callable[[Path, int], list[Image]]] = {
    "300k-cbf": _rotation("300k", "cbf"),
    "300k-nxs": _rotation("300k", "nxs"),
    "2m-cbf": _rotation("2m", "cbf"),
    "2m-nxs": _rotation("2m", "nxs"),
    "6m-cbf": _rotation("6m", "cbf"),
    "6m-nxs": _rotation("6m", "nxs"),
    "16m-nxs": _eiger_16m,
    "thaumatin-6m": _real("thaumatin_grid/thau_3_2_000[23].cbf.bz2", bz2.open),
    "l-cysteine-2m": _real("l_cysteine/l-cyst_0[13]_00001.cbf.gz", gzip.open),
}

HEAD = (
    f"{'CPU ms an image':<16}{'algorithm':<10}" + "".join(f"{way:>10}" for way in WAYS) + "   : work() : before"
    "  peak MB: work() before  now  same"
)


def describe(row: dict[str, Any]) -> str:
    """Write a row for people."""
    kind = "extended" if row["algorithm"] == "dispersion_extended" else row["algorithm"]
    peaks = row["peak_mb"]
    line = f"{row['case']:<16}{kind:<10}" + "".join(f"{row['cpu_ms'][way]:>10.1f}" for way in WAYS)
    line += f"{row['to_work']:>10.1f}{row['to_before']:>9.1f}"
    line += f"{peaks['work()']:>17}{peaks['before']:>7}{peaks['now']:>5}  {'yes' if row['same'] else 'NO'}"
    return line + "".join(f"  (by DIALS: {reason})" for reason in row["left_to_dials"])


if __name__ == "__main__":
    main()
