"""Errors of synthetic CT against the truth, by hand and as scikit-image has them."""

import numpy as np
import pytest

from synthct_jax.metrics import paired


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic CT, true CT and a mask, (3, 24, 20)."""
    z, y, x = np.mgrid[0:3, 0:24, 0:20].astype(float)
    truth = 60 * np.sin(x / 3 + z) + 40 * np.cos(y / 4)
    truth += 900 * ((x - 9) ** 2 + (y - 11) ** 2 < 16)
    synthetic = 0.9 * truth + 30 * np.cos(x * y / 17) - 12
    return synthetic, truth, (x - 9) ** 2 + (y - 12) ** 2 < 70


# scikit-image 0.26.0: structural_similarity(data_range=4024, full=True) of each slice,
# shifted by 1024, 0 outside the mask, averaged over the mask 3 pixels from the border;
# peak_signal_noise_ratio(data_range=4024) over the mask.
@pytest.mark.parametrize(
    ("masked", "ssim", "psnr"),
    [
        (False, 0.9863677381711861, 40.821579056279916),
        (True, 0.9967629890988011, 38.444360555953125),
    ],
)
def test_ssim_and_psnr_are_those_of_scikit_image(masked, ssim, psnr):
    synthetic, truth, mask = images()
    mask = mask if masked else np.ones_like(mask)
    found = paired.structural_similarity(synthetic, truth, mask)
    assert found == pytest.approx(ssim, rel=1e-9)
    found = paired.peak_signal_to_noise(synthetic, truth, mask)
    assert found == pytest.approx(psnr, rel=1e-12)


def test_only_the_mask_counts():
    synthetic, truth, mask = images()
    spoiled = np.where(mask, synthetic, 1e4)
    for metric in (
        paired.mean_error,
        paired.mean_absolute_error,
        paired.root_mean_squared_error,
        paired.peak_signal_to_noise,
        paired.structural_similarity,
    ):
        assert metric(spoiled, truth, mask) == metric(synthetic, truth, mask)


def test_a_shift_by_30_hu_is_found_as_such():
    _, truth, mask = images()
    assert paired.mean_error(truth + 30, truth, mask) == pytest.approx(30)
    assert paired.mean_absolute_error(truth - 30, truth, mask) == pytest.approx(30)
    assert paired.root_mean_squared_error(truth + 30, truth, mask) == pytest.approx(30)
    assert paired.mean_error(truth - 30, truth, mask) == pytest.approx(-30)


def test_equal_images_have_no_error():
    _, truth, mask = images()
    assert paired.mean_absolute_error(truth, truth, mask) == 0
    assert paired.structural_similarity(truth, truth, mask) == pytest.approx(1)
    assert paired.peak_signal_to_noise(truth, truth, mask) == np.inf


def test_stored_integers_do_not_overflow():
    truth = np.full((1, 8, 8), -32000, np.int16)
    synthetic = np.full((1, 8, 8), 32000, np.int16)
    mask = np.ones((1, 8, 8), bool)
    assert paired.mean_error(synthetic, truth, mask) == 64000


def test_each_tissue_has_its_own_errors():
    labels = np.array([0, 1, 1, 3])
    found = paired.by_label(
        np.array([5.0, 10, -30, 7]), np.array([0.0, 0, 0, 8]), labels, count=4
    )
    assert found == [
        {"mae": 5, "me": 5, "voxels": 1},
        {"mae": 20, "me": -10, "voxels": 2},
        None,
        {"mae": 1, "me": -1, "voxels": 1},
    ]
    with pytest.raises(ValueError, match="0 to 3, expected 0 to 2"):
        paired.by_label(np.zeros(4), np.zeros(4), labels, count=3)


def test_what_cannot_be_compared_is_refused():
    synthetic, truth, mask = images()
    with pytest.raises(ValueError, match=r"shapes differ.*\(2, 24, 20\)"):
        paired.mean_error(synthetic[:2], truth, mask)
    with pytest.raises(ValueError, match="mask is empty"):
        paired.structural_similarity(synthetic, truth, np.zeros_like(mask))
    with pytest.raises(ValueError, match="7 rows and columns or more"):
        paired.structural_similarity(synthetic[:, :6], truth[:, :6], mask[:, :6])
