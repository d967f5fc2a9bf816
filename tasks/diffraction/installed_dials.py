"""Which DIALS is installed, without importing it."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

logger = logging.getLogger(__name__)


@cache
def dials_version() -> str | None:
    """Return the version that DIALS gives as its own, such as 3.12; None if it isn't installed.

    That of its package metadata isn't it: DIALS hasn't raised that since 3.9.dev0. The module that knows imports only
    Python's own, so it is run by itself, from its file: importing it as a part of `dials` takes a second.
    """
    package = find_spec("dials")
    if package is None or package.origin is None:
        return None
    specification = spec_from_file_location("_version_of_dials", Path(package.origin).parent / "util" / "version.py")
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
        return str(module.dials_version()).removeprefix("DIALS ")
    except Exception as error:  # whatever another DIALS's module does: a run goes on without knowing its version
        logger.warning("the version of DIALS in %s can't be found: %s", package.origin, error)
        return None
