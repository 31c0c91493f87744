"""Every metric that an evaluation reports: how it is called, read and defined.

Three kinds. COLLECTION compares synthetic CT with real CT as collections, whoever the
people are. CONSISTENCY needs the subject's own MR alone. PAIRED needs its true CT.
"""

from typing import NamedTuple

from synthct_jax.metrics import haar_features, histogram, paired, similarity, tissues


class Metric(NamedTuple):
    """How a metric is called and read.

    Attributes:
        better: 'lower', 'higher', or 'near X' where both sides are wrong.
        definition: a sentence for the report.
        digits: after the point; None for three significant ones.
    """

    title: str
    unit: str
    better: str
    definition: str
    digits: int | None = None


_BINS = (
    f"bins of {histogram.STEP_HU} HU from {histogram.RANGE_HU[0]} to "
    f"{histogram.RANGE_HU[1]}, voxels of the body"
)
_HAAR = (
    f"between {haar_features.DIMENSION} wavelet and intensity features of slices "
    f"(version {haar_features.VERSION}); not FID and not comparable with it"
)
_INCEPTION = "between the 2048 pool features of the Inception v3 network of the file"
_SPECTRUM = "azimuthally averaged power spectra of slices (Durall et al. 2020)"

COLLECTION = {
    haar_features.NAME: Metric(
        "Fréchet distance, Haar features",
        "",
        "lower",
        f"{_HAAR}; it grows as slices become fewer",
    ),
    f"{haar_features.NAME}_infinite": Metric(
        "... extrapolated to infinitely many people",
        "",
        "lower",
        "Chong & Forsyth 2020, by people: corrects the bias of few of them; below 0 is "
        "0 within its error",
    ),
    f"kernel_haar_v{haar_features.VERSION}": Metric(
        "Kernel distance, Haar features",
        "",
        "lower",
        f"squared maximum mean discrepancy (KID) {_HAAR}; unbiased, so that it can be "
        "below 0",
    ),
    "fid": Metric(
        "FID",
        "",
        "lower",
        f"Fréchet distance {_INCEPTION}; far too large with fewer than thousands of "
        "slices: prefer KID, and compare it with its floor only",
    ),
    "kid": Metric("KID", "", "lower", f"kernel distance {_INCEPTION}"),
    "frechet_inception_torchvision": Metric(
        "Fréchet distance, torchvision's Inception",
        "",
        "lower",
        f"{_INCEPTION}: of torchvision, so not called FID; as that far too large with "
        "fewer than thousands of slices: prefer the kernel distance",
    ),
    "kernel_inception_torchvision": Metric(
        "Kernel distance, torchvision's Inception", "", "lower", "the same features"
    ),
    "kl_real_synthetic": Metric(
        "KL(real ‖ synthetic)",
        "nats",
        "lower",
        f"Kullback-Leibler divergence of histograms: {_BINS}; half a count added",
    ),
    "kl_synthetic_real": Metric(
        "KL(synthetic ‖ real)", "nats", "lower", "the same, the other way round"
    ),
    "wasserstein": Metric(
        "Wasserstein-1 of HU",
        "HU",
        "lower",
        f"by how many HU voxels would have to move, on average: {_BINS}",
        1,
    ),
}
for _name in tissues.BANDS:
    _where = f"voxels of the body {tissues.describe(_name)}, in bins"
    _said = _name.replace("_", " ")
    COLLECTION[f"share_{_name}"] = Metric(
        f"{_said.capitalize()}: synthetic / real share",
        "",
        "near 1",
        f"ratio of the shares of {_where}",
        2,
    )
    COLLECTION[f"wasserstein_{_name}"] = Metric(
        f"{_said.capitalize()}: Wasserstein-1",
        "HU",
        "lower",
        f"within {_where}",
        1,
    )
