"""supervisord, as the root of all the site's processes.

    python -m flows.site.supervisor_process CONFIGURATION [--end-with PID]

It adopts what its services leave behind, so that nothing of the site is out of sight, and with `--end-with` it stops
everything when the given process ends, however that ends.
"""

from __future__ import annotations

import argparse

from tasks.processes.ties import adopt_orphans, end_with


def main(configuration: str, end_with_pid: int | None) -> None:
    """Become supervisord."""
    from supervisor import supervisord

    adopt_orphans()
    if end_with_pid is not None:
        end_with(end_with_pid)
    supervisord.main(["--nodaemon", "--configuration", configuration])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run supervisord")
    parser.add_argument("configuration")
    parser.add_argument("--end-with", type=int, metavar="PID")
    arguments = parser.parse_args()
    main(arguments.configuration, arguments.end_with)
