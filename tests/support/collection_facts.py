"""What ISPyB says of a data collection, as Mimas reads it: hardly anything, and all that the rules look at."""

from tasks.ispyb_access.reading.classification import DataCollectionClass
from tasks.ispyb_access.reading.parameters import DispatcherParameters

NOTHING_KNOWN = {name: None for name, field in DispatcherParameters.model_fields.items() if field.is_required()} | {
    "dcid": 12,
    "beamline": "i24",
    "dc_info": {},
    "dc_class": dict.fromkeys(DataCollectionClass.model_fields, False),
    "dcg_dcids": [],
    "diffraction_plan": {},
    "protein_info": {},
    "preferred_processing": "xia2/DIALS",
    "space_group": "",
    "pin_info": {},
    "msp_sample_ids": {},
    "pdb": [],
    "related_sweeps": [],
    "related_images": [],
    "related_dcids": [],
    "project": "AUTOMATIC",
    "crystal": "DEFAULT",
}
KNOWN = NOTHING_KNOWN | {
    "beamline": "i03",
    "visit": "cm12345-6",
    "dc_info": {"runStatus": "DataCollection Successful"},
    "dc_class": {**NOTHING_KNOWN["dc_class"], "screen": None, "rotation": True},
    "detectorclass": "eiger",
    "related_sweeps": [(11, 1, 100), (12, 1, 50)],
    "unit_cell": (78.1, 78.1, 37.0, 90.0, 90.0, 90.0),
    "diffraction_plan": {"anomalousScatterer": "Se"},
    "preferred_processing": "xia2/3dii",
}
