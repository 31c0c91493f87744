"""Marked regions are where the spread is high over more than single voxels."""

import numpy as np

from synthct_jax.quality.regions import LIMIT_HU, find_body, find_regions

SPACING_MM = (6.0, 2.0, 2.0)
BODY = np.zeros((9, 60, 60), bool)
BODY[:, 10:50, 10:40] = True
BODY[:, 20:30, 44:50] = True  # an arm
# The outline in the MR has air around the skin.
HU = np.where(BODY, 40.0, -1000.0)
HU[:, 20:30, 20:30] = -900.0  # gas
OUTLINE = np.zeros_like(BODY)
OUTLINE[:, 7:53, 7:53] = True


def marked(spread: np.ndarray) -> np.ndarray:
    outline, region = find_regions(find_body(HU, OUTLINE), spread, SPACING_MM)
    np.testing.assert_array_equal(outline.mask, BODY)
    return region.mask


def test_disagreement_over_centimetres_is_marked_and_that_of_a_voxel_is_not():
    spread = np.full(BODY.shape, 0.5 * LIMIT_HU)
    spread[2:7, 15:30, 15:30] = 2 * LIMIT_HU
    spread[:, 45, 37] = 2 * LIMIT_HU
    region = marked(spread)
    assert region[4, 18:27, 18:27].all()
    assert not region[:, 35:].any() and not region[:, :, 35:].any()


def test_limit_counts_the_body_alone():
    """The skin is not diluted by the air beside it, and air is not marked."""
    everywhere = np.full(BODY.shape, LIMIT_HU + 1.0)
    np.testing.assert_array_equal(marked(everywhere), BODY)
    assert not marked(np.where(OUTLINE, LIMIT_HU - 1.0, 10 * LIMIT_HU)).any()


def test_one_translation_marks_nothing():
    (outline,) = find_regions(find_body(HU, OUTLINE), None, SPACING_MM)
    assert outline.name == "BODY" and outline.interpreted_type == "EXTERNAL"
