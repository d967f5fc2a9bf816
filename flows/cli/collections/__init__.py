"""Commands on data collections."""

from flows.cli.collections.find import find
from flows.cli.collections.last import last

__all__ = ["find", "last"]
