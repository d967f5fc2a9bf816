"""A service that takes no notice of SIGTERM: `python -m tests.support.stubborn_service`."""

import signal
import sys
from pathlib import Path

signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).touch()
while True:
    signal.pause()
