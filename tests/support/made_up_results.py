"""Made-up results of evaluations, from the MAE of each subject."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from synthct_jax.evaluation.metric_definitions import BODY
from synthct_jax.evaluation.results import (
    ALL_SUBJECTS,
    NETWORK,
    REAL_VS_REAL,
    REFERENCE_CT,
    Results,
    Row,
    mean_rows,
)

DISTANCES = {
    "frechet_haar_v1": (3.0, 1.0),
    "kl_real_synthetic": (0.05, 0.01),
    "wasserstein": (12.0, 6.0),
    "share_air": (0.9, 1.0),
}
"""By metric the value, and what it is between real CT."""
REAL_SUBJECTS = 12
REGIONS = ("tissue:muscle", "band:soft_tissue", "border:fat_muscle")


def make(
    mae: Mapping[str, float],
    *,
    step: int = 100,
    paired: bool = True,
    made: str = "2026-11-01T10:00:00+00:00",
    worse: float = 1.0,
    data: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    true_hu: float = 60.0,
) -> Results:
    """Return results of subjects with this MAE; other errors follow it.

    Args:
        worse: factor of distances between distributions.
        data, provenance: fields that replace the made-up ones.
        true_hu: mean of the muscle in everybody's reference CT.
    """
    rows = []
    for name, error in mae.items():
        values = {"outline_dice": 0.97, "cycle_in_phase": error / 10}
        if paired:
            values |= {"mae": error, "me": error - 40.0, "ssim": 0.9 - error / 1000}
        rows += [Row(name, NETWORK, BODY, *one) for one in values.items()]
        for region in REGIONS if paired else ():
            rows += [
                Row(name, NETWORK, region, "mae", 2 * error),
                Row(name, NETWORK, region, "me", -error),
                Row(name, REFERENCE_CT, region, "voxels", 900.0),
            ]
        if paired:
            rows.append(Row(name, REFERENCE_CT, "tissue:muscle", "mean_hu", true_hu))
    subjects = dict.fromkeys(mae, 5)
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
            "mr_subjects": subjects,
            "ct_subjects": subjects,
            "halves": {"synthetic": [1, 5], "real": [1, 5], "first_real": 1},
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
        rows=[*mean_rows(rows), *_distribution_rows(worse), *rows],
        histograms={},
        error_histogram=None,
        spectra={},
    )


def people(values: np.ndarray | list[float]) -> dict[str, float]:
    """Return the values by made-up names of subjects."""
    return {f"person_{i}": float(value) for i, value in enumerate(values)}


def _distribution_rows(worse: float) -> list[Row]:
    rows = []
    for metric, (value, real) in DISTANCES.items():
        value *= worse
        ends = {REAL_VS_REAL: (real, 0.5 * real, 1.5 * real)}
        ends[NETWORK] = (value, 0.9 * value, 1.1 * value)
        rows += [
            Row(ALL_SUBJECTS, method, BODY, metric, *of, REAL_SUBJECTS)
            for method, of in ends.items()
        ]
    return rows
