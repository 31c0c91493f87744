"""Prediction of the MAE in the body from features, where it beats the mean.

The logarithm of the MAE is linear in one feature. Which one, and whether it beats the
mean, is decided by leaving each volume out; the choice is made anew each time, so that
having many features to choose from is no advantage.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.quality.features import is_measured

COVERAGE = 0.9  # of the interval
FEWEST_VOLUMES = 10


def fit_error(
    volumes: Sequence[Mapping[str, float]], mae_hu: Sequence[float]
) -> dict[str, Any] | None:
    """Return the prediction, JSON; None with fewer than 10 volumes.

    Args:
        volumes: values by feature, of one volume each.
        mae_hu: the measured error of each.

    Returns:
        'feature', None if the mean is as good; 'intercept' and 'slope' of the natural
        logarithm of the MAE; 'residuals', the 5th and 95th percentile of the logarithm
        of measured over predicted; 'error' and 'error_of_mean', the root mean squared
        residuals; all of volumes left out. 'volumes' is their number.
    """
    if len(volumes) < FEWEST_VOLUMES:
        return None
    names = [name for name in volumes[0] if is_measured(name, volumes)]
    values = np.array([[v[name] for name in names] for v in volumes])
    target = np.log(np.asarray(mae_hu))
    mean, chosen = np.empty((2, len(target)))
    for index, value in enumerate(values):
        others = np.delete(values, index, axis=0), np.delete(target, index)
        mean[index] = others[1].mean()
        column, slope, intercept = _best_line(*others)
        chosen[index] = intercept + slope * value[column]
    errors = [float(np.sqrt(((p - target) ** 2).mean())) for p in (chosen, mean)]
    column, slope, intercept = _best_line(values, target)
    is_better = errors[0] < errors[1]
    residual = target - (chosen if is_better else mean)
    tails = (1 - COVERAGE) / 2
    return {
        "feature": names[column] if is_better else None,
        "intercept": round(float(intercept if is_better else target.mean()), 6),
        "slope": float(f"{slope:.6g}") if is_better else 0.0,
        "residuals": [
            round(float(np.quantile(residual, q)), 4) for q in (tails, 1 - tails)
        ],
        "error": round(errors[0], 4),
        "error_of_mean": round(errors[1], 4),
        "volumes": len(volumes),
    }


def _best_line(values: np.ndarray, target: np.ndarray) -> tuple[int, float, float]:
    """Return the column that predicts best when left out, its slope and intercept."""
    centred = values - values.mean(axis=0)
    squares = (centred**2).sum(axis=0)
    safe = np.where(squares > 0, squares, 1)
    slopes = np.where(squares > 0, centred.T @ (target - target.mean()) / safe, 0)
    fitted = target.mean() + centred * slopes
    leverage = 1 / len(target) + np.where(squares > 0, centred**2 / safe, 0)
    # The residual of a volume left out of a least-squares fit.
    left_out = (target[:, None] - fitted) / np.maximum(1 - leverage, 1e-6)
    column = int(np.argmin((left_out**2).sum(axis=0)))
    slope = float(slopes[column])
    return column, slope, float(target.mean() - slope * values[:, column].mean())


def predict_error(
    quality: Mapping[str, Any], values: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return 'value', 'low' and 'high' in HU, and the 'feature' they come from.

    None where nothing was fitted, or the feature is undefined.

    Args:
        quality: result of calibration.
        values: of the patient, by feature.
    """
    fit = quality.get("body_mae")
    if fit is None:
        return None
    level = fit["intercept"]
    if fit["feature"] is not None:
        level += fit["slope"] * values.get(fit["feature"], math.nan)
    if not math.isfinite(level):
        return None
    low, high = (level + residual for residual in fit["residuals"])
    numbers = {"value": level, "low": low, "high": high}
    return {
        **{name: round(float(np.exp(number)), 1) for name, number in numbers.items()},
        "feature": fit["feature"],
        "volumes": fit["volumes"],
    }
