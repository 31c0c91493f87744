"""Results of evaluations that never were, from the errors of each subject."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from synthct_jax.evaluation import results
from synthct_jax.evaluation.results import (
    ALL_SUBJECTS,
    NETWORK,
    REAL_VS_REAL,
    REFERENCE_CT,
    Results,
    Row,
)

DISTRIBUTION = {
    "frechet_haar_v1": (3.0, 1.0),
    "kl_real_synthetic": (0.05, 0.01),
    "wasserstein": (12.0, 6.0),
    "share_air": (0.9, 1.0),
}
"""Values of the network, and of real CT against real CT."""


def make(
    mae: Mapping[str, float],
    *,
    step: int = 100,
    paired: bool = True,
    made: str = "2026-11-01T10:00:00+00:00",
    worse: float = 1.0,
    data: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    muscle_hu: float = 60.0,
    liver_hu: Mapping[str, tuple[float, float]] | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    extra_rows: tuple[Row, ...] = (),
) -> Results:
    """Return results of subjects with this MAE; other errors follow it.

    Args:
        worse: factor of distances between distributions.
        data, provenance: fields that replace the made-up ones.
        muscle_hu: mean of the muscle in every reference CT.
        liver_hu: mean of each subject's liver, in the reference and the synthetic CT.
        baselines: MAE of the subjects by another method; its livers have 0 HU.
        extra_rows: more rows of subjects.
    """
    livers = liver_hu or {}
    rows = [*extra_rows]
    for name, error in mae.items():
        liver = livers.get(name)
        rows += _method_rows(name, NETWORK, error, liver, paired=paired)
        for method, errors in (baselines or {}).items():
            of_method = liver and (liver[0], 0.0)
            rows += _method_rows(name, method, errors[name], of_method, paired=paired)
        if paired:
            rows += _reference_rows(name, muscle_hu, liver)
    slices = dict.fromkeys(mae, 5)
    n = len(mae)
    return Results(
        made=made,
        data={
            "data_dir": "/data/a",
            "source": "phantom",
            "split": "test",
            "real_ct_split": "test",
            "size": 64,
            "spacing_mm": 4.0,
            "stored_mr_channels": ["in_phase"],
            "mr_subjects": slices,
            "ct_subjects": slices,
            "halves": {
                "synthetic": [n // 2, 5 * n // 2],
                "real": [n // 2, 5 * n // 2],
                "first_real": n // 2,
            },
            "warnings": [],
            **(data or {}),
        },
        provenance={
            "workdir": "/runs/a",
            "step": step,
            "trained_on": "/data/a",
            "config": {"seed": 0, "train": {"steps": 300}},
            "versions": {"synthct_jax": "0.1.0", "jax": "0.10.2"},
            **(provenance or {}),
        },
        rows=[
            *_distribution_rows(worse, max(n // 2, 6), baselines or {}),
            *results.mean_rows(rows),
            *rows,
        ],
        histograms={},
        error_histogram=None,
        spectra={},
    )


def subjects(values: np.ndarray | list[float]) -> dict[str, float]:
    """Return each value with the made-up name of a subject."""
    return {f"subject_{i}": float(value) for i, value in enumerate(values)}


def _method_rows(
    name: str,
    method: str,
    mae: float,
    liver: tuple[float, float] | None,
    *,
    paired: bool,
) -> list[Row]:
    values = {("body", "outline_dice"): 0.97}
    if method == NETWORK:
        values["body", "cycle_in_phase"] = mae / 10
    if paired:
        values |= {
            ("body", "mae"): mae,
            ("body", "me"): mae - 40.0,
            ("body", "ssim"): 0.9 - mae / 1000,
        }
        for region in ("tissue:muscle", "band:soft_tissue", "border:fat_muscle"):
            values |= {(region, "mae"): 2 * mae, (region, "me"): -mae}
    if paired and liver is not None:
        error = liver[1] - liver[0]
        values["tissue:liver", "mae"] = abs(error) + 10
        values["tissue:liver", "me"] = error
    return [Row(name, method, *key, value) for key, value in values.items()]


def _reference_rows(
    name: str, muscle_hu: float, liver: tuple[float, float] | None
) -> list[Row]:
    hu = {"tissue:muscle": muscle_hu}
    if liver is not None:
        hu["tissue:liver"] = liver[0]
    return [
        Row(name, REFERENCE_CT, region, metric, value)
        for region, mean in hu.items()
        for metric, value in (("voxels", 900.0), ("mean_hu", mean))
    ]


def _distribution_rows(worse: float, n: int, baselines: Mapping[str, Any]) -> list[Row]:
    rows = []
    for metric, (value, real) in DISTRIBUTION.items():
        value *= worse
        ends = (0.9 * value, 1.1 * value, n)
        rows.append(Row(ALL_SUBJECTS, NETWORK, "body", metric, value, *ends))
        rows += [
            Row(ALL_SUBJECTS, method, "body", metric, 20 * value, None, None, n)
            for method in baselines
        ]
        ends = (0.5 * real, 1.5 * real, n)
        rows.append(Row(ALL_SUBJECTS, REAL_VS_REAL, "body", metric, real, *ends))
    return rows
