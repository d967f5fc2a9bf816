"""All that recipe runs may need, for the warm worker to import once: its forked children then start at once.

SQLAlchemy's models of ISPyB alone take a second, Dask a third of one. HDF5 and DIALS stay out: they don't survive a fork.
"""

from importlib import import_module

import distributed

import flows.recipe.flow
import tasks.ispyb_access.reader
from tasks.registry import STEPS

__all__ = ["distributed", "flows", "tasks"]

for _location in STEPS.values():
    import_module(_location.partition(":")[0])
