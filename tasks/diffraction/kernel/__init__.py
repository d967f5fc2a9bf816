"""Strong pixels and CBF decoding at the speed of memory: compiled if it may be, with DIALS's pixels either way."""

from tasks.diffraction.kernel.by_dials import DialsThreshold
from tasks.diffraction.kernel.byte_offset import decode_byte_offset
from tasks.diffraction.kernel.choice import ask_dials, make_threshold
from tasks.diffraction.kernel.compiled import CompiledThreshold, why_not_compiled
from tasks.diffraction.kernel.threshold import DialsRules, DispersionParameters, Threshold

__all__ = [
    "CompiledThreshold",
    "DialsRules",
    "DialsThreshold",
    "DispersionParameters",
    "Threshold",
    "ask_dials",
    "decode_byte_offset",
    "make_threshold",
    "why_not_compiled",
]
