import time
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.archiver.icat_drop_file import MAX_FILE_SIZE, DataFile, dataset_name, format_dropfile

GOLDEN = b"""<?xml version="1.0" ?>
<icat version="1.0 RC6" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="icatXSD.xsd">
  <study>
    <investigation>
      <!--Producer: Plaza archiver-->
      <inv_number>MX12345</inv_number>
      <visit_id>MX12345-6</visit_id>
      <instrument>i03</instrument>
      <title>dont need it</title>
      <inv_type>experiment</inv_type>
      <dataset>
        <name>lysozyme/x1</name>
        <dataset_type>raw</dataset_type>
        <description>unknown</description>
        <datafile>
          <name>x_&#181;m&amp;1_0001.cbf</name>
          <location>/dls/i03/data/2024/mx12345-6/lysozyme/x1/x_&#181;m&amp;1_0001.cbf</location>
          <description>unknown</description>
          <datafile_version>1.0</datafile_version>
          <datafile_create_time>2024-02-03T05:05:06</datafile_create_time>
          <datafile_modify_time>2024-02-03T05:05:06</datafile_modify_time>
          <file_size>6224000</file_size>
        </datafile>
      </dataset>
    </investigation>
  </study>
</icat>
"""  # noqa: E501


@pytest.fixture
def an_hour_ahead(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("an_hour_ahead")
def test_dropfile_is_what_the_catalogue_reads_byte_for_byte():
    file = DataFile("/dls/i03/data/2024/mx12345-6/lysozyme/x1/x_µm&1_0001.cbf", 6224000, 1706933106.9)
    assert format_dropfile("mx12345-6", "i03", "lysozyme/x1", [file]) == GOLDEN


@pytest.mark.parametrize(
    ("path", "visit", "name"),
    [
        ("/dls/i03/data/2024/cm1-1/a/b/x_%d.cbf", "cm1-1", "a/b"),
        ("/dls/i03/data/2024/cm1-1/x_%d.cbf", "cm1-1", "topdir"),
        ("/dls/i03/data/2024/cm1-1/a/cm1-1/x.cbf", "cm1-1", "a/cm1-1"),
        ("/dls/i03/data/2024/cm1-1/a/x.cbf", "cm2-1", "a"),
        ("/dls/mx/data/mx1/mx1-6/a/b/x.h5", "mx1-6", "a/b"),
        ("/home/me/.plaza/beamline/cm1-1/a/b/x.cbf", "CM1-1", "a/b"),
        ("/tmp/cm1-1/x.cbf", "cm1-1", "topdir"),
        ("/a/b/c/d/e/f/g/x.cbf", "cm1-1", "f/g"),
        ("x.cbf", "cm1-1", "topdir"),
    ],
)
def test_data_set_is_named_after_the_folders_below_the_visit(path, visit, name):
    assert dataset_name(path, visit) == name


@pytest.mark.parametrize("visit", ["cm1", "cm1-1"])
def test_investigation_is_the_proposal(visit):
    root = ET.fromstring(format_dropfile(visit, "i03", "topdir", []))
    assert root.findtext("study/investigation/inv_number") == "CM1"
    assert root.findtext("study/investigation/visit_id") == visit.upper()


def test_file_beyond_3_tib_is_refused():
    assert DataFile("/x", MAX_FILE_SIZE, 0).size == MAX_FILE_SIZE
    with pytest.raises(ValueError, match="3 TiB"):
        DataFile("/x", MAX_FILE_SIZE + 1, 0)


@given(st.text(min_size=1).filter(lambda name: "/" not in name and "\r" not in name))
def test_any_name_gives_xml_that_says_it_or_is_refused(name):
    try:
        file = DataFile(f"/dls/{name}", 1, 0)
    except ValueError:
        return
    xml = format_dropfile("cm1-1", "i03", "topdir", [file])
    assert xml.isascii()
    assert ET.fromstring(xml).findtext(".//location") == f"/dls/{name}"
