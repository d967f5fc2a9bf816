"""What a recipe may know of a data collection and of a processing job: the `ispyb_…` parameters.

No database here: `reader` fills them in.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from blocks.identifiers import Dcid, JobId
from tasks.ispyb_access.reading.classification import DataCollectionClass

UnitCell = tuple[float, float, float, float, float, float]


class RelatedCollections(BaseModel):
    """Data collections that belong together, and why: a sample group, a sample, or (nothing said) a directory."""

    model_config = ConfigDict(frozen=True)

    dcids: list[Dcid]
    sample_group_id: int | None = None
    sample_id: int | None = None
    name: str | None = None


class EnergyScanInfo(BaseModel):
    """The energy scan that a data collection goes by; f′ and f″ at peak and inflection only."""

    model_config = ConfigDict(frozen=True)

    energyscanid: int
    atom_type: str
    edge_position: Literal["peak", "infl", "hrem", "lrem"]
    fp: float | None = None
    fpp: float | None = None


class PDBModel(BaseModel):
    """A model of the protein: an entry of the Protein Data Bank, or a file."""

    model_config = ConfigDict(frozen=True)

    code: str | None = None
    filepath: str | None = None
    source: str | None = None


class RecipeParameters(BaseModel):
    """Each field is the recipe parameter `ispyb_<field>`; one that isn't set is unknown to recipes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    def recipe_parameters(self) -> dict[str, Any]:
        """Return Zocalo's keys and values."""
        return {f"ispyb_{name}": value for name, value in self.model_dump(exclude_unset=True).items()}


class DispatcherParameters(RecipeParameters):
    """A data collection as recipes and Mimas see it."""

    dcid: Dcid
    """Id of the data collection."""
    beamline: str | None
    """Beamline of its session."""
    visit: str | None
    """Visit, as in `mx12345-1`: from the image directory, else of the session."""
    detectorclass: str | None
    """`eiger` or `pilatus`: by the detector's model, else by the file names."""
    detectorname: str | None
    """`Eiger16M`, `Eiger4M` or `Eiger9MCdTe`."""
    dc_info: dict[str, Any]
    """The row of DataCollection, with `uuid` (the recipe run) and `gridinfo` (the row of GridInfo, or {})."""
    dc_class: DataCollectionClass
    """What kinds of experiment it is; null where ISPyB doesn't say."""
    dcg_experiment_type: str | None
    """Experiment type of its group: SAD, OSC, Mesh, Characterization, …"""
    dcg_dcids: list[Dcid]
    """The other data collections of its group."""
    diffraction_plan: dict[str, Any]
    """The sample's row of DiffractionPlan, or {}."""
    protein_info: dict[str, Any]
    """The sample's row of Protein, or {}."""
    energy_scan_info: EnergyScanInfo | None
    """The energy scan nearest in energy, or {}: `energyscanid`, `atom_type`, `edge_position`, `fp`, `fpp`."""
    smiles: str | None
    """The sample's ligand."""
    preferred_processing: str
    """The sample's container's first choice of pipeline."""
    space_group: str
    """Of the sample's crystal, else of the visit's YAML file, else ''."""
    unit_cell: UnitCell | None
    """Å and degrees, as the space group; false if there's none."""
    pin_info: dict[str, Any]
    """`containerId`, `location`, `subLocation` and `loopType` of the sample."""
    msp_sample_ids: dict[int, int]
    """Samples of a pin with several wells, by well."""
    pdb: list[PDBModel]
    """Models of the protein: `code`, `filepath`, `source` each."""
    reference_geometry: str | None
    """The visit's `processing/reference_geometry.expt`."""
    image_first: int | None
    """Number of the first image."""
    image_last: int | None
    """Number of the last image."""
    image_template: str | None
    """File names, with # for digits."""
    image_directory: str | None
    """Folder of the images, as it stands in ISPyB: with a slash at its end."""
    image_pattern: str | None
    """File names, with %05d for digits."""
    image: str | None = None
    """`<first file>:<first>:<last>`; absent if ISPyB doesn't say where they are."""
    images: str = ""
    """The other rotations of the group in that form, with commas; a job's sweeps. Empty for grids and the like."""
    related_sweeps: list[tuple[Dcid, int, int]]
    """(dcid, first, last) of all sweeps of the group."""
    related_images: list[tuple[Dcid, str]]
    """(dcid, first file) of all sweeps of the group."""
    related_dcids: list[RelatedCollections]
    """Sample groups; same sample, or, without sample, same image directory."""
    ssx_events: list[dict[str, Any]] | None = None
    """Rows of Event with `eventType`, for rotation and serial collections."""
    ssx_shots_per_image: int | None = None
    """X-ray detections per exposure, for rotation and serial collections."""
    visit_directory: str | None
    """Folder of the visit."""
    working_directory: str | None
    """Folder of this recipe run for what needn't be kept."""
    results_directory: str | None
    """Folder of this recipe run for results."""
    final_directory: str | None
    """Folder of this recipe run for results of the pipeline's last stage."""
    project: str
    """xia2's project name: the visit."""
    crystal: str
    """xia2's crystal name: prefix and number of the collection."""

    def recipe_parameters(self) -> dict[str, Any]:
        """Return Zocalo's keys and values: an absent cell is False, an absent energy scan {}."""
        values = super().recipe_parameters()
        values["ispyb_unit_cell"] = self.unit_cell or False
        values["ispyb_energy_scan_info"] = values["ispyb_energy_scan_info"] or {}
        return values


class JobParameters(RecipeParameters):
    """A processing job as its recipe sees it."""

    dcid: Dcid | None
    """The job's data collection, unless another one was named with it."""
    process: JobId
    """Id of the job."""
    processing_job: dict[str, Any]
    """The row of ProcessingJob."""
    processing_parameters: dict[str, list[str | None]]
    """Values of the job's parameters, by key."""
    reprocessing_parameters: dict[str, str | None]
    """The last value of each: for old recipes."""
    images: str = ""
    """The job's sweeps as `<first file>:<first>:<last>`, with commas."""

    @property
    def recipe(self) -> str | None:
        """The recipe that carries the job out."""
        name = self.processing_job["recipe"]
        return f"ispyb-{name}" if name else None


class ReadParameters(BaseModel):
    """What a recipe run knows: what it was given, and what ISPyB says of its processing job and its data collection."""

    model_config = ConfigDict(frozen=True)

    given: dict[str, Any]
    """What was handed over: it wins over what ISPyB says of the data collection, but not of the job."""
    dcid: Dcid | None = None
    """The data collection, if the job or the collection was read."""
    job: JobParameters | None = None
    collection: DispatcherParameters | None = None

    def recipe_parameters(self) -> dict[str, Any]:
        """Return Zocalo's keys and values: what fills the placeholders of a recipe."""
        collection = self.collection.recipe_parameters() if self.collection is not None else {}
        job = self.job.recipe_parameters() if self.job is not None else {}
        dcid = {"ispyb_dcid": self.dcid} if self.dcid is not None else {}
        return {**collection, **self.given, **job, **dcid}


def parameter_names() -> list[str]:
    """Return the names of all parameters that the dispatcher may provide."""
    fields = {**DispatcherParameters.model_fields, **JobParameters.model_fields}
    return [f"ispyb_{name}" for name in fields]
