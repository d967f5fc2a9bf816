"""supervisord, as the root of all the site's processes.

    python -m flows.site.supervision.process CONFIGURATION [--end-with PID] [--listens SERVICE]

It adopts what its services leave behind, so that nothing of the site is out of sight, and with `--end-with` it stops
everything when the given process ends, however that ends. While it stops everything, a file says so. It outlives a full
disk, and gives no service up: what keeps one from starting, a full disk above all, may be over in an hour. With
`--listens` its standard input is a socket that listens: the named service gets it at each start, and connections wait
while the service is away instead of reaching whoever takes its port.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path
from typing import Any

from flows.site.running_site import STOPPING_FILE
from tasks.processes.ties import adopt_orphans, end_with

logger = logging.getLogger(__name__)


class StoppingMark:
    """Has a file say that the whole site goes down as soon as supervisord begins with that, whatever for.

    It's a plug-in of supervisord, by way of its RPC interfaces, which is how it takes any; it offers no calls.
    """

    def __init__(self, _supervisord: Any, home: str) -> None:
        from supervisor import events

        self._file = Path(home) / STOPPING_FILE
        self._file.unlink(missing_ok=True)
        events.subscribe(events.SupervisorStoppingEvent, self._mark)

    def _mark(self, _event: object) -> None:
        try:
            self._file.touch()
        except OSError as error:
            logger.error("%s can't be made (%s): flow runs go on until they're killed", self._file, error)


LONGEST_PAUSE_S = 10.0
"""Between two starts of a service that doesn't start; without this limit they'd be a second further apart each time."""


def main(configuration: str, end_with_pid: int | None, listens: str | None) -> None:
    """Become supervisord."""
    from supervisor import supervisord

    from flows.site.supervision.logs import survive_full_disks

    survive_full_disks()
    change_services(listens)
    adopt_orphans()
    if end_with_pid is not None:
        end_with(end_with_pid)
    supervisord.main(["--nodaemon", "--configuration", configuration])


def change_services(listens: str | None) -> None:
    """Have supervisord try services again at short intervals, however often they've failed, and give one its socket."""
    from supervisor import process, states

    class SiteService(process.Subprocess):  # type: ignore[misc]  # the package has no types
        delay: float

        def _prepare_child_fds(self) -> None:  # in the child
            if self.config.name == listens:
                os.dup2(0, self.pipes["child_stdin"])  # which then is made its standard input
            super()._prepare_child_fds()

        def change_state(self, new_state: int, expected: bool = True) -> None:
            super().change_state(new_state, expected)
            if new_state == states.ProcessStates.BACKOFF:
                self.delay = min(self.delay, time.time() + LONGEST_PAUSE_S)

    process.Subprocess = SiteService  # where supervisord's configuration looks it up


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run supervisord")
    parser.add_argument("configuration")
    parser.add_argument("--end-with", type=int, metavar="PID")
    parser.add_argument("--listens", metavar="SERVICE")
    arguments = parser.parse_args()
    main(arguments.configuration, arguments.end_with, arguments.listens)
