"""An MR of the wrong kind is refused or named."""

import dataclasses

import numpy as np
import pytest

from input_pipeline.body import body_mask
from input_pipeline.intensity import MR_ONE, mr_scale, mr_to_int16
from input_pipeline.phantom import draw_subject
from input_pipeline.preparation.statistics import count_values, summarise
from input_pipeline.volume import MR_CHANNELS, UnusableScan, Volume
from synthct_jax.inference import input_check

DATA = {"spacing_mm": 8.0, "size": 48, "mr_percentile": 99.5}
IN, OUT, T2 = MR_CHANNELS


@pytest.fixture(scope="module")
def mr() -> Volume:
    """A subject's three images."""
    subject = draw_subject(2, size=48, spacing_mm=8.0, slices=3, slice_mm=12.0)
    return Volume(
        voxels=subject.mr, affine=subject.affine, modality="MR", channels=MR_CHANNELS
    )


@pytest.fixture(scope="module")
def training_mr(mr):
    """Statistics of the images, as of a data set."""
    body = body_mask(mr.voxels, "MR", mr.spacing_mm)
    scale = mr_scale(mr.voxels, body, channels=mr.channels, percentile=99.5)
    counts = count_values(mr_to_int16(mr.voxels, scale), body)
    summary = summarise([counts], slices=3, pixels=body.size)
    return {"channels": list(MR_CHANNELS), **summary}


@pytest.fixture(scope="module")
def given(mr):
    """Return a function from some of the images to a scan, named as `names`."""

    def given(*images, names=(IN, OUT), zoom=1.0):
        voxels = mr.voxels[..., [MR_CHANNELS.index(name) for name in images]]
        affine = mr.affine @ np.diag([zoom, zoom, 1, 1])
        return dataclasses.replace(
            mr, voxels=voxels, channels=tuple(names[: len(images)]), affine=affine
        )

    return given


@pytest.fixture
def differences(training_mr):
    """Return a function from a scan to all that is said of it."""

    def differences(mr):
        body = body_mask(mr.voxels, "MR", mr.spacing_mm)
        return "; ".join(
            input_check.find_differences(mr, body, data=DATA, training_mr=training_mr)
        )

    return differences


def test_wrong_kinds_of_mr_are_named(given, differences):
    assert differences(given(IN, OUT)) == ""
    assert differences(given(T2, names=[T2])) == ""
    assert "have they been exchanged?" in differences(given(OUT, IN))
    assert "are they of the same examination?" in differences(given(IN, T2))
    assert "is it the same sequence?" in differences(given(T2))
    assert "the upper quartile of t2 in the body" in differences(given(IN, names=[T2]))
    assert "is it the same part of the body?" in differences(given(IN, zoom=0.6))


@pytest.mark.parametrize("channels", [[OUT], [OUT, IN]])
def test_brightness_is_compared_on_the_scale_of_the_training_alone(given, channels):
    """Beside in phase, out of phase has the scale of that."""
    mr = given(OUT, names=[OUT])
    body = body_mask(mr.voxels, "MR", mr.spacing_mm)
    dark = [[0.1 * MR_ONE, 0.2 * MR_ONE]] * len(channels)
    training_mr = {"channels": channels, "upper_quartiles": dark}
    differences = input_check.find_differences(
        mr, body, data=DATA, training_mr=training_mr
    )
    named = any("the upper quartile of out_of_phase" in text for text in differences)
    assert named == (channels == [OUT])


def test_dark_tissue_between_bright_one_is_named(given, differences):
    mr = given(IN, names=[IN])
    body = body_mask(mr.voxels, "MR", mr.spacing_mm)
    values = mr.voxels[..., 0]
    dark = body & (values < np.percentile(values[body], 60))
    voxels = np.where(dark[..., None], 0.3 * mr.voxels, mr.voxels)
    difference = differences(dataclasses.replace(mr, voxels=voxels))
    assert difference.startswith("the median of in_phase in the body is at")


def test_models_that_know_little_compare_little(given):
    mr = given(T2, zoom=0.6)
    body = body_mask(mr.voxels, "MR", mr.spacing_mm)
    known = {"body_fraction": 0.4}
    (only,) = input_check.find_differences(mr, body, data=DATA, training_mr=known)
    assert "cross-section" in only
    assert not list(input_check.find_differences(mr, body, data=DATA, training_mr={}))


def test_what_cannot_be_an_mr_is_refused(given):
    mr = given(IN, OUT)
    input_check.check_values(mr)
    ct = dataclasses.replace(mr, voxels=mr.voxels - 1000, source="ct.nii.gz")
    with pytest.raises(UnusableScan, match=r"ct.nii.gz: .* of in_phase are negative"):
        input_check.check_values(ct)
    with pytest.raises(UnusableScan, match="in_phase and out_of_phase are the same"):
        input_check.check_values(given(OUT, OUT))
