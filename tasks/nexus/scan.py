"""How many images a master's scan has, as DIALS has it: as many as the scanned axis has values."""

from __future__ import annotations

from tasks.nexus.axes import chain_of_axes
from tasks.nexus.errors import NotReady
from tasks.nexus.master import find_entry
from tasks.nexus.opening import faults_at, in_the_making
from tasks.nexus.tree import Found, MasterTree


def count_scanned(master: str) -> int | None:
    """Return how many images a master's scan has; None if it names no axis that takes several values.

    Raises
    ------
    NotReady
        The axis may get further values.
    UnusableMaster
        The master can't be read.
    """
    with MasterTree(master) as tree:
        sample = tree.first_of(find_entry(tree), "NXsample")
        places = [tree.get(name, beside) for beside, name in chain_of_axes(tree, sample, "depends_on")]
        axes = [axis for axis in places if axis is not None and not axis.is_group]
        axis = _find_scanned(axes)
        if axis is None or not axis.object.shape or len(axis.object) < 2:
            return None
        if axis.object.maxshape[0] is None:
            fault = in_the_making(axis.holder, f"has {len(axis.object)} values of {axis.object.name}")
            if isinstance(fault, NotReady):
                raise fault
        return len(axis.object)


def _find_scanned(axes: list[Found]) -> Found | None:
    """Find the axis that dxtbx takes for that of the scan: a rotation that varies, else what varies, else the first."""
    varying = [axis for axis in axes if _varies(axis)]
    rotations = [axis for axis in varying if axis.attribute("transformation_type") == "rotation"]
    return next(iter([*rotations, *varying, *axes]), None)


def _varies(axis: Found) -> bool:
    with faults_at(axis.holder):
        values = axis.object[()]
        return values.ndim == 1 and bool((values != values[:1]).any())
