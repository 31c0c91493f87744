"""Errors of synthetic CT against the truth: by hand, planted, as scikit-image's."""

import numpy as np
import pytest

from synthct_jax.metrics import paired


def images(slices: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic CT, true CT and a mask, (slices, 24, 20)."""
    z, y, x = np.mgrid[0:slices, 0:24, 0:20].astype(float)
    truth = 60 * np.sin(x / 3 + z) + 40 * np.cos(y / 4)
    truth += 900 * ((x - 9) ** 2 + (y - 11) ** 2 < 16)
    synthetic = 0.9 * truth + 30 * np.cos(x * y / 17) - 12
    return synthetic, truth, (x - 9) ** 2 + (y - 12) ** 2 < 70


# scikit-image 0.26.0: peak_signal_noise_ratio(truth[mask], synthetic[mask],
# data_range=4024).
@pytest.mark.parametrize(
    ("masked", "psnr"), [(False, 40.653894256337814), (True, 38.26177465350318)]
)
def test_psnr_is_that_of_scikit_image(masked, psnr):
    synthetic, truth, mask = images()
    mask = mask if masked else np.ones_like(mask)
    found = paired.errors(synthetic, truth, mask)["psnr"]
    assert found == pytest.approx(psnr, rel=1e-6)


# 16 slices are a batch; 19 do not divide.
@pytest.mark.parametrize("slices", [1, 19])
def test_errors_are_those_of_their_definitions(slices):
    synthetic, truth, mask = images(slices)
    error = (synthetic - truth)[mask]
    found = paired.errors(synthetic, truth, mask)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert found["me"] == pytest.approx(error.mean(), rel=1e-6)


def test_a_shift_by_30_hu_is_found_as_such():
    _, truth, mask = images()
    for shift in (30, -30):
        found = paired.errors(truth + shift, truth, mask)
        assert found["me"] == pytest.approx(shift, rel=1e-6)
        assert found["mae"] == pytest.approx(30, rel=1e-6)
        assert found["rmse"] == pytest.approx(30, rel=1e-6)


def test_equal_images_have_no_error():
    _, truth, mask = images()
    found = paired.errors(truth, truth, mask)
    assert found == {"mae": 0, "rmse": 0, "me": 0, "psnr": np.inf}


def test_psnr_looks_at_its_range_only():
    truth = np.full((1, 8, 8), 3000.0)
    mask = truth > 0
    found = paired.errors(truth + 500, truth, mask)
    assert found["psnr"] == np.inf
    assert found["mae"] == 500


def test_stored_integers_do_not_overflow():
    truth = np.full((1, 8, 8), -32000, np.int16)
    mask = np.ones((1, 8, 8), bool)
    assert paired.errors(-truth, truth, mask)["me"] == 64000


def test_only_the_mask_counts():
    synthetic, truth, mask = images()
    spoiled = np.where(mask, synthetic, 1e4)
    for measure in (
        paired.errors,
        lambda *volumes: paired.by_band(*volumes, {"all": (-2000, 2000)}),
        lambda *volumes: paired.error_counts(*volumes).tolist(),
    ):
        assert measure(spoiled, truth, mask) == measure(synthetic, truth, mask)


def test_each_tissue_has_its_own_errors():
    labels = np.array([[[0, 1], [1, 3]]])
    found = paired.by_label(
        np.array([[[5.0, 10], [-30, 7]]]),
        np.array([[[0.0, 0], [0, 8]]]),
        labels,
        count=4,
    )
    assert found == [
        {"mae": 5, "me": 5, "voxels": 1},
        {"mae": 20, "me": -10, "voxels": 2},
        None,
        {"mae": 1, "me": -1, "voxels": 1},
    ]
    with pytest.raises(ValueError, match="0 to 3, expected 0 to 2"):
        paired.by_label(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), labels, count=3)


def test_tissues_add_up_to_the_whole():
    synthetic, truth, mask = images(19)
    labels = (np.arange(19 * 24 * 20) % 5).reshape(19, 24, 20)
    found = paired.by_label(synthetic, truth, labels, count=5)
    assert sum(one["voxels"] for one in found) == labels.size
    whole = paired.errors(synthetic, truth, np.ones_like(mask))
    for name in ("mae", "me"):
        mean = sum(one[name] * one["voxels"] for one in found) / labels.size
        assert mean == pytest.approx(whole[name], rel=1e-6)


def test_bands_are_of_the_true_hu():
    truth = np.array([[[-800.0, -100], [-20, 40]]])
    synthetic = np.array([[[-790.0, 300], [-25, 45]]])
    found = paired.by_band(
        synthetic,
        truth,
        np.array([[[True, True], [True, False]]]),
        {
            "lung": (-np.inf, -400),
            "fat": (-200, -20),
            "soft tissue": (-20, 250),
            "bone": (250, np.inf),
        },
    )
    assert found == {
        "lung": {"mae": 10, "me": 10, "voxels": 1},
        "fat": {"mae": 400, "me": 400, "voxels": 1},
        "soft tissue": {"mae": 5, "me": -5, "voxels": 1},
        "bone": None,
    }


def test_errors_are_counted_in_bins_around_zero():
    errors = np.array([0, 9, -9, 11, -11, 5000, -5000, 29])
    truth = np.full((19, 1, 8), 100.0)
    counts = paired.error_counts(truth + errors, truth, truth > 0)
    assert counts.dtype == np.int64
    found = {
        hu: int(count) // 19
        for hu, count in zip(paired.ERROR_CENTRES_HU, counts, strict=True)
        if count
    }
    assert found == {-1000: 1, -20: 1, 0: 3, 20: 2, 1000: 1}


def test_the_border_is_one_voxel_at_either_side():
    truth = np.full((2, 5, 10), 50)
    truth[:, :, :6] = -100
    truth[:, :, 0] = -1000
    mask = np.ones_like(truth, bool)
    found = paired.fat_muscle_border(truth, mask)
    expected = np.zeros_like(mask)
    expected[:, :, 5:7] = True
    np.testing.assert_array_equal(found, expected)
    # The neighbouring slice has no part in it.
    truth[1] = 50
    assert not paired.fat_muscle_border(truth, mask)[1].any()


def test_the_rim_of_the_skin_is_no_fat():
    truth = np.full((1, 9, 9), 40)
    truth[0, 0], truth[0, 1] = -1000, -100  # half skin, half air
    assert not paired.fat_muscle_border(truth, np.ones((1, 9, 9), bool)).any()
    mask = np.ones((1, 9, 9), bool)
    mask[0, 0] = False
    assert not paired.fat_muscle_border(np.where(mask, truth, 40), mask).any()


def test_what_cannot_be_compared_is_refused():
    synthetic, truth, mask = images()
    with pytest.raises(ValueError, match=r"shapes differ.*\(2, 24, 20\)"):
        paired.errors(synthetic[:2], truth, mask)
    with pytest.raises(ValueError, match="mask is empty"):
        paired.errors(synthetic, truth, np.zeros_like(mask))
    with pytest.raises(ValueError, match=r"expected \(slices, rows, columns\)"):
        paired.errors(synthetic[0], truth[0], mask[0])
