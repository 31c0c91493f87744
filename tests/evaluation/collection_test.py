"""Collections of volumes that are only summaries: no image is needed."""

import dataclasses

import numpy as np
import pytest

from synthct_jax.evaluation import distribution
from synthct_jax.evaluation.distribution import Reference
from synthct_jax.evaluation.distribution_metrics import Summary, Table
from synthct_jax.metrics import haar_features, histogram
from synthct_jax.metrics.frechet import frechet_distance
from synthct_jax.metrics.kernel import kernel_distance

FRECHET, KERNEL = haar_features.NAME, f"kernel_haar_v{haar_features.VERSION}"


def person(
    name: str, seed: int, *, slices: int = 8, offset: float = 0.0, slice_mm=6.0
) -> Summary:
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 0.3, 6)  # slices of a person are alike
    bins = len(histogram.CENTRES_HU)
    return Summary(
        name=name,
        voxels=1000,
        slice_mm=slice_mm,
        counts=rng.integers(100, 120, bins),
        features={"haar": offset + own + rng.normal(size=(slices, 6))},
        spectra=np.abs(rng.normal(1, 0.1, (slices, 24))),
        checkerboard=rng.normal(size=slices),
        jumps=rng.uniform(1, 2, slices - 1),
    )


def people(count: int, *, start: int = 0, **changed) -> list[Summary]:
    return [person(f"p{i}", i, **changed) for i in range(start, start + count)]


def test_the_same_ct_are_inside_and_others_outside_of_the_floor():
    real = people(8)
    reference = Reference(real)
    perfect = distribution.compare(real, reference)
    assert not any(comparison.outside for comparison in perfect.values())
    wrong = distribution.compare(people(8, offset=3.0), reference)
    assert wrong[FRECHET].outside and wrong[KERNEL].outside
    assert wrong[FRECHET].floor == perfect[FRECHET].floor
    # The histograms are the same ones.
    assert not wrong["wasserstein"].outside


def test_value_and_floor_are_of_the_same_sizes_and_nobody_is_on_both_sides():
    real = people(9)
    halves = Reference(real).halves(people(9, offset=1.0))
    assert len(halves) == distribution.HALVES
    for half in halves:
        assert len(half.synthetic) == len(half.first) == len(half.second) == 4
        # The same nine people: synthetic CT are those of the first half.
        assert set(half.synthetic) == set(half.first)
        assert not set(half.first) & set(half.second)
    # Fewer synthetic CT, of other people: the first real half is as small.
    (half, *_) = Reference(real).halves(people(2, start=100))
    assert len(half.synthetic) == len(half.first) == 2 and len(half.second) == 4
    found = distribution.compare(people(2, start=100), Reference(real))[FRECHET]
    assert found.subjects == (2, 4) and found.slices == (16, 32)
    assert found.floor.subjects == (2, 4)


def test_who_is_in_both_only_in_part_is_not_compared_with_himself():
    real, synthetic = people(8), people(7)
    for half in Reference(real).halves(synthetic):
        first = {synthetic[i].name for i in half.synthetic}
        assert first and not first & {real[i].name for i in half.second}
        assert len(half.synthetic) == len(half.first)
    alike = distribution.compare(synthetic, Reference(real))
    assert not any(comparison.outside for comparison in alike.values())


def test_a_tissue_that_some_people_lack_is_no_fault():
    real = []
    for i, one in enumerate(people(8)):
        counts = one.counts.copy()
        if i > 1:  # air in two of eight
            counts[histogram.CENTRES_HU < -900] = 0
        real.append(dataclasses.replace(one, counts=counts))
    perfect = distribution.compare(real, Reference(real))
    assert np.isfinite(perfect["share_air"].value)
    assert not any(comparison.outside for comparison in perfect.values())
    airless = [
        dataclasses.replace(one, counts=np.where(histogram.CENTRES_HU < -900, 0, 100))
        for one in real
    ]
    assert distribution.compare(airless, Reference(real))["wasserstein_air"].outside


def test_a_few_real_people_judge_nothing():
    found = distribution.compare(people(5, offset=9.0), Reference(people(5)))
    assert all(comparison.outside is None for comparison in found.values())
    assert found[FRECHET].floor is not None


def test_jumps_of_other_slice_distances_are_not_compared():
    found = distribution.compare(
        people(6), Reference(people(6, start=50, slice_mm=3.0))
    )
    assert "jumps_median" not in found and "jumps_least" in found


def test_intervals_are_as_wide_as_people_differ():
    """Even where synthetic and real CT are the same: other people give other values."""
    draws = [
        distribution.compare(drawn, Reference(drawn), intervals=number < 2)
        for number, drawn in enumerate(people(10, start=1000 * k) for k in range(1, 13))
    ]
    for name in (FRECHET, "wasserstein"):
        spread = np.std([found[name].value for found in draws], ddof=1)
        for found in draws[:2]:
            width = found[name].high - found[name].low
            assert 1.5 * spread < width < 12 * spread, (name, spread, width)


def test_a_single_person_has_neither_interval_nor_floor():
    found = distribution.compare(people(1), Reference(people(1, start=5)))[FRECHET]
    assert found.low is found.high is found.floor is found.outside is None
    assert found.slices == (8, 8) and found.value > 0


def test_intervals_are_about_the_value_and_the_same_each_time():
    first, second = (
        distribution.compare(people(6, start=20), Reference(people(8))) for _ in (0, 1)
    )
    assert first == second
    for name in (FRECHET, "wasserstein", "high_frequencies"):
        assert first[name].low < first[name].value < first[name].high


def test_a_table_gives_what_the_distances_themselves_give():
    synthetic, real = people(3, offset=0.5), people(4)
    table = Table(synthetic, real)
    found = table.metrics(np.array([0, 2]), 3 + np.array([1, 3]))
    a, b = (
        np.concatenate([one.features["haar"] for one in each])
        for each in ([synthetic[0], synthetic[2]], [real[1], real[3]])
    )
    assert found[FRECHET] == pytest.approx(frechet_distance(a, b))
    groups = [np.repeat(names, 8) for names in (["p0", "p2"], ["p1", "p3"])]
    expected = kernel_distance(a, b, groups_a=groups[0], groups_b=groups[1])
    assert found[KERNEL] == pytest.approx(expected)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no real CT"):
        Reference([])
    with pytest.raises(ValueError, match="no synthetic CT"):
        distribution.compare([], Reference(people(2)))
