"""What a master lacks that DIALS needs of a NXmx master: DIALS's own errors name no group, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.nexus.axes import chain_of_axes
from tasks.nexus.errors import NotReady, UnusableMaster
from tasks.nexus.master import find_entry
from tasks.nexus.metadata import MODULE
from tasks.nexus.tree import MasterTree

DETECTOR = ("sensor_thickness", "sensor_material")


def find_lacks(master: str) -> list[str]:
    """Say what a master lacks; nothing if that can't be seen for now."""
    try:
        with MasterTree(master) as tree:
            return list(_lacks(tree))
    except (NotReady, UnusableMaster):
        return []


def _lacks(tree: MasterTree) -> Iterator[str]:
    entry = find_entry(tree)
    if tree.get(entry) is None:
        yield "it has no group of class NXentry"
        return
    definition = tree.get(f"{entry}/definition")
    if definition is None or definition.text != "NXmx":
        yield f"{entry}/definition isn't NXmx"
    yield from _lacks_axes(tree, entry)
    instrument = tree.first_of(entry, "NXinstrument")
    if instrument is None:
        yield _lacks_group(entry, "NXinstrument")
        return
    beam = tree.first_of(instrument, "NXbeam")
    yield from (
        [_lacks_group(instrument, "NXbeam")] if beam is None else _lacks_fields(tree, beam, ("incident_wavelength",))
    )
    detector = tree.first_of(instrument, "NXdetector")
    if detector is None:
        yield _lacks_group(instrument, "NXdetector")
        return
    yield from _lacks_fields(tree, detector, DETECTOR)
    modules = list(tree.all_of(detector, "NXdetector_module"))
    if not modules:
        yield _lacks_group(detector, "NXdetector_module")
    for module in modules:
        yield from _lacks_fields(tree, module, MODULE)
        yield from _breaks(tree, module, "fast_pixel_direction")


def _lacks_axes(tree: MasterTree, entry: str) -> Iterator[str]:
    sample = tree.first_of(entry, "NXsample")
    if sample is None:
        yield _lacks_group(entry, "NXsample")
        return
    yield from _lacks_fields(tree, sample, ("depends_on",))
    yield from _breaks(tree, sample, "depends_on")


def _breaks(tree: MasterTree, group: str, name: str) -> Iterator[str]:
    """Say where a chain of axes breaks, each of which names the next one."""
    for beside, named in chain_of_axes(tree, group, name):
        if tree.get(named, beside) is None:
            place = group if beside.is_group else beside.object.name
            yield f"{place} depends on {named}, which isn't there"


def _lacks_fields(tree: MasterTree, group: str, names: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{group}/{name} isn't there" for name in names if tree.get(f"{group}/{name}") is None)


def _lacks_group(parent: str, nx_class: str) -> str:
    return f"{parent} has no group of class {nx_class}"
