"""From what was measured of each subject to what results hold of all of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.evaluation.distribution import LEAST_PEOPLE, Floor, worse_than
from synthct_jax.evaluation.distribution_metrics import Summary
from synthct_jax.evaluation.results import ANSWERS
from synthct_jax.metrics import histogram, paired, spectrum
from synthct_jax.metrics.bootstrap import mean_over_subjects

Entry = dict[str, Any]


def interval(values: Sequence[float]) -> dict[str, Any]:
    """{mean, low, high, n} of the values that are there; n = 0 where none is."""
    there = [value for value in values if not np.isnan(value)]
    if not there:
        return {"mean": float("nan"), "low": None, "high": None, "n": 0}
    return dataclasses.asdict(mean_over_subjects(there))


def consistency(
    subjects: Sequence[Entry], floors: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    """Of each answer and metric the interval, and what true CT have in its place."""
    table: dict[str, dict[str, Any]] = {}
    for answer, entries in _by_answer(subjects).items():
        table[answer] = {}
        for name in entries[0]["consistency"]:
            found = interval([entry["consistency"][name] for entry in entries])
            floor = _floor([one[name] for one in floors if name in one])
            outside = None
            if floor is not None and len(floors) >= LEAST_PEOPLE:
                outside = worse_than(name, found["mean"], Floor(**floor))
            table[answer][name] = {**found, "floor": floor, "outside": outside}
    return table


def errors(known: Sequence[Entry]) -> dict[str, dict[str, Any]] | None:
    """Of each answer and metric the interval; None where no truth is known."""
    if not known:
        return None
    return {
        answer: {
            name: interval([entry["body"][name] for entry in entries])
            for name in entries[0]["body"]
        }
        for answer, entries in _by_answer(known).items()
    }


def part(known: Sequence[Entry], name: str) -> dict[str, dict[str, Any]] | None:
    """Of each answer, tissue (or band, or region) the intervals; None without truth."""
    if not known:
        return None
    table: dict[str, dict[str, Any]] = {}
    for answer, entries in _by_answer(known).items():
        table[answer] = {}
        for what in entries[0][name]:
            found = [entry[name][what] for entry in entries if entry[name][what]]
            if found:
                table[answer][what] = {
                    "voxels": sum(one["voxels"] for one in found),
                    **{
                        metric: interval([one[metric] for one in found])
                        for metric in found[0]
                        if metric != "voxels"
                    },
                }
    return table


def histograms(synthetic: Sequence[Summary], real: Sequence[Summary]) -> Entry:
    return {
        "start_hu": histogram.RANGE_HU[0],
        "step_hu": histogram.STEP_HU,
        "synthetic": sum(one.counts for one in synthetic).tolist(),
        "real": sum(one.counts for one in real).tolist(),
    }


def error_histogram(counts: Mapping[str, np.ndarray]) -> Entry | None:
    if not counts:
        return None
    return {
        "start_hu": paired.ERROR_RANGE_HU[0],
        "step_hu": paired.ERROR_STEP_HU,
        **{answer: each.tolist() for answer, each in counts.items()},
    }


def spectra(synthetic: Sequence[Summary], real: Sequence[Summary]) -> Entry:
    def mean(each: Sequence[Summary]) -> list[float]:
        power = np.concatenate([one.spectra for one in each]).mean(axis=0)
        return np.log10(np.maximum(power, 1e-12)).tolist()

    return {
        "frequencies": spectrum.frequencies().tolist(),
        "synthetic": mean(synthetic),
        "real": mean(real),
    }


def _by_answer(subjects: Sequence[Entry]) -> dict[str, list[Entry]]:
    table = {
        answer: [entry[answer] for entry in subjects if answer in entry]
        for answer in ANSWERS
    }
    return {answer: entries for answer, entries in table.items() if entries}


def _floor(values: Sequence[float]) -> Entry | None:
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return None
    return {
        "mean": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "subjects": (len(values), len(values)),
    }
