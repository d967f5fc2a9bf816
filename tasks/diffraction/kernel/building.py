"""How the kernel is compiled, and a name for what came of it.

`setup.py` compiles with this. A kernel made from other sources than those beside it, or in another way, isn't used: its
name (`BUILD`) isn't the one that they have now. Standard library only: this is run before Plaza is installed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
SOURCES: Final = ("_compiled.c", "strong_pixels.c", "byte_offset.c")
HEADERS: Final = ("kernel.h",)

FLAGS: Final = (
    "-std=gnu11",
    "-O3",
    # Last, so that a CFLAGS of the environment can't have it otherwise: DIALS has neither of these on x86-64.
    "-fno-fast-math",
    "-ffp-contract=off",
)
"""For GCC and Clang; another compiler isn't tried."""


def build_name() -> str:
    """Return a name for these sources and flags, 16 hexadecimal digits."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]
