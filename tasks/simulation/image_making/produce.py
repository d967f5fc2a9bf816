"""Render a plan's images into a folder, with the truth beside them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.simulation.image_set import ImageSet, describe_plan
from tasks.simulation.plan import CollectionPlan, ImageFormat, Truth

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def produce(plan: CollectionPlan, store: Path, on_image: Callable[[int], None]) -> ImageSet:
    """Render a plan's images into the store, unless they are there, and describe them.

    The folder gets its name when all is in it, so that a killed rendering leaves nothing that looks complete.

    Parameters
    ----------
    plan
        What to render.
    store
        Folder of rendered plans.
    on_image
        Told the number of each rendered image, from 1.
    """
    folder = store / plan.digest
    sweep = describe_plan(plan, folder)
    if folder.is_dir():
        return sweep
    unfinished = store / f".{plan.digest}.{os.getpid()}"
    unfinished.mkdir(parents=True)
    try:
        _render_into(unfinished, plan, sweep, on_image)
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was quicker with the same plan
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return sweep


def _render_into(folder: Path, plan: CollectionPlan, sweep: ImageSet, on_image: Callable[[int], None]) -> None:
    # Here, since rendered images that are there already need no DIALS.
    from tasks.simulation.image_making.crystal import SPACE_GROUP, UNIT_CELL, place_crystal, predict
    from tasks.simulation.image_making.rendering import Renderer

    experiment = place_crystal(plan)
    renderer = Renderer.of(plan, predict(experiment, plan))

    def images() -> Iterator["npt.NDArray[np.int32]"]:
        """Yield counts, (height, width) each, -1 in gaps."""
        for index in range(plan.images):
            yield renderer.render(index)
            on_image(index + 1)

    if plan.image_format is ImageFormat.NXS:
        from tasks.simulation.image_making.nxmx import write_images, write_master

        write_images(folder, plan, images())
        write_master(folder, plan, renderer.gaps)
    else:
        _write_files(folder, plan, sweep, images())
    strengths = plan.strengths()
    truth = Truth(
        plan=plan,
        unit_cell=UNIT_CELL,
        space_group=SPACE_GROUP,
        orientation=experiment.crystal.get_A(),
        reflections=len(renderer.reflections),
        centre_boxes=plan.centre,
        best_image=strengths.index(max(strengths)) + 1 if plan.grid is not None else None,
    )
    (folder / sweep.truth_file).write_text(truth.model_dump_json(indent=1))


def _write_files(
    folder: Path, plan: CollectionPlan, sweep: ImageSet, images: Iterator["npt.NDArray[np.int32]"]
) -> None:
    """Write images, counts of (height, width) each with -1 in gaps, into a file each."""
    from tasks.simulation.image_making.minicbf import write_cbf

    for name, start_deg, image in zip(sweep.file_names(), plan.starts_deg(), images, strict=True):
        path = folder / name
        write_cbf(path, image, plan.geometry, start_deg=start_deg, width_deg=plan.width_deg, exposure_s=plan.exposure_s)
