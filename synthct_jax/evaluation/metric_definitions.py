"""Every metric that an evaluation reports: its name, unit, limits and computation.

DISTRIBUTION metrics compare synthetic with real CT as two samples, whoever the subjects
are. CONSISTENCY metrics need the subject's MR only, PAIRED ones its reference CT, of
which REFERENCE holds facts. Those ACROSS_SUBJECTS say how a tissue follows it.

To add a metric, write its function in `synthct_jax.metrics` and add its line here:

    "median_error": Metric("Median error", "HU", "lower", 1, AT_LEAST_0,
        "median absolute error",
        lambda ct: paired.median_error(ct.hu, ct.reference_ct, ct.body)),

The evaluation computes it for each subject and method; tables, files, comparisons and
sweeps show it. `compute` takes `per_subject.Images` in PAIRED and CONSISTENCY, and
`volume_summary.SamplePair` in DISTRIBUTION.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from synthct_jax.metrics import (
    haar_features,
    histogram,
    labelled,
    paired,
    similarity,
    spectrum,
    surface,
    tissues,
    uncertainty,
)
from synthct_jax.metrics.intervals import UNLIMITED, Interval, Limits

AT_LEAST_0: Limits = (0.0, math.inf)
PERCENT: Limits = (0.0, 100.0)
SHARE: Limits = (0.0, 1.0)

BODY = "body"
"""The region of the whole body; others are 'tissue:NAME', 'pure:NAME' (its voxels
without partial volume), 'band:NAME' (of reference HU) and 'border:NAME'."""

# With fewer real CT, nearly anything is outside the range between them.
FEWEST_REAL_SUBJECTS = 6


@dataclasses.dataclass(frozen=True)
class Metric:
    """The definition of a metric.

    Attributes:
        title: its name in tables.
        unit: of its values; may be empty.
        better: 'lower', 'higher', 'near X' where both sides are worse, or empty.
        digits: decimals; None for three significant digits.
        limits: least and largest value it can have.
        definition: a sentence for the report.
        compute: see above; None where something else computes it.
        headline: what it tells, in plain words; a report shows a metric that has one
            without unfolding.
        features: slice features that it needs; empty for none.
        labelled: whether it needs labels of tissues; else, or if NaN, it is left out.
        of_spread: whether it needs a standard deviation; else it is left out.
    """

    title: str
    unit: str
    better: str
    digits: int | None
    limits: Limits
    definition: str
    compute: Callable[[Any], float] | None = None
    _: dataclasses.KW_ONLY
    headline: str = ""
    features: str = ""
    labelled: bool = False
    of_spread: bool = False

    @property
    def best(self) -> float | None:
        """The best value of a metric that is worse on both sides of it."""
        near, _, value = self.better.partition("near ")
        return float(value) if value and not near else None

    @property
    def higher_is_better(self) -> bool:
        return self.better == "higher"

    def comparable(self, values: np.ndarray) -> np.ndarray:
        """Return what is compared: values, or distances from the best value if any."""
        values = np.asarray(values, np.float64)
        return values if self.best is None else np.abs(values - self.best)

    @property
    def difference_limits(self) -> Limits:
        """Least and largest difference of two `comparable` values."""
        low, high = AT_LEAST_0 if self.best is not None else self.limits
        return low - high, high - low

    def is_outside(self, value: float, reference: Interval | None) -> bool | None:
        """Return whether a value is worse than the whole range of real CT.

        Args:
            value: of synthetic CT; NaN (a tissue is missing altogether) is worse.
            reference: the range between, or of, real CT.

        Returns:
            None without a range, or where too few real subjects make it.
        """
        if reference is None or reference.n < FEWEST_REAL_SUBJECTS:
            return None
        return bool(
            not np.isfinite(value)
            or (self.better != "lower" and value < reference.low)
            or (self.better != "higher" and value > reference.high)
        )


# The tables are laid out by hand: a metric takes a few lines, not ten.
# fmt: off

# --- distributions of synthetic and real CT -------------------------------------------

_BINS = (
    f"bins of {histogram.STEP_HU} HU from {histogram.RANGE_HU[0]} to "
    f"{histogram.RANGE_HU[1]}, voxels of the body"
)
_HAAR = (
    f"between {haar_features.DIMENSION} wavelet and intensity features of slices "
    f"(version {haar_features.VERSION}); not FID and not comparable with it"
)
_INCEPTION = "between the 2048 pool features of the Inception v3 network of the file"

DISTRIBUTION = {
    haar_features.NAME: Metric(
        "Fréchet distance, Haar features", "", "lower", None, AT_LEAST_0,
        f"{_HAAR}; it grows as slices become fewer",
        lambda pair: pair.frechet("haar"), features="haar",
        headline="Overall appearance of the slices"),
    f"{haar_features.NAME}_infinite": Metric(
        "Fréchet distance, Haar features, extrapolated", "", "lower", None, UNLIMITED,
        "extrapolated to infinitely many subjects (Chong & Forsyth 2020), to correct "
        "the bias of few of them; below 0 is 0 within its error",
        lambda pair: pair.frechet_infinite("haar"), features="haar"),
    f"kernel_haar_v{haar_features.VERSION}": Metric(
        "Kernel distance, Haar features", "", "lower", None, UNLIMITED,
        f"squared maximum mean discrepancy (KID) {_HAAR}; unbiased, so that it can be "
        "below 0",
        lambda pair: pair.kernel_distance("haar"), features="haar"),
    "fid": Metric(
        "FID", "", "lower", None, AT_LEAST_0,
        f"Fréchet distance {_INCEPTION}; far too large with fewer than thousands of "
        "slices: prefer KID, and compare it with real against real CT only",
        lambda pair: pair.frechet("fid"), features="fid",
        headline="Appearance as an Inception network sees it"),
    "kid": Metric(
        "KID", "", "lower", None, UNLIMITED, f"kernel distance {_INCEPTION}",
        lambda pair: pair.kernel_distance("fid"), features="fid",
        headline="The same, right for few slices as well"),
    "kl_real_synthetic": Metric(
        "KL(real ‖ synthetic)", "nats", "lower", None, AT_LEAST_0,
        f"Kullback-Leibler divergence of histograms: {_BINS}; half a count added",
        lambda pair: histogram.kl_divergence(pair.real.counts, pair.synthetic.counts),
        headline="HU values in the body"),
    "kl_synthetic_real": Metric(
        "KL(synthetic ‖ real)", "nats", "lower", None, AT_LEAST_0,
        "the same, the other way round",
        lambda pair: histogram.kl_divergence(pair.synthetic.counts, pair.real.counts)),
    "wasserstein": Metric(
        "Wasserstein-1 of HU", "HU", "lower", 1, AT_LEAST_0,
        f"by how many HU voxels would have to move, on average: {_BINS}",
        lambda pair: histogram.wasserstein(pair.synthetic.counts, pair.real.counts)),
}
for _band in tissues.BANDS:
    _where = f"voxels of the body {tissues.describe(_band)}, in bins"
    _title = _band.replace("_", " ").capitalize()
    DISTRIBUTION[f"share_{_band}"] = Metric(
        f"{_title}: synthetic / real share", "", "near 1", 2, AT_LEAST_0,
        f"ratio of the shares of {_where}",
        lambda pair, band=_band: pair.share_ratio(band))
    DISTRIBUTION[f"wasserstein_{_band}"] = Metric(
        f"{_title}: Wasserstein-1", "HU", "lower", 1, AT_LEAST_0, f"within {_where}",
        lambda pair, band=_band: pair.wasserstein_of_band(band))
DISTRIBUTION |= {
    "spectral_distance": Metric(
        "Spectral distance", "log10", "lower", 3, AT_LEAST_0,
        "mean absolute log-ratio over frequencies of azimuthally averaged power "
        "spectra of slices (Durall et al. 2020)",
        lambda pair: spectrum.spectral_distance(*pair.spectra),
        headline="Sharpness and noise within slices"),
    "high_frequencies": Metric(
        "High frequencies", "log10", "near 0", 3, UNLIMITED,
        "mean log-ratio of power above half of the Nyquist frequency: below 0 blurred, "
        "above 0 noisy",
        lambda pair: spectrum.high_frequency_ratio(*pair.spectra)),
    "spectral_slope": Metric(
        "Spectral slope, difference", "", "near 0", 3, UNLIMITED,
        "of log power against log frequency, synthetic minus real",
        lambda pair: np.subtract(*map(spectrum.slope, pair.spectra))),
    "separability": Metric(
        "Classified by spectrum", "", "lower", 2, SHARE,
        "balanced accuracy of a logistic regression that tells synthetic from real CT "
        "by spectra, cross-validated by subject; 0.5: no better than guessing, with "
        "few subjects also below",
        lambda pair: pair.separability()),
    "checkerboard": Metric(
        "Checkerboard", "log10", "near 0", 3, UNLIMITED,
        "power at the frequencies of a checkerboard over that around them, synthetic "
        "minus real",
        lambda pair: pair.synthetic.checkerboard - pair.real.checkerboard),
    "slice_difference_median": Metric(
        "Differences between slices, ratio", "", "near 1", 2, AT_LEAST_0,
        "median difference of neighbouring slices in the body, mean over subjects, "
        "synthetic over real",
        lambda pair: pair.slice_difference_ratio("median"),
        headline="Continuity from slice to slice"),
    "slice_difference_smallest": Metric(
        "Smallest difference between slices, ratio", "", "near 1", 2, AT_LEAST_0,
        "smallest difference over those beside it, mean over subjects, synthetic over "
        "real: falls where a slice is repeated",
        lambda pair: pair.slice_difference_ratio("smallest")),
    "slice_difference_largest": Metric(
        "Largest difference between slices, ratio", "", "near 1", 2, AT_LEAST_0,
        "largest difference over those beside it, mean over subjects, synthetic over "
        "real: rises where slices flicker",
        lambda pair: pair.slice_difference_ratio("largest")),
}

# --- a synthetic CT and its own MR ----------------------------------------------------

CONSISTENCY = {
    "outline_dice": Metric(
        "Outline: Dice", "", "higher", 3, SHARE,
        "overlap of the body in the synthetic CT with that in the MR",
        lambda ct: surface.dice(ct.mask_of_hu, ct.subject.outline),
        headline="Overlap of the body outlines"),
    "outline_hd95": Metric(
        "Outline: Hausdorff 95 %", "mm", "lower", 1, AT_LEAST_0,
        "95th percentile of the distance between both outlines",
        lambda ct: surface.hausdorff_95(
            ct.mask_of_hu, ct.subject.outline, ct.subject.spacing_mm),
        headline="Distance of the body outlines"),
}
_CYCLE = "cycle_"  # and the name of an MR channel
_CYCLE_METRIC = Metric(
    "Cycle error", "%", "lower", 2, PERCENT,
    "mean |MR - cycled MR| in the body, of the range of the network's input",
    headline="What is lost from MR to CT and back")

# --- a synthetic CT and its reference CT ----------------------------------------------

_RANGE = f"{paired.RANGE_HU[0]:g} to {paired.RANGE_HU[1]:g} HU"
_PURE = "all of whose eight neighbours in the slice are"
_CONTRAST = (
    "contrast of lesions of liver and kidneys to their organ, synthetic over reference "
    f"CT, of lesions with {labelled.LEAST_CONTRAST_HU:g} HU or more"
)
_MULTISCALE_RANGE = " to ".join(f"{hu:g}" for hu in similarity.MULTISCALE_RANGE_HU)

PAIRED = {
    "mae": Metric("MAE", "HU", "lower", 1, AT_LEAST_0, "mean absolute error",
        lambda ct: ct.errors["mae"], headline="Size of the HU errors"),
    "rmse": Metric("RMSE", "HU", "lower", 1, AT_LEAST_0, "root mean squared error",
        lambda ct: ct.errors["rmse"]),
    "me": Metric("ME", "HU", "near 0", 1, UNLIMITED,
        "mean of synthetic minus reference CT",
        lambda ct: ct.errors["me"], headline="Bias of the HU"),
    "psnr": Metric("PSNR", "dB", "higher", 1, UNLIMITED,
        f"peak signal-to-noise ratio over {_RANGE}, to which both are clipped",
        lambda ct: ct.errors["psnr"]),
    "ssim": Metric("SSIM", "", "higher", 3, (-1.0, 1.0),
        f"structural similarity over {_RANGE}, window of 7 x 7 x 7 voxels, mean over "
        "the body; of volumes of 7 slices or more",
        lambda ct: similarity.structural_similarity(
            ct.hu, ct.reference_ct, ct.body)),
    "ms_ssim": Metric("MS-SSIM", "", "higher", 3, (-1.0, 1.0),
        f"structural similarity over {_MULTISCALE_RANGE} HU at five scales in 3-D, as "
        "SynthRAD2025 computes it: axes shorter than 97 voxels are filled up by "
        "repeating their ends, so of few slices the end ones weigh most",
        lambda ct: similarity.multiscale_structural_similarity(
            ct.hu, ct.reference_ct, ct.body),
        headline="Structure of the image"),
    "bone_dice": Metric("Bone: Dice", "", "higher", 3, SHARE,
        f"of voxels {tissues.describe('bone')}",
        lambda ct: surface.dice(*ct.bone), headline="Overlap of bone"),
    "bone_hd95": Metric("Bone: Hausdorff 95 %", "mm", "lower", 1, AT_LEAST_0,
        f"of the surfaces of voxels {tissues.describe('bone')}",
        lambda ct: surface.hausdorff_95(*ct.bone, ct.subject.spacing_mm)),
    "air_dice": Metric("Air inside: Dice", "", "higher", 3, SHARE,
        f"of voxels of the body below {tissues.AERATED_BELOW_HU:g} HU: lung and gas",
        lambda ct: surface.dice(*ct.air)),
    "path_length_mae": Metric(
        "Path length: MAE", "mm of water", "lower", 2, AT_LEAST_0,
        "mean absolute error of the water-equivalent path length of protons, along "
        "rays through the body from all sides",
        lambda ct: ct.path_lengths["mae_mm"], headline="Path lengths of protons"),
    "path_length_me": Metric(
        "Path length: ME", "mm of water", "near 0", 2, UNLIMITED,
        "its mean, synthetic minus reference",
        lambda ct: ct.path_lengths["me_mm"]),
    "outline_shift": Metric("Outline: shift", "mm", "lower", 1, AT_LEAST_0,
        "distance of the centres of the body in the synthetic and in the reference CT",
        lambda ct: surface.centre_distance(
            ct.mask_of_hu, ct.subject.reference_outline, ct.subject.spacing_mm)),
    "organ_shift": Metric("Organs: shift", "mm", "lower", 1, AT_LEAST_0,
        "displacement in the slice at which the synthetic CT correlates best with the "
        f"reference CT, up to {labelled.REACH} voxels along each axis; mean of liver, "
        "kidneys and spleen",
        lambda ct: ct.organ_shift_mm, labelled=True),
    "fat_as_soft": Metric("Fat as soft tissue", "%", "lower", 1, PERCENT,
        f"share of voxels of fat, {_PURE} fat, above {labelled.SWAP_HU:g} HU",
        lambda ct: labelled.percent(ct.pure_hu(labelled.FAT) > labelled.SWAP_HU),
        labelled=True),
    "soft_as_fat": Metric("Soft tissue as fat", "%", "lower", 1, PERCENT,
        "share of voxels of muscle, solid organs and vessels, "
        f"{_PURE} such, below {labelled.SWAP_HU:g} HU",
        lambda ct: labelled.percent(
            ct.pure_hu(labelled.SOFT_TISSUE) < labelled.SWAP_HU), labelled=True),
    "lesion_contrast": Metric("Lesions: contrast kept", "%", "near 100", 0, UNLIMITED,
        f"mean {_CONTRAST}",
        lambda ct: labelled.percent(ct.lesion_contrasts), labelled=True),
    "lesion_erased": Metric("Lesions: erased", "%", "lower", 0, PERCENT,
        f"share of lesions that keep less than half of it: {_CONTRAST}",
        lambda ct: labelled.percent(ct.lesion_contrasts < 0.5), labelled=True),
    "lesion_invented": Metric("Lesions: invented", "%", "lower", 1, PERCENT,
        "share of voxels of liver and kidneys, away from edges and lesions, whose "
        f"error is more than {labelled.INVENTED_HU:g} HU from the organ's median "
        "error; errors are means over 3 x 3 voxels",
        lambda ct: labelled.percent(ct.organ_deviations > labelled.INVENTED_HU),
        labelled=True),
    "spread_coverage": Metric("Spread: coverage", "%", "", 1, PERCENT,
        f"share of voxels of the body whose error is within {uncertainty.Z_90:.3f} "
        "standard deviations over views and networks",
        lambda ct: ct.uncertainty["coverage"], of_spread=True),
    "spread_factor": Metric("Spread: factor for 90 %", "", "", 2, AT_LEAST_0,
        "by which that interval would have to be widened to cover 90 % of the voxels",
        lambda ct: ct.uncertainty["factor"], of_spread=True),
    "spread_correlation": Metric("Spread: rank correlation", "", "higher", 2, (-1, 1),
        "Spearman's, over the same voxels, of that deviation and the absolute error",
        lambda ct: ct.uncertainty["correlation"], of_spread=True),
}

REFERENCE = {
    "voxels": Metric("Voxels", "", "", 0, AT_LEAST_0, "number of voxels"),
    "mean_hu": Metric("Mean HU", "HU", "", 1, UNLIMITED, "mean HU of the reference CT"),
}
ACROSS_SUBJECTS = {
    "hu_slope": Metric("Slope of mean HU", "", "", 2, UNLIMITED,
        "least-squares slope over subjects of mean HU, synthetic CT against reference "
        "CT"),
    "hu_correlation": Metric("Correlation of mean HU", "", "higher", 2, (-1.0, 1.0),
        "Pearson's correlation over subjects of the same"),
}
# fmt: on

_GROUPS = {
    "distribution": DISTRIBUTION,
    "consistency": CONSISTENCY,
    "paired": PAIRED,
    "reference": REFERENCE,
    "across_subjects": ACROSS_SUBJECTS,
}


def named(metric: str, region: str = BODY) -> Metric:
    """Return the definition of a metric in results, with the region in its title.

    Raises:
        ValueError: there is no such metric.
    """
    name, _, channel = metric.partition(_CYCLE)
    if channel and not name:
        title = f"{_CYCLE_METRIC.title}, {channel.replace('_', ' ')}"
        definition = dataclasses.replace(_CYCLE_METRIC, title=title)
    else:
        definition = _GROUPS[group(metric)][metric]
    if region == BODY:
        return definition
    title = f"{definition.title}, {region_title(region)}"
    return dataclasses.replace(definition, title=title)


def region_title(region: str) -> str:
    """Return the words for a region: 'tissue:cortical_bone' to 'cortical bone'."""
    kind, _, name = region.rpartition(":")
    name = name.replace("_", " ")
    return {"border": f"{name} border", "pure": f"pure {name}"}.get(kind, name)


def group(metric: str) -> str:
    """Return the name of a metric's group, such as 'distribution' or 'paired'."""
    if metric.startswith(_CYCLE):
        return "consistency"
    for name, metrics in _GROUPS.items():
        if metric in metrics:
            return name
    raise ValueError(f"unknown metric {metric}: of another version, evaluate again")
