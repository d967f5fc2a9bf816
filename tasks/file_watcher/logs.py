"""What a watch says in the log: what it waits for, how long it took, and a file system that is slow."""

import logging
from typing import Any

from tasks.file_watcher.parameters import WatchParameters
from tasks.file_watcher.sources import Source

SLOW_LOOK_S = 5.0  # from when on Zocalo warns of a slow file system


class WatchLog:
    """The log lines of one watch."""

    def __init__(
        self, source: Source, parameters: WatchParameters, logger: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        self._source = source
        self._parameters = parameters
        self._logger = logger
        self._waiting_for: str | None = None
        self._slowest_s = SLOW_LOOK_S

    def looked(self, seen: int, found: int) -> None:
        """Say once what the first item waits for, and warn of each slower answer of the file system."""
        source = self._source
        if not (seen or found) and source.waiting_for != self._waiting_for:
            self._waiting_for = source.waiting_for
            self._logger.info("waiting for %s", source.waiting_for)
        if source.slowest_look_s > self._slowest_s:
            self._slowest_s = source.slowest_look_s
            self._logger.warning("slow file system: it took %.1f s to look for %s", self._slowest_s, source.noun)

    def ended(self, outcome: str, seen: int, took: float, quiet: float) -> None:
        """Say how the watch ended.

        Parameters
        ----------
        outcome
            complete, error or timeout.
        seen
            How many items were seen.
        took, quiet
            Seconds since the start and since the last item.
        """
        source, figures = self._source, {"delay": took, "stat-time-max": self._source.slowest_look_s}
        if outcome == "complete":
            figures |= self._unexpected_delay(took, seen)
            self._logger.info("all %d %s found after %.1f s", seen, source.noun, took, extra=figures)
        elif outcome == "error":
            self._logger.info("stopped after %.1f s: entry %d of the list is empty", took, seen + 1, extra=figures)
        else:
            level = logging.INFO if self._parameters.log_timeout_as_info else logging.WARNING
            text = "timed out after %.1f s: %d of %s %s found, nothing new for %.1f s, still waiting for %s"
            expected = "an unknown number of" if source.expected is None else source.expected
            self._logger.log(level, text, took, seen, expected, source.noun, quiet, source.waiting_for, extra=figures)

    def _unexpected_delay(self, took: float, seen: int) -> dict[str, float]:
        """Return by how many seconds the items were later than the recipe expected them, if it says."""
        per_image = self._parameters.expected_per_image_delay
        if per_image in (None, ""):
            return {}
        try:
            return {"unexpected_delay": max(0.0, took - float(per_image) * seen)}
        except (TypeError, ValueError):
            self._logger.warning("ignored expected-per-image-delay: it should be seconds, seen %r", per_image)
            return {}
