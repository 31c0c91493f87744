"""Results of evaluations that never were, from the errors of each subject."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthct_jax.evaluation import summaries
from synthct_jax.evaluation.results import MODEL, Results
from synthct_jax.metrics.bootstrap import mean_over_subjects

COLLECTION = {
    "frechet_haar_v1": (3.0, 1.0),
    "kl_real_synthetic": (0.05, 0.01),
    "wasserstein": (12.0, 6.0),
    "share_air": (0.9, 1.0),
}


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
    """Results of subjects with this MAE; other errors follow it.

    Args:
        worse: factor of distances between collections.
        data, provenance: fields that replace the made-up ones.
        true_hu: mean of the muscle in everybody's true CT.
    """
    subjects = []
    for name, error in mae.items():
        entry = {"consistency": {"outline_dice": 0.97, "cycle_in_phase": error / 10}}
        if paired:
            part = {"mae": 2 * error, "me": -error, "voxels": 900}
            entry |= {
                "body": {"mae": error, "me": error - 40.0, "ssim": 0.9 - error / 1000},
                "tissues": {
                    "muscle": part | {"true_mean": true_hu},
                    "lung": None,
                },
                "bands": {"soft_tissue": part},
                "regions": {"fat_muscle_border": part},
            }
        subjects.append({"name": name, "slices": 5, MODEL: entry})
    known = subjects if paired else []
    return Results(
        made=made,
        paired=paired,
        data={
            "data_dir": "/data/a",
            "source": "phantom",
            "split": "test",
            "real_ct_split": "test",
            "size": 64,
            "spacing_mm": 4.0,
            "stored_mr_channels": ["in_phase"],
            "mr_subjects": list(mae),
            "mr_slices": 5 * len(mae),
            "ct_subjects": list(mae),
            "ct_slices": 5 * len(mae),
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
        distribution={MODEL: _distribution(worse, len(mae))},
        consistency=summaries.consistency(subjects, []),
        errors=summaries.errors(known),
        tissues=summaries.part(known, "tissues"),
        bands=summaries.part(known, "bands"),
        regions=summaries.part(known, "regions"),
        subjects=subjects,
        histograms={},
        error_histogram=None,
        spectra={},
    )


def people(values: np.ndarray | list[float]) -> dict[str, float]:
    """A value for each of as many subjects, by made-up names."""
    return {f"person_{i}": float(value) for i, value in enumerate(values)}


def _distribution(worse: float, n: int) -> dict[str, dict[str, Any]]:
    found = {}
    for name, (value, floor) in COLLECTION.items():
        entry = dataclasses.asdict(mean_over_subjects([worse * value]))
        found[name] = {
            "value": entry["mean"],
            "low": 0.9 * entry["mean"],
            "high": 1.1 * entry["mean"],
            "floor": {
                "mean": floor,
                "low": 0.5 * floor,
                "high": 1.5 * floor,
                "subjects": [n // 2, n // 2],
            },
            "outside": bool(worse * value > 1.5 * floor),
            "subjects": [n // 2, n // 2],
            "slices": [5 * n // 2, 5 * n // 2],
        }
    return found
