"""What another account of the machine gets of a site: python -m tests.support.other_user HOME API_URL SOCKET…

It prints what it could read, reach and have answered, as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx


def readable(folder: Path) -> Iterator[str]:
    """Yield what can be listed or read at and below a folder."""
    if os.access(folder, os.R_OK):
        yield str(folder)
    for above, folders, files in os.walk(folder):
        yield from (str(Path(above, name)) for name in (*folders, *files) if os.access(Path(above, name), os.R_OK))


def can_connect(path: Path) -> bool:
    """Tell whether a Unix socket takes a connection."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except PermissionError:
            return False
    return True


def answers(api_url: str) -> dict[str, int]:
    """Return the statuses of requests without the secret, or under another name."""
    with httpx.Client(trust_env=False) as client:
        return {
            "version": client.get(f"{api_url}/version").status_code,
            "runs": client.post(f"{api_url}/flow_runs/filter", json={}).status_code,
            "start": client.post(f"{api_url}/deployments/x/create_flow_run", json={}).status_code,
            "guess": client.get(f"{api_url}/version", auth=("plaza", "plaza")).status_code,
            "other name": client.get(f"{api_url}/health", headers={"host": "evil.example"}).status_code,
            "health": client.get(f"{api_url}/health").status_code,
        }


if __name__ == "__main__":
    home, api_url, *sockets = sys.argv[1:]
    found = {
        "readable": sorted(readable(Path(home))),
        "connected": [path for path in sockets if can_connect(Path(path))],
        "answers": answers(api_url),
    }
    sys.stdout.write(json.dumps(found))
