"""Every feature of a patient's MR and synthetic CT: its meaning, unit, and value.

Features are measured on the slices that the network saw, so that those of prepared data
and of a scan to translate are the same numbers.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.intensity import AIR_HU, MR_ONE
from synthct_jax.metrics import tissues
from synthct_jax.quality import ct_features, mr_features

INPUT, OUTPUT = "input", "output"

# How healthy people spread: evenly, by factors, as shares of 100 %; correlations
# spread evenly from -1 to 1. Only too much is a fault of EXCESS, which spreads by
# factors, and of AMOUNT, evenly. RARE is a share that next to none of them have; CHOSEN
# is what somebody chose, without a usual value.
LINEAR, LOG, SHARE, CORRELATION, EXCESS, AMOUNT, RARE, CHOSEN = (
    "linear", "log", "share", "correlation", "excess", "amount", "rare", "chosen",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feature:
    """A named number of a patient.

    Attributes:
        meaning: what it measures, in words for a table.
        unit: empty for a ratio.
        spread: LINEAR, LOG, SHARE, CORRELATION, EXCESS, AMOUNT, RARE or CHOSEN.
        stage: INPUT, known before the translation, or OUTPUT.
        largest_usual: a greater value is a fault, however many people have it.
        domain: least and greatest value that there can be.
        undefined: why it has no value in some images, in words; empty where it always
            has one.
    """

    meaning: str
    unit: str
    spread: str
    stage: str
    largest_usual: float = math.inf
    domain: tuple[float, float] = (-math.inf, math.inf)
    undefined: str = ""


_PERCENT, _SCALE = "%", "% of scale"
_OF_CHANNEL = {
    "median": ("median of {} in the body", _SCALE, LOG),
    "upper_quartile": ("upper quartile of {} in the body", _SCALE, LOG),
    "dark_share": ("share of the body that is dark in {}", _PERCENT, SHARE),
    "separation": ("how far bright and dark tissue lie apart in {}", _PERCENT, SHARE),
    "rim": ("brightness of {} under the skin, relative to the body", "", LOG),
    "clipped": ("share of the body at the greatest value of {}", _PERCENT, RARE),
    "noise": ("noise of {}", _SCALE, EXCESS),
    "bias": ("uneven brightness of {}, standard deviation", _PERCENT, AMOUNT),
    "slice_jump": ("greatest change of {} between slices, over the next", "", EXCESS),
    "slice_repeat": ("least change of {} between slices, over the next", "", LINEAR),
}
_OF_INPUT = {
    "slices": ("number of slices", "", CHOSEN),
    "slice_mm": ("distance of slices", "mm", CHOSEN),
    "coverage_mm": ("extent of the body along the slices", "mm", CHOSEN),
    "cross_section_cm2": ("mean cross-section of the body", "cm²", LOG),
    "width_over_depth": ("width of the body over its depth", "", LOG),
    "flat_edge_mm": ("straight edge at the sides, as if cut off", "mm", EXCESS),
    "empty_slices": ("share of slices with almost no body", _PERCENT, RARE),
    "area_jump": (
        "greatest change of the cross-section between slices",
        _PERCENT,
        EXCESS,
    ),
    "phase_correlation": ("correlation of in_phase and out_of_phase", "", CORRELATION),
    "phase_ratio": ("brightness of out_of_phase relative to in_phase", "", LOG),
    "cancelled": ("share of tissue darker out of phase, net", _PERCENT, LINEAR),
}
# Sides of a whole abdomen are straight, within two pixels, for less.
_LARGEST_USUAL = {"flat_edge_mm": 120.0}
_OF_OUTPUT = {
    "fat_peak_hu": ("peak of fat", "HU", LINEAR),
    "soft_peak_hu": ("peak of soft tissue", "HU", LINEAR),
    "bone_median_hu": ("median of bone", "HU", LINEAR),
    "air_share": ("share of gas and lung in the body", _PERCENT, SHARE),
    "fat_share": ("share of fat in the body", _PERCENT, SHARE),
    "soft_share": ("share of soft tissue in the body", _PERCENT, SHARE),
    "bone_share": ("share of bone in the body", _PERCENT, SHARE),
    "outline_dice": ("overlap of the outlines of CT and MR, Dice", _PERCENT, SHARE),
    "air_at_skin": ("share of the outermost 6 mm that is air", _PERCENT, SHARE),
    "rim_hu": ("median HU under the skin", "HU", LINEAR),
    "spine_share": ("share of slices that one piece of spine reaches", _PERCENT, SHARE),
    "ct_slice_jump": (
        "greatest change of HU between slices, over the next",
        "",
        EXCESS,
    ),
    "ct_slice_repeat": ("least change of HU between slices, over the next", "", LINEAR),
    "slice_step_hu": ("greatest step of soft tissue in a slice", "HU", EXCESS),
    "path_anterior": ("water-equivalent path from anterior, per mm", "", LOG),
    "path_posterior": ("water-equivalent path from posterior, per mm", "", LOG),
    "path_right": ("water-equivalent path from the right, per mm", "", LOG),
    "path_left": ("water-equivalent path from the left, per mm", "", LOG),
    "information": ("share of the CT's entropy that the MR explains", _PERCENT, SHARE),
    "offset_rows_mm": ("offset of CT and MR, front to back", "mm", LINEAR),
    "offset_columns_mm": ("offset of CT and MR, right to left", "mm", LINEAR),
    "denser_than_alike_hu": ("densest place against equally bright ones", "HU", LINEAR),
    "lighter_than_alike_hu": (
        "lightest place against equally bright ones",
        "HU",
        LINEAR,
    ),
    "fat_unevenness": (
        "uneven brightness of fat in the MR, standard deviation",
        _PERCENT,
        AMOUNT,
    ),
    "bright_as_fat": (
        "share of the brightest tenth of MR that is fat",
        _PERCENT,
        SHARE,
    ),
    "dark_as_soft": ("share of signal-free MR that is soft tissue", _PERCENT, SHARE),
    "soft_brightness": ("brightness of soft tissue in the MR", "", LOG),
    "uncertainty_mean_hu": ("mean of the uncertainty", "HU", EXCESS),
    "uncertainty_95_hu": ("95th percentile of the uncertainty", "HU", EXCESS),
}
# Least and greatest values, where the spread does not tell them, by the name of a
# feature, or its end in the features of a channel.
_DOMAINS = {
    "cancelled": (-100.0, 100.0),
    # Not all changes between slices are greater than those beside them.
    "slice_repeat": (0.0, 1.0),
    "ct_slice_repeat": (0.0, 1.0),
    "fat_peak_hu": tissues.BANDS["fat"],
    "soft_peak_hu": tissues.BANDS["soft_tissue"],
    "bone_median_hu": tissues.BANDS["bone"],
    "rim_hu": (AIR_HU, math.inf),
    "denser_than_alike_hu": (0.0, math.inf),
    "lighter_than_alike_hu": (-math.inf, 0.0),
}
_DOMAINS |= dict.fromkeys(("median", "upper_quartile"), (0.0, 200.0))  # of the scale
_DOMAIN_OF_SPREAD = {
    SHARE: (0.0, 100.0),
    RARE: (0.0, 100.0),
    CORRELATION: (-1.0, 1.0),
    LINEAR: (-math.inf, math.inf),
}
_FEW_SLICES = "there are fewer than four slices with body"
_THIN = "the body is too thin"
_NO_SIGNAL = "no tissue has signal"
_NO_FAT, _NO_SOFT = "the CT has no fat", "the CT has no soft tissue"
_ALL_ALIKE = "the CT has the same HU everywhere, or the body is too thin"
_ONE_TRANSLATION = "each slice was translated once, by one network"
_UNDEFINED = {
    "separation": _NO_SIGNAL,
    "rim": _THIN,
    "noise": _THIN,
    "bias": _NO_SIGNAL,
    "slice_jump": _FEW_SLICES,
    "slice_repeat": _FEW_SLICES,
    "phase_correlation": "no tissue has signal, or all has the same",
    "phase_ratio": _NO_SIGNAL,
    "cancelled": _NO_SIGNAL,
    "fat_peak_hu": _NO_FAT,
    "soft_peak_hu": _NO_SOFT,
    "bone_median_hu": "the CT has no bone",
    "rim_hu": _THIN,
    "ct_slice_jump": _FEW_SLICES,
    "ct_slice_repeat": _FEW_SLICES,
    "information": _ALL_ALIKE,
    "offset_rows_mm": _ALL_ALIKE,
    "offset_columns_mm": _ALL_ALIKE,
    "fat_unevenness": "too little fat away from the skin",
    "dark_as_soft": "no place away from the skin is without signal",
    "soft_brightness": "too little soft tissue with signal",
    "uncertainty_mean_hu": _ONE_TRANSLATION,
    "uncertainty_95_hu": _ONE_TRANSLATION,
}


def features_of(channels: Sequence[str]) -> dict[str, Feature]:
    """Return every feature of an MR of these channels and its CT, by name."""
    table = {
        f"{channel}.{name}": _feature(
            name, meaning.format(channel), unit, spread, INPUT
        )
        for channel in channels
        for name, (meaning, unit, spread) in _OF_CHANNEL.items()
    }
    for stage, rows in ((INPUT, _OF_INPUT), (OUTPUT, _OF_OUTPUT)):
        for name, (meaning, unit, spread) in rows.items():
            table[name] = _feature(name, meaning, unit, spread, stage)
    return table


def _feature(name: str, meaning: str, unit: str, spread: str, stage: str) -> Feature:
    usual = _DOMAIN_OF_SPREAD.get(spread, (0.0, math.inf))
    return Feature(
        meaning=meaning,
        unit=unit,
        spread=spread,
        stage=stage,
        largest_usual=_LARGEST_USUAL.get(name, math.inf),
        domain=_DOMAINS.get(name, usual),
        undefined=_UNDEFINED.get(name, ""),
    )


def is_measured(name: str, volumes: Sequence[Mapping[str, float]]) -> bool:
    """Return whether a feature has a value in every volume."""
    return all(math.isfinite(values.get(name, math.nan)) for values in volumes)


def measure_input(mr: SubjectVolume, channels: Sequence[str]) -> dict[str, float]:
    """Return the features of the MR, scalars by name.

    Args:
        mr: the slices that the network gets.
        channels: names of all channels in `mr`.

    Returns:
        The features of these channels, in the units of `features_of`; NaN for one
        that cannot be measured.
    """
    shares = mr.stored * np.float32(1 / MR_ONE)
    rim = mr_features.rim_of(mr.outline, mr.spacing_mm)
    values = mr_features.shape(mr.outline, mr.spacing_mm)
    for index, channel in enumerate(channels):
        image = np.ascontiguousarray(shares[..., index])
        of_channel = mr_features.brightness(image, mr.outline, rim)
        of_channel |= mr_features.disturbances(image, mr.outline, mr.spacing_mm)
        values |= {f"{channel}.{name}": value for name, value in of_channel.items()}
    if {"in_phase", "out_of_phase"} <= set(channels):
        pair = [shares[..., list(channels).index(n)] for n in _PHASES]
        values |= mr_features.phases(*pair, mr.outline)
    return _in_units(values, channels)


_PHASES = ("in_phase", "out_of_phase")


def measure_output(
    mr: SubjectVolume, hu: np.ndarray, spread: np.ndarray | None
) -> dict[str, float]:
    """Return the features of a synthetic CT and its MR, as `measure_input` does.

    Args:
        mr: the slices that the network got.
        hu: (slices, rows, columns) on the same pixels.
        spread: of that shape, HU; None if there is none.
    """
    body, spacing_mm = mr.outline, mr.spacing_mm
    shares = mr.stored * np.float32(1 / MR_ONE)
    rim = mr_features.rim_of(body, spacing_mm)
    values = ct_features.hounsfield(hu, body)
    values |= ct_features.shape(hu, body, rim, spacing_mm)
    values |= ct_features.path_lengths(hu, body, spacing_mm)
    values |= ct_features.agreement(hu, shares, body, spacing_mm)
    known = np.array([np.nan]) if spread is None else spread[body]
    values["uncertainty_mean_hu"] = known.mean()
    values["uncertainty_95_hu"] = np.percentile(known, 95)
    return _in_units(values, ())


def _in_units(values: Mapping[str, float], channels: Sequence[str]) -> dict[str, float]:
    table = features_of(channels)
    factor = {_PERCENT: 100.0, _SCALE: 100.0}
    scaled = {n: float(v) * factor.get(table[n].unit, 1.0) for n, v in values.items()}
    return {n: v if math.isfinite(v) else math.nan for n, v in scaled.items()}
