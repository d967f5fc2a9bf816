"""ICAT's drop file: the XML that registers a data set's files with the data catalogue.

The layout is the one the catalogue's reader knows: version 1.0 RC6, two blanks of indentation, pure ASCII.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

MAX_FILE_SIZE = 3 * 1024**4  # bytes; the archive takes no larger file
ROOT_DATASET = "topdir"  # the data set of files that lie in the visit directory itself
VISIT_DEPTH = 6  # parts of /dls/i03/data/2024/cm1-1, "/" counted

# What XML 1.0 has no way to write, not even as a character's number
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as it stood when it was looked at.

    Parameters
    ----------
    path
        Full path.
    size
        Bytes.
    modified
        Time of the last modification, epoch seconds.
    """

    path: str
    size: int
    modified: float

    def __post_init__(self) -> None:
        if self.size > MAX_FILE_SIZE:
            raise ValueError(
                f"{self.path} has {self.size} bytes; the archive takes files of up to {MAX_FILE_SIZE} bytes (3 TiB)"
            )
        if _NOT_IN_XML.search(self.path):
            raise ValueError(f"{self.path!a} has characters in its name that XML can't hold; rename the file")


def dataset_name(path: str, visit: str) -> str:
    """Return the directories between the visit's own and the file: the data set's name.

    Below /dls the visit directory is the sixth part; elsewhere it is the one called like the visit.

    >>> dataset_name("/dls/i03/data/2024/cm1-1/a/b/x_0001.cbf", "cm1-1")
    'a/b'
    >>> dataset_name("/tmp/beamline/cm1-1/a/x_0001.cbf", "cm1-1")
    'a'
    """
    parts = PurePosixPath(path).parts
    depth = VISIT_DEPTH
    names = [part.lower() for part in parts[:-1]]
    if parts[:2] != ("/", "dls") and visit.lower() in names:
        depth = names.index(visit.lower()) + 1
    return "/".join(parts[depth:-1]) or ROOT_DATASET


def format_dropfile(visit: str, beamline: str, dataset: str, files: Iterable[DataFile]) -> bytes:
    """Return a data set's drop file."""
    root = ET.Element("icat")
    root.set("version", "1.0 RC6")
    root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
    root.set("xsi:noNamespaceSchemaLocation", "icatXSD.xsd")
    investigation = ET.SubElement(ET.SubElement(root, "study"), "investigation")
    visit_id = visit.upper()
    # an XML comment: ICAT's schema knows no element of that name
    investigation.append(ET.Comment("Producer: Plaza archiver"))
    _add(
        investigation,
        inv_number=visit_id.split("-")[0],
        visit_id=visit_id,
        instrument=beamline,
        title="dont need it",  # Zocalo's words
        inv_type="experiment",
    )
    element = ET.SubElement(investigation, "dataset")
    _add(element, name=dataset, dataset_type="raw", description="unknown")
    for file in files:
        _add_file(element, file)
    ET.indent(root)
    # Without an encoding: ElementTree writes ASCII, and other characters as numbers. A carriage return as it is would
    # be read as the end of a line, whatever XML's reader.
    return b'<?xml version="1.0" ?>\n' + ET.tostring(root).replace(b"\r", b"&#13;") + b"\n"


def _add_file(dataset: ET.Element, file: DataFile) -> None:
    modified = datetime.fromtimestamp(file.modified).strftime("%Y-%m-%dT%H:%M:%S")  # local time, as the catalogue wants
    _add(
        ET.SubElement(dataset, "datafile"),
        name=PurePosixPath(file.path).name,
        location=file.path,
        description="unknown",
        datafile_version="1.0",
        datafile_create_time=modified,  # Unix doesn't tell when a file was made
        datafile_modify_time=modified,
        file_size=str(file.size),
    )


def _add(parent: ET.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = text
