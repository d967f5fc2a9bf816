"""Conditions that rules of several science areas have in common."""

from __future__ import annotations

from flows.mimas.predicates import HasOtherSweeps, HasOwnSweep, beamline_is, class_is, detector_is, event_is
from flows.mimas.scenario import DCClass, DetectorClass, Event

VMXM = "i02-1"
VMXI = "i02-2"
I19 = ("i19-1", "i19-2")
MX_BEAMLINES = (VMXM, "i03", "i04", "i04-1", "i23", "i24")
"""All but VMXi, which has rules of its own."""

is_start, is_end = event_is(Event.START), event_is(Event.END)
is_start_group, is_end_group = event_is(Event.START_GROUP), event_is(Event.END_GROUP)
is_pilatus, is_eiger = detector_is(DetectorClass.PILATUS), detector_is(DetectorClass.EIGER)

is_gridscan = class_is(DCClass.GRIDSCAN)
is_serial = class_is(DCClass.SERIAL_FIXED, DCClass.SERIAL_JET)
is_screening = class_is(DCClass.SCREENING)
is_characterization = class_is(DCClass.CHARACTERIZATION)
is_rotation = class_is(DCClass.ROTATION)
is_diamond_anvil_cell = class_is(DCClass.DIAMOND_ANVIL_CELL)

is_mx = beamline_is(*MX_BEAMLINES)
is_i03 = beamline_is("i03")
is_i15 = beamline_is("i15")
is_i19 = beamline_is(*I19)
is_i24 = beamline_is("i24")
is_vmxi = beamline_is(VMXI)
is_vmxm = beamline_is(VMXM)

has_other_sweeps = HasOtherSweeps()
has_own_sweep = HasOwnSweep()
