"""Structural similarity against scikit-image and the SynthRAD challenges."""

import numpy as np
import pytest
from ct_images import images

from synthct_jax.metrics import similarity


# scikit-image 0.26.0, of both images clipped to -1024 ... 3000, -1024 outside the mask,
# plus 1024: map = structural_similarity(reference, synthetic, data_range=4024,
# full=True)[1]; map[3:-3, 3:-3, 3:-3][mask[3:-3, 3:-3, 3:-3]].mean().
@pytest.mark.parametrize(
    ("slices", "masked", "expected"),
    [
        (12, False, 0.9871961664529304),
        (12, True, 0.996734166341495),
        (29, True, 0.9967342975870676),
    ],
)
def test_ssim_is_that_of_scikit_image(slices, masked, expected):
    synthetic, reference, mask = images(slices)
    mask = mask if masked else np.ones_like(mask)
    ssim = similarity.structural_similarity(synthetic, reference, mask)
    assert ssim == pytest.approx(expected, rel=1e-7)


# The steps of ImageMetrics.ms_ssim in image_metrics.py of
# github.com/SynthRAD2025/evaluation (commit 17cac47), float64, scipy 1.17.1.
@pytest.mark.parametrize(
    ("masked", "expected"),
    [(False, 0.9945764187374404), (True, 0.9987185863197097)],
)
def test_ms_ssim_is_that_of_synthrad_2025(masked, expected):
    synthetic, reference, mask = images()
    mask = mask if masked else np.ones_like(mask)
    ms_ssim = similarity.multiscale_structural_similarity(synthetic, reference, mask)
    assert ms_ssim == pytest.approx(expected, rel=1e-7)


BOTH = [
    similarity.structural_similarity,
    similarity.multiscale_structural_similarity,
]


@pytest.mark.parametrize("measure", BOTH)
def test_equal_images_are_similar_and_inverted_ones_are_not(measure):
    _, reference, mask = images()
    assert measure(reference, reference, mask) == pytest.approx(1, abs=1e-6)
    assert measure(-reference, reference, mask) < 0.9


@pytest.mark.parametrize("measure", BOTH)
def test_voxels_outside_the_mask_do_not_count(measure):
    synthetic, reference, mask = images()
    spoiled = np.where(mask, synthetic, 1e4)
    assert measure(spoiled, reference, mask) == measure(synthetic, reference, mask)


def test_stored_integers_give_the_same_as_floats():
    synthetic, reference, mask = images()
    stored = [np.round(image).astype(np.int16) for image in (synthetic, reference)]
    floats = [image.astype(np.float64) for image in stored]
    for measure in BOTH:
        assert measure(*stored, mask) == measure(*floats, mask)


def test_ssim_of_fewer_slices_than_the_window_is_nan():
    synthetic, reference, mask = (volume[:6] for volume in images())
    assert np.isnan(similarity.structural_similarity(synthetic, reference, mask))
    # Padded to 97 slices, they have an MS-SSIM.
    ms_ssim = similarity.multiscale_structural_similarity(synthetic, reference, mask)
    assert 0.9 < ms_ssim < 1


def test_ms_ssim_of_a_mask_far_from_the_middle_is_nan():
    synthetic, reference, mask = images()
    mask = mask & (np.arange(20) < 6)
    assert np.isnan(
        similarity.multiscale_structural_similarity(synthetic, reference, mask)
    )


def test_volumes_that_do_not_fit_are_refused():
    synthetic, reference, mask = images()
    with pytest.raises(ValueError, match=r"shapes differ.*\(2, 24, 20\)"):
        similarity.structural_similarity(synthetic[:2], reference, mask)
    with pytest.raises(ValueError, match="mask is empty"):
        similarity.structural_similarity(synthetic, reference, np.zeros_like(mask))
    with pytest.raises(ValueError, match="7 rows and columns or more"):
        similarity.structural_similarity(
            synthetic[:, :6], reference[:, :6], mask[:, :6]
        )
    at_the_face = np.zeros_like(mask)
    at_the_face[:3] = True
    with pytest.raises(ValueError, match="near the faces"):
        similarity.structural_similarity(synthetic, reference, at_the_face)
