"""A CT series arrives in a real archive as it was written, or is said to be missing."""

import io
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive import TITLE, free_port, orthanc
from fake_dicom import Geometry, truncate, write_mr
from programs import need
from pydicom.uid import CTImageStorage

from input_pipeline.scans import dicom_send
from input_pipeline.scans.dicom_reader import read_dicom
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.structure_writer import Region, write_structures

SLICES = 18  # more than one request of STOW-RS


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    need("pynetdicom")
    folder = tmp_path_factory.mktemp("out")
    write_mr(folder / "mr", geometry=Geometry(shape=(SLICES, 12, 9)))
    mr = read_dicom(folder / "mr", modality="MR")
    with CtSeries(folder / "dicom", mr) as series:
        hu = np.random.default_rng(0).integers(-1024, 3071, mr.voxels.shape[:3])
        series.write(hu.astype(np.float32))
    return series


@pytest.fixture(scope="module")
def paths(series):
    return dicom_send.find_series(Path(series.paths[0]).parents[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("archive") / "orthanc") as archive:
        yield archive


@pytest.fixture
def archive(running):
    """Orthanc, empty."""
    running.clear()
    return running


@pytest.mark.parametrize("protocol", ["dicom", "dicomweb"])
def test_series_comes_back_from_the_archive_as_it_was_sent(paths, archive, protocol):
    address = getattr(archive, protocol)
    assert dicom_send.send(paths, address) == {}
    sent = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, paths)}
    series = next(iter(sent.values())).SeriesInstanceUID
    (entry,) = archive.query("series", Modality="CT")
    assert entry["0020000E"]["Value"] == [series]
    assert len(archive.query("instances", SeriesInstanceUID=series)) == SLICES
    assert dicom_send.send(paths, address) == {}  # once more does no harm
    returned = [pydicom.dcmread(io.BytesIO(file)) for file in archive.files()]
    assert len(returned) == len(sent) == SLICES
    for image in returned:
        original = sent[image.SOPInstanceUID]
        assert image == original
        np.testing.assert_array_equal(image.pixel_array, original.pixel_array)


@pytest.mark.parametrize("protocol", ["dicom", "dicomweb"])
def test_regions_are_sent_after_their_series(series, archive, protocol, tmp_path):
    mask = np.ones((SLICES, 12, 9), bool)
    region = Region(name="BODY", description="all", mask=mask, colour=(0, 255, 0))
    (tmp_path / "dicom").symlink_to(Path(series.paths[0]).parent)
    write_structures(tmp_path / "structures.dcm", series, [region])
    structures = pydicom.dcmread(tmp_path / "structures.dcm")
    contour = structures.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = list(contour.ContourData) * 1000  # more than 64 kB
    structures.save_as(tmp_path / "structures.dcm")
    paths = dicom_send.find_series(tmp_path)
    assert paths[-1] == tmp_path / "structures.dcm" and len(paths) == SLICES + 1
    assert dicom_send.send(paths, getattr(archive, protocol)) == {}
    returned = [pydicom.dcmread(io.BytesIO(file)) for file in archive.files()]
    (structures,) = (image for image in returned if image.Modality == "RTSTRUCT")
    assert structures == pydicom.dcmread(paths[-1])
    assert len(returned) == SLICES + 1


def test_instance_that_an_archive_cannot_read_is_named_and_the_others_are_stored(
    paths, archive, tmp_path
):
    copies = [Path(shutil.copy(path, tmp_path)) for path in paths]
    truncate(copies[2], keep=0.3)
    refused = dicom_send.send(copies, archive.dicomweb)
    assert len(archive.files()) == SLICES - 1
    assert refused == {"slice_0003.dcm": "refused with HTTP 400 Bad Request"}


def test_archive_whose_disk_fails_accepts_nothing(paths, tmp_path):
    with orthanc(tmp_path / "orthanc") as archive:
        shutil.rmtree(tmp_path / "orthanc" / "db")
        (tmp_path / "orthanc" / "db").write_text("no folder")
        refused = dicom_send.send(paths, archive.dicomweb)
    assert sorted(refused) == [path.name for path in paths]
    assert all("refused with " in reason for reason in refused.values())


def test_instances_that_are_refused_by_their_status_are_named(paths):
    """By a server that stores nothing: Orthanc refuses all instances or none."""
    from pynetdicom import AE, evt

    statuses = {3: 0xA700, 5: 0xB000}  # out of resources; a warning

    def answer(event):
        return statuses.get(event.dataset.InstanceNumber, 0x0000)

    entity = AE("ARCHIVE")
    entity.add_supported_context(CTImageStorage)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)]
    )
    try:
        refused = dicom_send.send(paths, f"dicom://ARCHIVE@127.0.0.1:{port}")
    finally:
        server.shutdown()
    assert refused == {"slice_0003.dcm": "refused with status 0xA700"}


@pytest.mark.parametrize("scheme", [f"dicom://{TITLE}@", "dicomweb://", "https://"])
def test_archive_that_is_not_there_accepts_nothing(paths, scheme):
    refused = dicom_send.send(paths, f"{scheme}127.0.0.1:{free_port()}")
    assert sorted(refused) == [path.name for path in paths]
    assert all(
        reason.startswith(("no connection to 127.0.0.1", "no answer from http"))
        for reason in refused.values()
    )


def test_archive_of_another_title_or_path_refuses_all(paths, archive):
    other = archive.dicom.replace(TITLE, "OTHER")
    reasons = set(dicom_send.send(paths, other).values())
    assert reasons == {"OTHER rejected the association with SYNTHCT"}
    nowhere = archive.dicomweb.replace("dicom-web", "nowhere")
    reasons = set(dicom_send.send(paths, nowhere).values())
    assert reasons == {"refused with HTTP 404 Not Found"}
    assert archive.files() == []


def test_each_reason_is_said_once_with_the_instances_that_have_it():
    refused = {f"slice_{n:04d}.dcm": "the connection was lost" for n in range(2, 7)}
    refused = {"slice_0001.dcm": "refused with status 0xA700", **refused}
    assert dicom_send.describe_refused(refused) == [
        "1 instance was not accepted: refused with status 0xA700 (slice_0001.dcm)",
        "5 instances were not accepted: the connection was lost (slice_0002.dcm, "
        "slice_0003.dcm, slice_0004.dcm and 2 more)",
    ]
    assert dicom_send.describe_refused({}) == []


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("archive", "expected dicom://AE_TITLE@HOST:PORT, dicomweb"),
        ("ftp://host/path", "expected dicom://AE_TITLE@HOST:PORT, dicomweb"),
        ("dicom://host:104", "the title of 1 to 16 letters"),
        ("dicom://A@host", "the title of 1 to 16 letters"),
        (f"dicom://{'A' * 17}@host:104", "the title of 1 to 16 letters"),
        ("dicom://A@host:port", "Port could not be cast"),
        ("https://me:secret@host/path", "expected it in ~/.netrc"),
    ],
)
def test_address_that_nothing_can_be_sent_to_is_refused(address, problem):
    with pytest.raises(ValueError, match=problem):
        dicom_send.check_address(address)


def test_missing_package_and_missing_series_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no CT series to send"):
        dicom_send.find_series(tmp_path)
    monkeypatch.setattr(dicom_send.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs pynetdicom, .*pip install pynetdicom"):
        dicom_send.check_address("dicom://A@host:104")
