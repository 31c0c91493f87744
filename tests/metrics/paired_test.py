"""Errors against a reference CT: by hand, planted, and those of scikit-image."""

import numpy as np
import pytest
from ct_images import images

from synthct_jax.metrics import paired


# scikit-image 0.26.0: peak_signal_noise_ratio(reference[mask], synthetic[mask],
# data_range=4024).
@pytest.mark.parametrize(
    ("masked", "psnr"), [(False, 40.653894256337814), (True, 38.26177465350318)]
)
def test_psnr_is_that_of_scikit_image(masked, psnr):
    synthetic, reference, mask = images()
    mask = mask if masked else np.ones_like(mask)
    measured = paired.errors(synthetic, reference, mask)["psnr"]
    assert measured == pytest.approx(psnr, rel=1e-6)


# A batch has 16 slices, which do not divide 19.
@pytest.mark.parametrize("slices", [1, 19])
def test_errors_follow_their_definitions(slices):
    synthetic, reference, mask = images(slices)
    error = (synthetic - reference)[mask]
    measured = paired.errors(synthetic, reference, mask)
    assert measured["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert measured["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert measured["me"] == pytest.approx(error.mean(), rel=1e-6)


def test_a_shift_of_30_hu_gives_errors_of_30_hu():
    _, reference, mask = images()
    for shift in (30, -30):
        measured = paired.errors(reference + shift, reference, mask)
        assert measured["me"] == pytest.approx(shift, rel=1e-6)
        assert measured["mae"] == pytest.approx(30, rel=1e-6)
        assert measured["rmse"] == pytest.approx(30, rel=1e-6)


def test_equal_images_have_no_error():
    _, reference, mask = images()
    measured = paired.errors(reference, reference, mask)
    assert measured == {"mae": 0, "rmse": 0, "me": 0, "psnr": np.inf}


def test_psnr_ignores_errors_beyond_its_range():
    reference = np.full((1, 8, 8), 3000.0)
    mask = reference > 0
    measured = paired.errors(reference + 500, reference, mask)
    assert measured["psnr"] == np.inf
    assert measured["mae"] == 500


def test_stored_integers_do_not_overflow():
    reference = np.full((1, 8, 8), -32000, np.int16)
    mask = np.ones((1, 8, 8), bool)
    assert paired.errors(-reference, reference, mask)["me"] == 64000


def test_voxels_outside_the_mask_do_not_count():
    synthetic, reference, mask = images()
    spoiled = np.where(mask, synthetic, 1e4)
    for measure in (
        paired.errors,
        lambda *volumes: paired.by_band(*volumes, {"all": (-2000, 2000)}),
        lambda *volumes: paired.error_counts(*volumes).tolist(),
    ):
        assert measure(spoiled, reference, mask) == measure(synthetic, reference, mask)


def test_errors_are_of_the_voxels_of_each_label():
    labels = np.array([[[0, 1], [1, 3]]])
    by_label = paired.by_label(
        np.array([[[5.0, 10], [-30, 7]]]),
        np.array([[[0.0, 0], [0, 8]]]),
        labels,
        count=4,
    )
    assert by_label == [
        {"mae": 5, "me": 5, "voxels": 1},
        {"mae": 20, "me": -10, "voxels": 2},
        None,
        {"mae": 1, "me": -1, "voxels": 1},
    ]
    with pytest.raises(ValueError, match="0 to 3, expected 0 to 2"):
        paired.by_label(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), labels, count=3)


def test_errors_of_labels_add_up_to_those_of_the_volume():
    synthetic, reference, mask = images(19)
    labels = (np.arange(19 * 24 * 20) % 5).reshape(19, 24, 20)
    by_label = paired.by_label(synthetic, reference, labels, count=5)
    assert sum(entry["voxels"] for entry in by_label) == labels.size
    whole = paired.errors(synthetic, reference, np.ones_like(mask))
    for name in ("mae", "me"):
        mean = sum(entry[name] * entry["voxels"] for entry in by_label) / labels.size
        assert mean == pytest.approx(whole[name], rel=1e-6)


def test_bands_are_of_the_reference_hu():
    reference = np.array([[[-800.0, -100], [-20, 40]]])
    synthetic = np.array([[[-790.0, 300], [-25, 45]]])
    by_band = paired.by_band(
        synthetic,
        reference,
        np.array([[[True, True], [True, False]]]),
        {
            "lung": (-np.inf, -400),
            "fat": (-200, -20),
            "soft tissue": (-20, 250),
            "bone": (250, np.inf),
        },
    )
    assert by_band == {
        "lung": {"mae": 10, "me": 10, "voxels": 1},
        "fat": {"mae": 400, "me": 400, "voxels": 1},
        "soft tissue": {"mae": 5, "me": -5, "voxels": 1},
        "bone": None,
    }


def test_errors_are_counted_in_bins_around_zero():
    errors = np.array([0, 9, -9, 11, -11, 5000, -5000, 29])
    reference = np.full((19, 1, 8), 100.0)
    counts = paired.error_counts(reference + errors, reference, reference > 0)
    assert counts.dtype == np.int64
    occupied = {
        hu: int(count) // 19
        for hu, count in zip(paired.ERROR_CENTRES_HU, counts, strict=True)
        if count
    }
    assert occupied == {-1000: 1, -20: 1, 0: 3, 20: 2, 1000: 1}


def test_border_is_one_voxel_on_either_side():
    reference = np.full((2, 5, 10), 50)
    reference[:, :, :6] = -100
    reference[:, :, 0] = -1000
    mask = np.ones_like(reference, bool)
    border = paired.fat_muscle_border(reference, mask)
    expected = np.zeros_like(mask)
    expected[:, :, 5:7] = True
    np.testing.assert_array_equal(border, expected)
    # Neighbours in other slices do not count.
    reference[1] = 50
    assert not paired.fat_muscle_border(reference, mask)[1].any()


def test_rim_of_the_skin_is_no_fat():
    reference = np.full((1, 9, 9), 40)
    reference[0, 0], reference[0, 1] = -1000, -100  # half skin, half air
    assert not paired.fat_muscle_border(reference, np.ones((1, 9, 9), bool)).any()
    mask = np.ones((1, 9, 9), bool)
    mask[0, 0] = False
    assert not paired.fat_muscle_border(np.where(mask, reference, 40), mask).any()


def test_volumes_that_do_not_fit_are_refused():
    synthetic, reference, mask = images()
    with pytest.raises(ValueError, match=r"shapes differ.*\(2, 24, 20\)"):
        paired.errors(synthetic[:2], reference, mask)
    with pytest.raises(ValueError, match="mask is empty"):
        paired.errors(synthetic, reference, np.zeros_like(mask))
    with pytest.raises(ValueError, match=r"expected \(slices, rows, columns\)"):
        paired.errors(synthetic[0], reference[0], mask[0])
