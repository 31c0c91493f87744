"""HU bands of tissues: without gaps, and the phantom's tissues are in theirs."""

import itertools

import numpy as np
import pytest

from input_pipeline.phantom.tissues import TABLE
from synthct_jax.metrics import histogram, tissues

# Marrow of less than 250 HU counts as soft tissue: no threshold separates the two.
BAND_OF_PHANTOM_TISSUE = {
    "gas": "air",
    "lung": "lung",
    "subcutaneous_fat": "fat",
    "visceral_fat": "fat",
    "cortical_bone": "bone",
    "sclerotic_bone": "bone",
    "metal": "bone",
}


def test_bands_cover_all_hu_without_gaps():
    bands = list(tissues.BANDS.values())
    assert bands[0][0] == -np.inf and bands[-1][1] == np.inf
    for (_, high), (low, _) in itertools.pairwise(bands):
        assert high == low


@pytest.mark.parametrize("name", [name for name in TABLE if name != "outside"])
def test_tissues_of_the_phantom_are_in_their_bands(name):
    tissue = TABLE[name]
    band = BAND_OF_PHANTOM_TISSUE.get(name, "soft_tissue")
    low, high = tissues.BANDS[band]
    for hu in (tissue.hu, tissue.hu_portal_venous):
        assert low <= hu < high
        counts = histogram.count_hu(np.full((1, 4, 4), hu), np.full((1, 4, 4), True))
        assert histogram.share(counts, band) == 1


def test_limits_are_described_in_words():
    assert tissues.describe("air") == "below -900 HU"
    assert tissues.describe("fat") == "from -190 to -30 HU"
    assert tissues.describe("bone") == "from 250 HU up"