COLLECTION |= {
    "spectral_distance": Metric(
        "Spectral distance",
        "log10",
        "lower",
        f"mean absolute log-ratio over frequencies of {_SPECTRUM}",
        3,
    ),
    "high_frequencies": Metric(
        "High frequencies",
        "log10",
        "near 0",
        "mean log-ratio of power above half of the Nyquist frequency: below 0 blurred, "
        "above 0 noisy",
        3,
    ),
    "spectral_slope": Metric(
        "Spectral slope, difference",
        "",
        "near 0",
        "of log power against log frequency, synthetic minus real",
        3,
    ),
    "checkerboard": Metric(
        "Checkerboard",
        "log10",
        "near 0",
        "power at the frequencies of a checkerboard over that around them, synthetic "
        "minus real",
        3,
    ),
    "separability": Metric(
        "Told apart by spectrum",
        "",
        "lower",
        "balanced accuracy of a logistic regression on spectra, cross-validated by "
        "subject; 0.5: cannot be told apart, with few subjects also below",
        2,
    ),
    "jumps_median": Metric(
        "Jumps between slices, ratio",
        "",
        "near 1",
        "median difference of neighbouring slices in the body, mean over subjects, "
        "synthetic over real",
        2,
    ),
    "jumps_least": Metric(
        "Smallest jump, ratio",
        "",
        "near 1",
        "smallest jump over those beside it, mean over subjects, synthetic over real: "
        "falls where a slice is repeated",
        2,
    ),
    "jumps_most": Metric(
        "Largest jump, ratio",
        "",
        "near 1",
        "largest jump over those beside it, mean over subjects, synthetic over real: "
        "rises where slices flicker",
        2,
    ),
}

CONSISTENCY = {
    "outline_dice": Metric(
        "Outline: Dice",
        "",
        "higher",
        "overlap of the body in the synthetic CT with that in the MR",
        3,
    ),
    "outline_hd95": Metric(
        "Outline: Hausdorff 95 %",
        "mm",
        "lower",
        "95th percentile of the distance of both outlines",
        1,
    ),
    # One for each channel, `cycle_in_phase` and so on: `named`.
    "cycle": Metric(
        "Cycle error",
        "%",
        "lower",
        "mean |MR - cycled MR| in the body, of the range that the network sees",
        2,
    ),
}

_RANGE = f"{paired.RANGE_HU[0]:g} to {paired.RANGE_HU[1]:g} HU"
PAIRED = {
    "mae": Metric("MAE", "HU", "lower", "mean absolute error", 1),
    "rmse": Metric("RMSE", "HU", "lower", "root mean squared error", 1),
    "me": Metric("ME", "HU", "near 0", "mean of synthetic minus true CT", 1),
    "psnr": Metric(
        "PSNR",
        "dB",
        "higher",
        f"peak signal-to-noise ratio over {_RANGE}, to which both are clipped",
        1,
    ),
    "ssim": Metric(
        "SSIM",
        "",
        "higher",
        f"structural similarity over {_RANGE}, window of 7 x 7 x 7 voxels, mean over "
        "the body; of volumes of 7 slices or more",
        3,
    ),
    "ms_ssim": Metric(
        "MS-SSIM",
        "",
        "higher",
        f"structural similarity over "
        f"{' to '.join(f'{hu:g}' for hu in similarity.MULTISCALE_RANGE_HU)} HU at five "
        "scales in 3-D, as SynthRAD2025 computes it: axes shorter than 97 voxels are "
        "filled up by repeating their ends, so of few slices the end ones weigh most",
        3,
    ),
    "bone_dice": Metric(
        "Bone: Dice", "", "higher", f"of voxels {tissues.describe('bone')}", 3
    ),
    "bone_hd95": Metric(
        "Bone: Hausdorff 95 %",
        "mm",
        "lower",
        f"of the surfaces of voxels {tissues.describe('bone')}",
        1,
    ),
    "air_dice": Metric(
        "Air inside: Dice",
        "",
        "higher",
        f"of voxels of the body below {tissues.AERATED_BELOW_HU:g} HU: lung and gas",
        3,
    ),
    "path_length_mae": Metric(
        "Path length: MAE",
        "mm of water",
        "lower",
        "mean absolute error of the water-equivalent path length of protons, along "
        "rays through the body from all sides",
        2,
    ),
    "path_length_me": Metric(
        "Path length: ME", "mm of water", "near 0", "its mean, synthetic minus true", 2
    ),
}


def named(metric: str) -> Metric:
    """A metric by its name in results.

    Raises:
        KeyError: there is none of that name.
    """
    for group in (COLLECTION, CONSISTENCY, PAIRED):
        if metric in group:
            return group[metric]
    kind, _, channel = metric.partition("_")
    if kind == "cycle" and channel:
        about = CONSISTENCY[kind]
        return about._replace(title=f"{about.title}, {channel.replace('_', ' ')}")
    raise KeyError(metric)


def two_sided(metric: str) -> bool:
    """Whether values on both sides of the best one are wrong."""
    return named(metric).better.startswith("near")
