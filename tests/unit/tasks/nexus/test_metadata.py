"""All that DIALS reads of a master is waited for, wherever its links lead."""

import os
import time

import h5py
import numpy as np
import pytest

from tasks.nexus.errors import NotReady, UnusableMaster
from tasks.nexus.metadata import LATE_METADATA_S, require_metadata
from tests.support.masters import write_frames, write_link, write_virtual

GROUPS = (
    ("entry", "NXentry"),
    ("entry/instrument", "NXinstrument"),
    ("entry/instrument/beam", "NXbeam"),
    ("entry/instrument/detector", "NXdetector"),
    ("entry/instrument/detector/module", "NXdetector_module"),
    ("entry/sample", "NXsample"),
)


def label(path, *groups):
    """Make groups, if they aren't there, and say their NeXus classes."""
    with h5py.File(path, "r+") as file:
        for name, nx_class in groups:
            file.require_group(name).attrs["NX_class"] = np.bytes_(nx_class)


@pytest.fixture
def master(tmp_path):
    """A master whose mask is a link to a meta file; one to a file that never comes is nothing that DIALS reads."""
    path = tmp_path / "scan.nxs"
    write_frames(tmp_path / "scan_1.h5", 1, 4)
    write_virtual(path, 4, [(slice(0, 4), "scan_1.h5", "data", 4, slice(0, 4))])
    label(path, *GROUPS)
    for name in ("log", "sample/photo", "instrument/detector/flatfield"):
        write_link(path, f"entry/{name}", "never.h5", "log")
    write_link(path, "entry/instrument/detector/pixel_mask", "meta.h5", "mask")
    return path


@pytest.fixture
def meta(master):
    return master.with_name("meta.h5")


def write_mask(meta, *values):
    with h5py.File(meta, "w") as file:
        file["mask"] = np.array(values)


def test_metadata_are_waited_for(master, meta):
    with pytest.raises(NotReady, match=rf"{meta}, which isn't there: pixel_mask of {master} is a link to it"):
        require_metadata(str(master))
    meta.write_bytes(b"")
    with pytest.raises(NotReady, match="can't be read yet"):
        require_metadata(str(master))
    with h5py.File(meta, "w") as writer:
        writer.flush()
        with pytest.raises(NotReady, match=rf"{meta}, which is held by a writer"):
            require_metadata(str(master))
    with pytest.raises(NotReady, match=rf"{meta}, which has nothing for pixel_mask"):
        require_metadata(str(master))
    with h5py.File(meta, "w") as writer:
        writer.create_dataset("mask", (3, 2), "u4")
    with pytest.raises(NotReady, match="nothing for pixel_mask"):
        require_metadata(str(master))
    with h5py.File(meta, "r+") as writer:
        writer["mask"][:] = 0
    assert list(require_metadata(str(master)).versions) == [str(master), str(meta)]
    meta.write_text("something else")
    with pytest.raises(UnusableMaster):
        require_metadata(str(master))


def test_what_a_finished_file_lacks_is_not_waited_for(master, meta):
    """As DIALS takes it; Diamond's own meta files have masks that nobody has written."""
    with h5py.File(meta, "w") as writer:
        writer.create_dataset("mask", (3, 2), "u4")
    os.utime(meta, (1e9, 1e9))
    require_metadata(str(master))
    with h5py.File(meta, "w"):
        pass
    os.utime(meta, (1e9, 1e9))
    require_metadata(str(master))


def test_a_mask_that_nobody_writes_holds_up_the_first_images_only(master, meta):
    """A detector may write to its meta file for as long as it measures, and to the mask in it never."""
    with h5py.File(meta, "w") as writer:
        writer.create_dataset("mask", (3, 2), "u4")
    with pytest.raises(NotReady, match="nothing for pixel_mask"):
        require_metadata(str(master))
    before = time.time() - LATE_METADATA_S
    os.utime(master, (before, before))
    require_metadata(str(master))


def test_a_chain_of_axes_is_followed(master, meta):
    """From the sample to an axis in a soft-linked group, from there to one in the meta file, and on in that."""
    write_mask(meta, 0)
    with h5py.File(master, "r+") as file:
        file["entry/sample/depends_on"] = np.bytes_("axes/phi")
        file["elsewhere/phi"] = 1.0
        file["elsewhere/phi"].attrs["depends_on"] = np.bytes_("/elsewhere/omega")
        file["entry/sample/axes"] = h5py.SoftLink("/elsewhere")
        file["elsewhere/omega"] = h5py.ExternalLink("angles.h5", "/omega")
    with pytest.raises(NotReady, match=r"angles\.h5, which isn't there: /elsewhere/omega of"):
        require_metadata(str(master))
    with h5py.File(master.with_name("angles.h5"), "w") as file:
        file["omega"] = np.arange(4)
        file["omega"].attrs["depends_on"] = np.bytes_("base")
        file["base"] = h5py.ExternalLink("base.h5", "/base")
    with pytest.raises(NotReady, match=r"base\.h5, which isn't there"):
        require_metadata(str(master))
    with h5py.File(master.with_name("base.h5"), "w") as file:
        file["base"] = 0.0
    require_metadata(str(master))


