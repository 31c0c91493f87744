"""A phantom's MR as DICOM: it conforms, and reads back as it was drawn."""

import subprocess

import numpy as np
import pytest

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from input_pipeline.scans.read_scan import read_scan
from tests.support.programs import need


@pytest.fixture(scope="module")
def subject():
    return draw_subject(3, size=64, spacing_mm=6.0, slices=4, slice_mm=9.0)


def test_series_read_back_as_they_were_drawn(subject, tmp_path):
    write_dicom(tmp_path, subject)
    channels = ("in_phase", "out_of_phase")
    volume = read_scan(tmp_path, modality="MR", channels=channels)
    np.testing.assert_array_equal(volume.voxels, np.round(subject.mr[..., :2]))
    np.testing.assert_allclose(volume.affine, subject.affine)


def test_series_conform_to_the_standard(subject, tmp_path):
    need("dciodvfy")
    write_dicom(tmp_path, subject)
    for path in sorted(tmp_path.iterdir())[::4]:
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        assert "MRImage" in lines
        assert not [line for line in lines if line.startswith("Error")]
