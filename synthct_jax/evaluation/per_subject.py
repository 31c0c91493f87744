"""What is measured of one subject: against its own MR, and against its true CT."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.body import body_mask
from synthct_jax.evaluation.subjects import Case
from synthct_jax.metrics import paired, path_length, similarity, surface, tissues

Spacing = tuple[float, float, float]  # of slices, rows and columns in mm


def ct_outline(hu: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """The body in a CT, synthetic or real: bool (slices, rows, columns)."""
    slice_mm, row_mm, column_mm = spacing_mm
    # Found in what would be stored: int16, with a channel.
    stored = np.round(hu).astype(np.int16)[..., None]
    return body_mask(stored, "CT", (row_mm, column_mm, slice_mm))


def consistency(
    in_ct: np.ndarray, in_mr: np.ndarray, spacing_mm: Spacing
) -> dict[str, float]:
    """How well the body in a CT is that in the MR; no true CT is needed.

    Args:
        in_ct, in_mr: bool (slices, rows, columns), the outlines that they show.
    """
    return {
        "outline_dice": surface.dice(in_ct, in_mr),
        "outline_hd95": surface.hausdorff_95(in_ct, in_mr, spacing_mm),
    }


def cycle_errors(
    mr: np.ndarray, cycled: np.ndarray, body: np.ndarray, channels: Sequence[str]
) -> dict[str, float]:
    """What is lost from MR to CT and back, in % of the range that the network sees.

    Args:
        mr, cycled: (slices, rows, columns, channels) in [-1, 1].
        body: bool, (slices, rows, columns).
        channels: their names.
    """
    if not body.any():
        return dict.fromkeys([f"cycle_{name}" for name in channels], float("nan"))
    errors = [
        np.abs(one - other)[where].sum(axis=0, dtype=np.float64)
        for one, other, where in zip(mr, cycled, body, strict=True)
    ]
    means = 50 * np.sum(errors, axis=0) / body.sum()
    return {f"cycle_{n}": float(m) for n, m in zip(channels, means, strict=True)}


def against_truth(
    hu: np.ndarray, case: Case, label_names: Sequence[str], spacing_mm: Spacing
) -> dict[str, Any]:
    """Errors in the body, in its tissues, bands of HU and regions.

    Returns:
        {body: name in catalogue.PAIRED -> value, tissues, bands, regions: name ->
        {mae, me, voxels, true_mean} or None where it does not occur}; `error_counts`
        of `paired.error_counts`.
    """
    truth, labels = case.truth, case.labels
    body = labels > 0
    found: dict[str, Any] = {
        "body": paired.errors(hu, truth, body)
        | {
            "ssim": similarity.structural_similarity(hu, truth, body),
            "ms_ssim": similarity.multiscale_structural_similarity(hu, truth, body),
        }
        | _thresholded(hu, truth, body, spacing_mm)
        | _path_lengths(hu, truth, body, spacing_mm)
    }
    by_label = paired.by_label(hu, truth, labels, count=len(label_names))
    # Label 0 is what is outside of the body.
    found["tissues"] = {
        name: _with_true_mean(one, truth, labels == label)
        for label, (name, one) in enumerate(zip(label_names, by_label, strict=True))
        if label
    }
    found["bands"] = paired.by_band(hu, truth, body, tissues.BANDS)
    border = paired.fat_muscle_border(truth, body)
    found["regions"] = {
        "fat_muscle_border": paired.by_label(
            hu, truth, border.astype(np.int16), count=2
        )[1]
    }
    found["error_counts"] = paired.error_counts(hu, truth, body)
    return found


def _thresholded(
    hu: np.ndarray, truth: np.ndarray, body: np.ndarray, spacing_mm: Spacing
) -> dict[str, float]:
    bones = [surface.bone(image, body) for image in (hu, truth)]
    airs = [body & (image < tissues.AERATED_BELOW_HU) for image in (hu, truth)]
    return {
        "bone_dice": surface.dice(*bones),
        "bone_hd95": surface.hausdorff_95(*bones, spacing_mm),
        "air_dice": surface.dice(*airs),
    }


def _path_lengths(
    hu: np.ndarray, truth: np.ndarray, body: np.ndarray, spacing_mm: Spacing
) -> dict[str, float]:
    found = path_length.path_length_errors(hu, truth, body, spacing_mm)
    return {
        "path_length_mae": found["mae_mm"],
        "path_length_me": found["me_mm"],
    }


def _with_true_mean(
    found: Mapping[str, float] | None, truth: np.ndarray, where: np.ndarray
) -> dict[str, float] | None:
    if found is None:
        return None
    return {**found, "true_mean": float(truth[where].mean(dtype=np.float64))}
