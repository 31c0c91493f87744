"""The baselines: water, the mapped histogram, and two thresholds."""

import numpy as np
import pytest

from input_pipeline.preparation.statistics import count_values
from synthct_jax.evaluation import baselines


def counts(values) -> np.ndarray:
    stored = np.asarray(values, np.int16).reshape(1, 1, -1, 1)
    return count_values(stored, np.ones(stored.shape[:3], bool))[0]


def test_water_is_water_in_the_body_and_air_outside():
    hu = baselines.water(np.array([True, False]))
    assert hu.tolist() == [0, -1024] and hu.dtype == np.float32


def test_mapped_mr_has_the_histogram_of_the_ct():
    rng = np.random.default_rng(0)
    mr = rng.gamma(3, 2000, 20_000).clip(0, 32767).astype(np.int16)
    ct = np.where(rng.random(20_000) < 0.4, -100, 60) + rng.normal(0, 15, 20_000)
    ct = ct.round().astype(np.int16)
    mapping = baselines.fit_histogram_map(counts(mr), counts(ct))
    hu = baselines.map_brightness(mapping, mr, np.ones(mr.shape, bool))
    quantiles = np.linspace(0.02, 0.98, 25)
    # Between the two peaks a quantile is anything.
    quantiles = quantiles[np.abs(quantiles - 0.4) > 0.02]
    np.testing.assert_allclose(
        np.quantile(hu, quantiles), np.quantile(ct, quantiles), atol=1.5
    )


def test_brighter_mr_never_becomes_less_dense():
    mapping = baselines.fit_histogram_map(
        counts([5, 9, 9, 4000]), counts([-90, -90, 50, 1200])
    )
    assert (np.diff(mapping) >= 0).all()
    assert mapping[0] == -90 and mapping[32767] == 1200


def test_outside_of_the_body_is_air():
    mapping = baselines.fit_histogram_map(counts([1, 2]), counts([10, 20]))
    mr, body = np.array([2, 2], np.int16), np.array([True, False])
    hu = baselines.map_brightness(mapping, mr, body)
    assert hu[0] == 20 and hu[1] == -1024


def test_bodies_without_a_voxel_are_refused():
    with pytest.raises(ValueError, match="0 voxels of MR"):
        baselines.fit_histogram_map(np.zeros(65536), counts([1]))


@pytest.mark.parametrize("fat", [14000, 1000])  # in phase, and suppressed
def test_thresholds_part_the_tissues_wherever_fat_lies(fat):
    hu = np.array([-850, 60, -110]).repeat(50)
    mr = np.array([100, 7000, fat]).repeat(50) + np.tile(np.arange(50), 3)
    body = np.ones(hu.shape, bool)
    mask = np.arange(150) % 2 > 0
    errors = sum(baselines.threshold_errors(mr, hu, m) for m in (mask, ~mask))
    table = baselines.fit_thresholds(errors)
    ct = baselines.map_brightness(table, mr, body)
    assert (ct == np.array([-900, 80, -100]).repeat(50)).all()
    assert len(table) == 32768 and table.dtype == np.float32
    assert np.count_nonzero(np.diff(table)) == 2


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_medians_follow_every_channel_and_fill_what_nobody_has(channels):
    rng = np.random.default_rng(0)
    dark = rng.random((3000, channels)) < 0.5
    mr = np.where(dark, 1000, 20000).astype(np.int16)
    place = dark @ 2 ** np.arange(channels)
    ct = (100 * place + rng.choice([-20, 0, 3, 5, 900], len(mr))).astype(np.int16)
    mask = np.arange(len(mr)) % 2 > 0
    counts = sum(baselines.median_counts(mr, ct, m) for m in (mask, ~mask))
    medians = baselines.fit_medians(counts)
    body = np.ones(len(mr), bool)
    body[0] = False
    hu = baselines.map_intensities(medians, mr, body)
    assert hu[0] == -1024 and hu.dtype == np.float32
    np.testing.assert_allclose(hu[1:], 100 * place[1:] + 3, atol=13)
    darker = baselines.map_intensities(medians, np.maximum(mr - 1000, -5), body)
    np.testing.assert_array_equal(darker, hu)
