"""Maps from Hounsfield units and MR intensities to [-1, 1], and back.

HU follow a piecewise linear map through the knots of the configuration, which has an
inverse. MR has no unit of its own: a volume is divided by a robust percentile of its
body, and in- and out-of-phase of one acquisition share one scale, because their ratio
is the fat fraction (Dixon, Radiology 1984;153:189).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

AIR_HU = -1024
"""HU of air: stored CT outside the body, and the least value read and stored."""

MR_ONE = 16384
"""Stored int16 MR of a voxel at its scale; brighter ones fit up to just below 2."""


def background(modality: str) -> int:
    """Return the stored value of air: AIR_HU for CT, 0 for MR."""
    return AIR_HU if modality == "CT" else 0


Knots = Sequence[tuple[float, float]]

PHASES = ("in_phase", "out_of_phase")
"""MR channels of one dual-echo acquisition."""


def check_knots(knots: Knots) -> tuple[np.ndarray, np.ndarray]:
    """Return the HU and the values of the knots; refuse those without an inverse."""
    table = np.asarray(knots, np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] != 2:
        raise ValueError(
            f"data.ct_knots is {knots!r}, expected two or more pairs (HU, value)"
        )
    hu, value = table.T
    if (np.diff(hu) <= 0).any() or (np.diff(value) <= 0).any():
        raise ValueError(
            f"data.ct_knots is {knots!r}, expected HU and values that increase from "
            "knot to knot, or the map has no inverse"
        )
    if (value[0], value[-1]) != (-1, 1):
        raise ValueError(
            f"data.ct_knots goes from {value[0]:g} to {value[-1]:g}, expected -1 to 1"
        )
    return hu, value


def hu_to_unit(hu: np.ndarray, knots: Knots) -> np.ndarray:
    """Map HU of any shape to float32 in [-1, 1]; clipped beyond the outer knots."""
    return np.interp(hu, *check_knots(knots)).astype(np.float32)


def unit_to_hu(unit: np.ndarray, knots: Knots) -> np.ndarray:
    """Map [-1, 1] of any shape to float32 HU: the inverse of `hu_to_unit`."""
    hu, value = check_knots(knots)
    return np.interp(unit, value, hu).astype(np.float32)


def scale_channel(name: str, channels: Sequence[str]) -> str:
    """Return the one of an MR's channels that gives the scale of a channel.

    In-phase, if present, gives that of both phases, so that in-phase alone and in-phase
    of the pair are the same image.
    """
    return "in_phase" if name in PHASES and "in_phase" in channels else name


def optional_channels(data_config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the MR channels of which an input may lack one: both phases, or none.

    With T2 beside them the one that is left would have another scale, relative to T2,
    than in the training.
    """
    are_phases = set(data_config["mr_channels"]) == set(PHASES)
    return PHASES if are_phases and data_config["channel_dropout"] else ()


def mr_scale(
    voxels: np.ndarray,
    mask: np.ndarray,
    *,
    channels: Sequence[str],
    percentile: float,
) -> np.ndarray:
    """Return the divisor of each channel: a robust maximum of the body.

    Args:
        voxels: (slices, rows, columns, channels), scanner units.
        mask: (slices, rows, columns) bool, the body.
        channels: names, see `scale_channel`.

    Returns:
        (channels,) float32, above 0.

    Raises:
        ValueError: an empty body, or a channel without a positive value there.
    """
    if not mask.any():
        raise ValueError("no body was found, so there is no intensity scale")
    scales = []
    for name in channels:
        source = scale_channel(name, channels)
        body = voxels[..., list(channels).index(source)][mask]
        scale = float(np.percentile(body, percentile))
        if not scale > 0:
            raise ValueError(
                f"percentile {percentile:g} of {source} in the body is {scale:g}, "
                "expected above 0"
            )
        scales.append(scale)
    return np.array(scales, np.float32)


def mr_to_int16(voxels: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Convert MR in scanner units (..., channels) to stored int16.

    `scale` (channels,) becomes MR_ONE. Values are clipped to 0 and to just below twice
    the scale.
    """
    ratio = np.clip(voxels / scale, 0, 1.9999)
    return np.round(ratio * MR_ONE).astype(np.int16)


def mr_to_unit(stored: np.ndarray, exponent: float = 1.0) -> np.ndarray:
    """Map stored or interpolated MR to float32: 0 -> -1, its scale and above -> 1.

    An exponent below 1 gives dark tissue more of the range.
    """
    share = np.clip(stored * np.float32(1 / MR_ONE), 0, 1)
    return (2 * share**exponent - 1).astype(np.float32)


def hu_to_int16(hu: np.ndarray) -> np.ndarray:
    """Round HU to stored int16, clipped to AIR_HU and 32767."""
    return np.round(np.clip(hu, AIR_HU, 32767)).astype(np.int16)
