"""Comparison of an MR with what a model was trained on, by cheap image statistics.

Headers say little of this in NIfTI files. What cannot be an MR is refused; what is
unlike the training is only named, since patients and scanners differ. The limits are
chosen by what the images of CHAOS and 40 random simulated scanners have.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from input_pipeline.intensity import MR_ONE, mr_scale, scale_channel
from input_pipeline.volume import UnusableScan, Volume

_NEGATIVE = 0.05  # of the scale, and of the voxels: resampling leaves a few below 0
_LEAST_MM2 = 50 * 50
_AREA_RATIOS = (0.625, 2.0)  # a head has about half the cross-section of an abdomen
_BRIGHTNESS_RATIO = 1.4  # beyond the darkest and the brightest of the training
_MEDIAN_RATIO = 1.2  # beyond the darkest: T2 is darker than T1 where fat is suppressed
_LEAST_CORRELATION = 0.25  # of the phases; those scanners have 0.38 or more
_DARKER = 0.7


def check_values(volume: Volume) -> None:
    """Check that the channels of an MR are different images of magnitudes.

    Raises:
        UnusableScan: many values are negative, or two channels are the same image.
    """
    for index, name in enumerate(volume.channels):
        image = volume.voxels[..., index]
        below = float((image < -_NEGATIVE * np.percentile(np.abs(image), 99.5)).mean())
        if below > _NEGATIVE:
            raise UnusableScan(
                f"{volume.source}: {below:.0%} of the values of {name} are negative, "
                f"down to {image.min():g}, as in a CT or a phase image; expected MR "
                "magnitudes from 0 up"
            )
    for (i, name), (j, other) in itertools.combinations(enumerate(volume.channels), 2):
        image = volume.voxels[..., i]
        if image.any() and np.array_equal(image, volume.voxels[..., j]):
            raise UnusableScan(
                f"{volume.source}: {name} and {other} are the same image, expected "
                "one of each"
            )


def find_differences(
    axial: Volume,
    body: np.ndarray,
    *,
    data: Mapping[str, Any],
    training_mr: Mapping[str, Any],
    calibrated: bool = False,
) -> Iterator[str]:
    """Yield a sentence for each way in which a scan is unlike those of the training.

    Args:
        axial: the MR with the channels of the model.
        body: its mask, (slices, rows, columns), not empty.
        data: `config.data` of the training.
        training_mr: see `CheckpointMetadata`. What it lacks is not compared.
        calibrated: whether the model has limits of features (synthct_jax/quality),
            which judge all but the pixels.
    """
    yield from _compare_pixels(axial, data)
    if calibrated:
        return
    yield from _compare_area(axial, body, data, training_mr)
    yield from _compare_brightness(axial, body, data, training_mr)
    if {"in_phase", "out_of_phase"} <= set(axial.channels):
        yield from _compare_phases(axial, body)


def _compare_pixels(axial: Volume, data: Mapping[str, Any]) -> Iterator[str]:
    trained_mm = data["spacing_mm"]
    _, row_mm, column_mm = axial.spacing_mm
    pixels = (
        f"pixels are {row_mm:.3g} x {column_mm:.3g} mm, those of the training "
        f"{trained_mm:.3g} mm"
    )
    if max(row_mm, column_mm) > 2 * trained_mm:
        yield f"{pixels}: the network invents details"
    elif min(row_mm, column_mm) < 0.5 * trained_mm:
        yield f"{pixels}: details of the MR are lost"


def _compare_area(
    axial: Volume,
    body: np.ndarray,
    data: Mapping[str, Any],
    training_mr: Mapping[str, Any],
) -> Iterator[str]:
    _, row_mm, column_mm = axial.spacing_mm
    mm2 = float(body.mean()) * body.shape[1] * row_mm * body.shape[2] * column_mm
    grid_mm2 = (data["spacing_mm"] * data["size"]) ** 2
    trained_mm2 = training_mr.get("body_fraction", 0) * grid_mm2
    low, high = _AREA_RATIOS
    if trained_mm2 and not low <= mm2 / trained_mm2 <= high:
        yield (
            f"the body's mean cross-section is {mm2 / 100:.0f} cm2, in the training "
            f"{trained_mm2 / 100:.0f} cm2: is it the same part of the body?"
        )
    if mm2 < _LEAST_MM2:
        yield f"the body mask has {mm2 / 100:.0f} cm2 in a mean slice"


def _compare_brightness(
    axial: Volume,
    body: np.ndarray,
    data: Mapping[str, Any],
    training_mr: Mapping[str, Any],
) -> Iterator[str]:
    scale = mr_scale(
        axial.voxels, body, channels=axial.channels, percentile=data["mr_percentile"]
    )
    percentiles = training_mr.get("percentiles", ())
    channels = training_mr.get("channels", ())
    quartiles = training_mr.get("upper_quartiles", ())
    trained = dict(zip(channels, quartiles, strict=False))
    of_all_volumes = dict(zip(channels, percentiles, strict=False))
    for index, name in enumerate(axial.channels):
        own_scale = scale_channel(name, axial.channels)
        if name not in trained or own_scale != scale_channel(name, channels):
            continue
        # High where fat is bright. Median and lower quartile depend more on the coils.
        values = axial.voxels[..., index][body]
        median, quartile = np.percentile(values, (50, 75)) / scale[index]
        low, high = (limit / MR_ONE for limit in trained[name])
        if not low / _BRIGHTNESS_RATIO <= quartile <= high * _BRIGHTNESS_RATIO:
            known = f"{low:.2f}" + (f" to {high:.2f}" if high > low else "")
            yield (
                f"the upper quartile of {name} in the body is at {quartile:.2f} of its "
                f"scale, in the training at {known}: is it the same sequence?"
            )
        elif name in of_all_volumes:
            # The darkest volume's median is as far below as its upper quartile.
            middle, upper = (of_all_volumes[name][key] / MR_ONE for key in ("50", "75"))
            if median < middle * low / upper / _MEDIAN_RATIO:
                yield (
                    f"the median of {name} in the body is at {median:.2f} of its "
                    f"scale, in the training at {middle:.2f}: is it the same sequence?"
                )


def _compare_phases(axial: Volume, body: np.ndarray) -> Iterator[str]:
    in_phase, out_of_phase = (
        axial.voxels[..., axial.channels.index(name)][body]
        for name in ("in_phase", "out_of_phase")
    )
    brighter = np.maximum(in_phase, out_of_phase)
    tissue = brighter > 0.15 * np.percentile(brighter, 99.5)
    in_phase, out_of_phase = in_phase[tissue], out_of_phase[tissue]
    with np.errstate(divide="ignore", invalid="ignore"):  # of an image without contrast
        correlation = float(np.nan_to_num(np.corrcoef(in_phase, out_of_phase)[0, 1]))
    if correlation < _LEAST_CORRELATION:
        yield (
            f"in_phase and out_of_phase correlate by {correlation:.2f} in the body, "
            "those of one acquisition by 0.4 or more: are they of the same examination?"
        )
    # Water and fat cancel where they share a voxel, and only out of phase.
    elif (in_phase < _DARKER * out_of_phase).sum() > (
        out_of_phase < _DARKER * in_phase
    ).sum():
        yield (
            "more of the body is darker in in_phase than in out_of_phase than the "
            "other way round: have they been exchanged?"
        )
