"""Distributions of made-up summaries of volumes: no image is needed."""

import dataclasses

import numpy as np
import pytest

from synthct_jax.evaluation import distribution, metric_definitions, volume_summary
from synthct_jax.evaluation.distribution import Reference
from synthct_jax.evaluation.volume_summary import Volumes, VolumeSummary
from synthct_jax.metrics import haar_features, histogram
from synthct_jax.metrics.frechet import frechet_distance
from synthct_jax.metrics.kernel import KernelSums

FRECHET, KERNEL = haar_features.NAME, f"kernel_haar_v{haar_features.VERSION}"


def person(
    name: str, seed: int, *, slices: int = 8, offset: float = 0.0, slice_mm=6.0
) -> VolumeSummary:
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 0.3, 6)  # slices of a person are alike
    bins = len(histogram.CENTRES_HU)
    return VolumeSummary(
        name=name,
        slice_mm=slice_mm,
        counts=rng.integers(100, 120, bins),
        features={"haar": offset + own + rng.normal(size=(slices, 6))},
        spectra=np.abs(rng.normal(1, 0.1, (slices, 24))),
        checkerboard=rng.normal(size=slices),
        slice_differences=rng.uniform(1, 2, slices - 1),
    )


def people(count: int, *, start: int = 0, **changed) -> list[VolumeSummary]:
    return [person(f"p{i}", i, **changed) for i in range(start, start + count)]


def compare(synthetic, reference) -> dict[str, distribution.Distance]:
    return distribution.compare(synthetic, reference, intervals=False)


def outside(distances) -> dict[str, bool | None]:
    """Return for each metric whether it is worse than between real CT."""
    return {
        name: metric_definitions.named(name).is_outside(
            distance.interval.value, distance.real_vs_real
        )
        for name, distance in distances.items()
    }


def test_real_ct_are_inside_and_others_outside_the_real_vs_real_range():
    real = people(8)
    reference = Reference(real)
    perfect = compare(real, reference)
    assert not any(outside(perfect).values())
    wrong = compare(people(8, offset=3.0), reference)
    assert outside(wrong)[FRECHET] and outside(wrong)[KERNEL]
    assert wrong[FRECHET].real_vs_real == perfect[FRECHET].real_vs_real
    # The histograms are the same ones.
    assert not outside(wrong)["wasserstein"]


def test_halves_have_equal_sizes_and_nobody_is_on_both_sides():
    real = people(9)
    divisions = Reference(real).divisions(people(9, offset=1.0))
    assert len(divisions) == distribution.DIVISIONS
    for synthetic, first, second in divisions:
        assert len(synthetic) == len(first) == len(second) == 4
        # The same nine people: synthetic CT are those of the first half.
        assert set(synthetic) == set(first)
        assert not set(first) & set(second)
    # Fewer synthetic CT, of other people: the first real half is as small.
    synthetic, first, second = Reference(real).divisions(people(2, start=100))[0]
    assert len(synthetic) == len(first) == 2 and len(second) == 4
    sizes = distribution.sample_sizes(people(2, start=100), Reference(real))
    assert sizes == {"synthetic": [2, 16], "real": [4, 32], "first_real": 2}


def test_subjects_with_mr_and_ct_are_not_compared_with_themselves():
    real, synthetic = people(8), people(7)
    for division in Reference(real).divisions(synthetic):
        first = {synthetic[i].name for i in division.synthetic}
        assert first and not first & {real[i].name for i in division.second_real}
        assert len(division.synthetic) == len(division.first_real)
    alike = compare(synthetic, Reference(real))
    assert not any(outside(alike).values())


def test_tissue_that_some_subjects_lack_is_no_fault():
    real = []
    for i, summary in enumerate(people(8)):
        counts = summary.counts.copy()
        if i > 1:  # air in two of eight
            counts[histogram.CENTRES_HU < -900] = 0
        real.append(dataclasses.replace(summary, counts=counts))
    perfect = compare(real, Reference(real))
    assert np.isfinite(perfect["share_air"].interval.value)
    assert not any(outside(perfect).values())
    airless = [
        dataclasses.replace(
            summary, counts=np.where(histogram.CENTRES_HU < -900, 0, 100)
        )
        for summary in real
    ]
    assert outside(compare(airless, Reference(real)))["wasserstein_air"]


def test_few_real_subjects_judge_nothing():
    distances = compare(people(5, offset=9.0), Reference(people(5)))
    assert set(outside(distances).values()) == {None}
    assert distances[FRECHET].real_vs_real is not None


def test_slice_differences_of_other_spacings_are_not_compared():
    distances = compare(people(6), Reference(people(6, start=50, slice_mm=3.0)))
    assert (
        "slice_difference_median" not in distances
        and "slice_difference_smallest" in distances
    )


def test_intervals_are_as_wide_as_subjects_differ(monkeypatch):
    """Even where synthetic and real CT are the same: other people give other values."""
    names = (FRECHET, "wasserstein")
    definitions = {name: metric_definitions.named(name) for name in names}
    monkeypatch.setattr(volume_summary, "DISTRIBUTION", definitions)
    draws = [
        distribution.compare(drawn, Reference(drawn), intervals=number < 2)
        for number, drawn in enumerate(people(10, start=1000 * k) for k in range(1, 13))
    ]
    for name in names:
        spread = np.std([distances[name].interval.value for distances in draws], ddof=1)
        for distances in draws[:2]:
            interval = distances[name].interval
            width = interval.high - interval.low
            assert 1.5 * spread < width < 12 * spread, (name, spread, width)


def test_single_subject_has_neither_interval_nor_range():
    reference = Reference(people(1, start=5))
    distances = distribution.compare(people(1), reference)
    distance = distances[FRECHET]
    assert distance.interval.low is distance.interval.high is None
    assert distance.real_vs_real is outside(distances)[FRECHET] is None
    assert distance.interval.value > 0
    sizes = distribution.sample_sizes(people(1), reference)
    assert sizes == {"synthetic": [1, 8], "real": [1, 8], "first_real": None}


def test_intervals_are_about_the_value_and_the_same_each_time():
    first, second = (
        distribution.compare(people(6, start=20), Reference(people(8))) for _ in (0, 1)
    )
    assert first == second
    for name in (FRECHET, "wasserstein", "high_frequencies"):
        interval = first[name].interval
        assert interval.low < interval.value < interval.high


def test_intervals_end_at_the_limits_of_their_metric():
    distances = distribution.compare(people(3), Reference(people(4)))
    for name, distance in distances.items():
        low, high = metric_definitions.named(name).limits
        if distance.interval.low is not None:
            assert low <= distance.interval.low <= distance.interval.high <= high


def test_metrics_are_the_distances_of_the_chosen_volumes():
    synthetic, real = people(3, offset=0.5), people(4)
    volumes = Volumes(synthetic, real)
    distances = volumes.metrics(np.array([0, 2]), 3 + np.array([1, 3]))
    a, b = (
        np.concatenate([summary.features["haar"] for summary in chosen])
        for chosen in ([synthetic[0], synthetic[2]], [real[1], real[3]])
    )
    assert distances[FRECHET] == pytest.approx(frechet_distance(a, b))
    sums = KernelSums(np.split(np.concatenate([a, b]), 4), ["p0", "p2", "p1", "p3"])
    assert distances[KERNEL] == pytest.approx(sums.distance([0, 1], [2, 3]))


def test_missing_ct_is_refused():
    with pytest.raises(ValueError, match="no real CT"):
        Reference([])
    with pytest.raises(ValueError, match="no synthetic CT"):
        distribution.compare([], Reference(people(2)))
