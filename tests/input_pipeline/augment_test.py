import numpy as np
import pytest

from input_pipeline.dataset.augment import Augmentation, place

FULL = Augmentation(
    crop=24, flip=True, rotate_degrees=10.0, scale_fraction=0.1, shift=4.0
)


def image(channels=2, size=32):
    rng = np.random.default_rng(1)
    plane = rng.integers(0, 1000, (size, size, 1), dtype=np.int16)
    return np.repeat(plane, channels, axis=-1)


def test_default_augmentation_keeps_the_slice():
    placement = Augmentation().draw(np.random.default_rng(0), 32)
    assert not placement.moved
    result = place(image(), placement, fill=-1024)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image())


def test_flip_mirrors_columns_of_about_half_of_the_samples():
    rng = np.random.default_rng(0)
    placements = [Augmentation(flip=True).draw(rng, 32) for _ in range(200)]
    assert 70 < sum(p.flip for p in placements) < 130
    flipped = next(p for p in placements if p.flip)
    np.testing.assert_array_equal(
        place(image(), flipped, fill=0), image()[:, ::-1].astype(np.float32)
    )


def test_crops_are_squares_of_the_slice_from_all_over():
    source = image(1)
    source[..., 0] = np.arange(32)[:, None] * 100 + np.arange(32)
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(100):
        result = place(source, Augmentation(crop=30).draw(rng, 32), fill=0)
        row, column = divmod(int(result[0, 0, 0]), 100)
        corners.add((row, column))
        np.testing.assert_array_equal(
            result, source[row : row + 30, column : column + 30]
        )
    assert corners == {(r, c) for r in range(3) for c in range(3)}


def test_channels_share_one_placement():
    rng = np.random.default_rng(0)
    for _ in range(10):
        result = place(image(3), FULL.draw(rng, 32), fill=7)
        assert result.shape == (24, 24, 3)
        np.testing.assert_array_equal(result[..., 0], result[..., 1])
        np.testing.assert_array_equal(result[..., 0], result[..., 2])


def test_interpolated_crop_and_flip_agree_with_plain_ones():
    """A vanishing rotation goes through the interpolation and must change nothing."""
    still = Augmentation(crop=24, flip=True)
    almost = Augmentation(crop=24, flip=True, rotate_degrees=1e-7)
    for seed in range(10):
        plain, moved = (
            a.draw(np.random.default_rng(seed), 32) for a in (still, almost)
        )
        assert moved.moved and not plain.moved
        np.testing.assert_allclose(
            place(image(), plain, fill=0), place(image(), moved, fill=0), atol=0.01
        )


def test_pixels_from_outside_are_air():
    rng = np.random.default_rng(0)
    shifted = place(image() + 1, Augmentation(shift=30.0).draw(rng, 32), fill=-1024)
    assert (shifted == -1024).any()


def test_shift_moves_by_pixels_and_zoom_enlarges():
    source = np.zeros((33, 33, 1), np.int16)
    source[12:21, 12:21] = 100
    rng = np.random.default_rng(3)
    areas = [
        (
            place(source, Augmentation(scale_fraction=0.2).draw(rng, 33), fill=0) > 50
        ).sum()
        for _ in range(50)
    ]
    assert min(areas) < 81 < max(areas)
    assert 0.6 * 81 <= min(areas) and max(areas) <= 1.55 * 81
    for _ in range(20):
        moved = place(source, Augmentation(shift=3.0).draw(rng, 33), fill=0)[..., 0]
        total = moved.sum()
        centre = [(moved.sum(axis=1 - a) @ np.arange(33)) / total for a in (0, 1)]
        assert np.abs(np.array(centre) - 16).max() <= 3.0
        assert total == pytest.approx(8100, rel=1e-3)
