"""Features of an MR on the network's pixels: brightness, noise, shape, phases.

Values are shares of the scale of the volume (`intensity.mr_scale`), 0 to 2.
"""

import numpy as np
import scipy.ndimage

from synthct_jax.metrics.continuity import slice_difference_statistics

_DARK = 0.15  # of the scale: below it are gas, lung and cortical bone
_RIM_MM = (4.0, 12.0)  # below the skin: subcutaneous fat
_BIAS_MM = 25.0  # standard deviation of the Gaussian that leaves coils and no organs
_BIAS_STEP = 4  # pixels that become one before
_CLIPPED = 0.005  # distance from the maximum, of the maximum
_ALMOST_EMPTY = 0.1  # of the median cross-section

# An image of structure gives next to nothing, one of noise 6 of its deviations
# (Immerkaer, Comput Vis Image Underst 1996; 64:300).
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_GAIN = 6.0
_MAD = 0.6745  # of one deviation


def rim_of(body: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the voxels 4 to 12 mm below the skin, within each slice."""
    # Slices are set far apart, so that only the plane counts.
    depth_mm = scipy.ndimage.distance_transform_edt(
        np.pad(body, [(0, 0), (1, 1), (1, 1)]), sampling=(1e6, *spacing_mm[1:])
    )[:, 1:-1, 1:-1]
    return (depth_mm > _RIM_MM[0]) & (depth_mm <= _RIM_MM[1])


def brightness(image: np.ndarray, body: np.ndarray, rim: np.ndarray) -> dict:
    """Return the distribution of one channel in the body.

    Args:
        image: (slices, rows, columns).
        body, rim: bool of that shape.
    """
    values = image[body]
    median, upper = np.percentile(values, (50, 75))
    tissue = values[values > _DARK]
    return {
        "median": median,
        "upper_quartile": upper,
        "dark_share": (values <= _DARK).mean(),
        "separation": _separation(tissue),
        "rim": np.median(image[rim]) / max(median, 1e-3) if rim.any() else np.nan,
        "clipped": (values >= (1 - _CLIPPED) * values.max()).mean(),
    }


def _separation(values: np.ndarray) -> float:
    """Return the largest share of variance that two classes explain (Otsu 1979)."""
    counts, edges = np.histogram(values, 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    low, high = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1])
    high = high / np.maximum(above, 1)
    between = (below * above * (high - low) ** 2).max(initial=0)
    total = counts.sum() ** 2 * values.var() if values.size else 0
    return float(between / total) if total else np.nan


def disturbances(
    image: np.ndarray, body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> dict:
    """Return noise, bias and unsteadiness along the slices of one channel.

    Args:
        image: (slices, rows, columns).
        body: bool of that shape.
    """
    filtered = scipy.ndimage.correlate(image, _NOISE_KERNEL[None], mode="nearest")
    core = scipy.ndimage.binary_erosion(body, np.ones((1, 5, 5)))
    noise = np.median(np.abs(filtered[core])) if core.any() else np.nan
    union = body[1:] | body[:-1]
    sums = np.where(union, np.abs(image[1:] - image[:-1]), 0).sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        changes = slice_difference_statistics(sums / union.sum(axis=(1, 2)))
    return {
        "noise": noise / (_MAD * _NOISE_GAIN),
        "bias": unevenness(image, image > _DARK, spacing_mm),
        "slice_jump": changes["largest"],
        "slice_repeat": changes["smallest"],
    }


def unevenness(
    image: np.ndarray,
    tissue: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    least_share: float = 0.3,
) -> float:
    """Return the standard deviation of the logarithm of the smoothed tissue.

    Args:
        image: (slices, rows, columns).
        tissue: bool of that shape.
        least_share: of tissue near a place that counts.
    """
    rows, columns = (n // _BIAS_STEP * _BIAS_STEP for n in image.shape[1:])
    image, tissue = image[:, :rows, :columns], tissue[:, :rows, :columns]
    sigma = [0, *(_BIAS_MM / mm / _BIAS_STEP for mm in spacing_mm[1:])]

    def smooth(values: np.ndarray) -> np.ndarray:
        blocks = values.reshape(len(values), rows // _BIAS_STEP, _BIAS_STEP, -1)
        blocks = blocks.mean(axis=2, dtype=np.float32)
        blocks = blocks.reshape(*blocks.shape[:2], -1, _BIAS_STEP).mean(axis=3)
        return scipy.ndimage.gaussian_filter(blocks, sigma, mode="constant")

    share = smooth(tissue)
    inside = share > least_share
    means = smooth(np.where(tissue, image, 0))[inside] / share[inside]
    return float(np.log(np.maximum(means, _DARK)).std()) if means.size else np.nan


def shape(body: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict:
    """Return the size of the body (slices, rows, columns), and how it is cut off."""
    slice_mm, row_mm, column_mm = spacing_mm
    area = body.sum(axis=(1, 2))
    filled = area >= _ALMOST_EMPTY * np.median(area[area > 0])
    steps = np.log(area[filled][1:] / area[filled][:-1])
    width, depth, edge = [], [], []
    for plane in body[filled]:
        rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
        depth.append((rows[-1] - rows[0] + 1) * row_mm)
        width.append((columns[-1] - columns[0] + 1) * column_mm)
        edge.append(_flat_edge(plane[rows]) * row_mm)
    return {
        "slices": len(body),
        "slice_mm": slice_mm,
        "coverage_mm": filled.sum() * slice_mm,
        "cross_section_cm2": area[filled].mean() * row_mm * column_mm / 100,
        "width_over_depth": np.median(np.divide(width, depth)),
        "flat_edge_mm": np.mean(edge),
        "empty_slices": (~filled).mean(),
        "area_jump": np.abs(steps).max(initial=0),
    }


def _flat_edge(plane: np.ndarray) -> int:
    """Return the most rows that begin, or end, within a pixel of the outermost one."""
    starts = [side.argmax(axis=1) for side in (plane, plane[:, ::-1])]
    return max(int((start <= start.min() + 1).sum()) for start in starts)


def phases(in_phase: np.ndarray, out_of_phase: np.ndarray, body: np.ndarray) -> dict:
    """Return how the phases of one acquisition belong together.

    Both are (slices, rows, columns) on one scale.
    """
    one, other = in_phase[body], out_of_phase[body]
    tissue = np.maximum(one, other) > _DARK
    one, other = one[tissue], other[tissue]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.corrcoef(one, other)[0, 1]
    ratio = np.maximum(other, 1e-3) / np.maximum(one, 1e-3)
    return {
        "phase_correlation": correlation,
        "phase_ratio": np.median(ratio),
        # Water and fat cancel where they share a voxel, and only out of phase.
        "cancelled": (ratio < 0.7).mean() - (ratio > 1 / 0.7).mean(),
    }