@pytest.mark.parametrize("chunks", [None, (1,)])
def test_metadata_are_told_apart_by_what_they_hold(master, meta, chunks):
    """A meta file may change with each image, and its mask stay."""
    prints = []
    for values, more in (([0, 1], 0), ([0, 1], 1), ([1, 1], 1)):
        with h5py.File(meta, "w") as file:
            file.create_dataset("mask", data=np.array(values), chunks=chunks)
            file["frames"] = more
        prints.append(require_metadata(str(master)))
    assert prints[0].versions != prints[1].versions
    assert prints[0].fingerprint == prints[1].fingerprint != prints[2].fingerprint


@pytest.mark.parametrize("group", ["entry", "entry/instrument", "entry/instrument/detector"])
def test_what_nothing_links_is_not_waited_for(master, meta, group):
    """A group in another file need not have all that DIALS takes if it's there; a link in it has to lead somewhere."""
    write_mask(meta, 0)
    with h5py.File(master, "r+") as file, h5py.File(master.with_name("other.h5"), "w") as other:
        file.copy(group, other, "group", expand_external=False)
        del file[group]
        file[group] = h5py.ExternalLink("other.h5", "/group")
    assert set(require_metadata(str(master)).versions) == {str(master), str(meta), str(master.with_name("other.h5"))}
    with h5py.File(master.with_name("other.h5"), "r+") as file:
        file["entry/instrument/detector/saturation_value".replace(group, "group", 1)] = h5py.ExternalLink(
            "never.h5", "/top"
        )
    with pytest.raises(NotReady, match=r"never\.h5, which isn't there: saturation_value of"):
        require_metadata(str(master))


def test_a_link_to_nothing_is_waited_for_whatever_stands_behind_it(master, meta):
    """The link may be a soft one to it, or a group's whose fields are then wanted."""
    write_mask(meta, 0)
    detector = "entry/instrument/detector"
    with h5py.File(master, "r+") as file:
        file[f"{detector}/saturation_value"] = h5py.SoftLink("/entry/meta/top")
        file["entry/meta"] = h5py.ExternalLink("meta.h5", "/")
        file[f"{detector}/detectorSpecific"] = h5py.ExternalLink("meta.h5", "/specific")
    with pytest.raises(NotReady, match=rf"{meta}, which has nothing for saturation_value of {master} yet"):
        require_metadata(str(master))
    with h5py.File(meta, "r+") as file:
        file["top"] = 7
    with pytest.raises(NotReady, match="nothing for detectorSpecific/pixel_mask"):
        require_metadata(str(master))
    with h5py.File(meta, "r+") as file:
        file.create_group("specific")
    require_metadata(str(master))


def test_a_mask_of_the_masters_own_has_to_be_written(master):
    with h5py.File(master, "r+") as file:
        del file["entry/instrument/detector/pixel_mask"]
        file["entry/instrument/detector"].create_dataset("pixel_mask", (3, 2), "u4", chunks=(3, 2))
    with pytest.raises(NotReady, match=rf"{master}, which has nothing for pixel_mask of {master} yet"):
        require_metadata(str(master))
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/pixel_mask"][:] = 0
    require_metadata(str(master))


@pytest.fixture
def mapped(master):
    """A master whose mask is a virtual dataset of two parts: one of the meta file, one of what that maps."""
    layout = h5py.VirtualLayout((4, 2), "u4")
    for row, name in ((0, "meta.h5"), (2, "parts.h5")):
        layout[row : row + 2] = h5py.VirtualSource(name, "mask", (2, 2), "u4")
    with h5py.File(master, "r+") as file:
        del file["entry/instrument/detector/pixel_mask"]
        file["entry/instrument/detector"].create_virtual_dataset("pixel_mask", layout)
    inner = h5py.VirtualLayout((2, 2), "u4")
    inner[:] = h5py.VirtualSource("part.h5", "mask", (2, 2), "u4")
    with h5py.File(master.with_name("parts.h5"), "w") as file:
        file.create_virtual_dataset("mask", inner)
    return master


def test_all_that_a_virtual_mask_maps_is_waited_for(mapped, meta):
    part = mapped.with_name("part.h5")
    with pytest.raises(NotReady, match=rf"{meta}, which isn't there"):
        require_metadata(str(mapped))
    write_mask(meta, [0, 0], [0, 0])
    with pytest.raises(NotReady, match=rf"{part}, which isn't there"):
        require_metadata(str(mapped))
    with h5py.File(part, "w") as file:
        file["other"] = 0
    with pytest.raises(NotReady, match=rf"{part}, which has nothing for pixel_mask"):
        require_metadata(str(mapped))
    with h5py.File(part, "w") as file:
        file.create_dataset("mask", (2, 2), "u4")
    with pytest.raises(NotReady, match=rf"{part}, which has nothing for pixel_mask"):
        require_metadata(str(mapped))
    write_mask(part, [0, 0], [0, 0])
    files = (mapped, meta, mapped.with_name("parts.h5"), part)
    assert set(require_metadata(str(mapped)).versions) == {str(file) for file in files}


def test_what_a_virtual_mask_maps_tells_metadata_apart(mapped, meta):
    prints = []
    for top, bottom in ((0, 0), (1, 0), (1, 2)):
        write_mask(meta, [0, 0], [0, top])
        write_mask(mapped.with_name("part.h5"), [0, 0], [0, bottom])
        prints.append(require_metadata(str(mapped)).fingerprint)
    assert len(set(prints)) == 3
    assert require_metadata(str(mapped)).fingerprint == prints[-1]
