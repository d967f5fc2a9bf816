"""Whether dxtbx reads the same of a master when it reads it again.

A file system's fault while dxtbx reads is no error to it: a field that can't be read then isn't there for it, and a
part of a virtual dataset is zeros. It would analyse without a mask, or take the master for another format's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dxtbx.format.Registry import get_format_class_for_file

MODELS = ("get_detector", "get_beam", "get_goniometer", "get_scan", "get_num_images")


def reads_the_same(file: str, format_class: Any) -> bool:
    """Tell whether a fresh look at a file, of which `format_class` has just read the models, finds the same."""
    with _silent():
        again_class: Any = get_format_class_for_file(file)
        if again_class is not format_class:
            return False
        known, again = format_class.get_instance(file), again_class(file)
        return (
            all(getattr(known, name)() == getattr(again, name)() for name in MODELS)
            and getattr(known, "_bit_depth_readout", None) == getattr(again, "_bit_depth_readout", None)
            and _same_masks(known.get_static_mask(), again.get_static_mask())
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Let dxtbx say nothing: what it warns of it has said at the first look."""
    logger = logging.getLogger("dxtbx")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _same_masks(one: Any, other: Any) -> bool:
    """Tell whether masks, a flex.bool for each panel or None, are the same."""
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(
        mine.all() == yours.all() and (mine == yours).all_eq(True) for mine, yours in zip(one, other, strict=True)
    )
