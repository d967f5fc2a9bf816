"""The axes that place the sample or a part of the detector: each says which one it depends on."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.nexus.tree import Found, MasterTree


def chain_of_axes(tree: MasterTree, group: str | None, name: str) -> Iterator[tuple[Found, str]]:
    """Yield the axes that place a group: of each, what its path starts from, and the path.

    An axis is looked up when the next one is asked for: the caller may have said before in its own words that it isn't
    there. In a circle of axes, the first comes twice.

    Parameters
    ----------
    group
        Its path; None: there is none.
    name
        In the group: `depends_on`, which says which the first axis is, or an axis that depends on it.
    """
    place = tree.get(group) if group else None
    axis = tree.get(name, place) if place else None
    if place is None or axis is None or axis.is_group:
        return
    named = axis.text if name == "depends_on" else axis.attribute("depends_on")
    # `depends_on` is read from its group, an axis's attribute from the axis.
    beside = place if name == "depends_on" else axis
    seen: set[tuple[str, str]] = set()
    while named and named != ".":
        yield beside, named
        axis = tree.get(named, beside)
        if axis is None or axis.is_group or (axis.holder, axis.object.name) in seen:
            return
        seen.add((axis.holder, axis.object.name))
        beside, named = axis, axis.attribute("depends_on")
