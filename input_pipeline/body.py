"""Segmentation of the patient's body: without couch, coil and the air around.

The outline is found on coarse pixels, where noise averages out and morphology is
cheap. The full resolution only decides the rim.
"""

import functools

import numpy as np
import scipy.ndimage

_COARSE_MM = 4.0
_CT_LEVEL_HU = -300.0
# MR levels are fractions of bright tissue: the range of the outline's threshold, and
# the lowest value that counts as signal.
_MR_LEVELS = (0.025, 0.15)
_MR_FLOOR = 0.005
_NOISE_FACTOR = 2.3  # times the mean in air: three and a half deviations above it
_NOISE_MOST = 0.25  # more is no noise but a patient who fills the corners
_LEAST_SHARE = 0.02  # of the trunk: an arm has 3 to 8 %
# Turns a disc into a 3x3x3 element without neighbours in other slices.
_SLICE = np.array([False, True, False])[:, None, None]


def body_mask(
    voxels: np.ndarray, modality: str, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Segment the patient, lungs and gas included.

    The body is the largest connected object after thin ones were removed. In MR it is
    also any other of at least 2 % of its size, such as an arm; in CT that would be the
    couch.

    Args:
        voxels: (slices, rows, columns, channels) in axial order; HU for CT.
        modality: 'MR' or 'CT'.
        spacing_mm: of slices, rows and columns.

    Returns:
        (slices, rows, columns) bool; all False if there is no body.
    """
    step = tuple(max(1, round(_COARSE_MM / mm)) for mm in spacing_mm[1:])
    coarse_mm = max(n * mm for n, mm in zip(step, spacing_mm[1:], strict=True))
    if modality == "CT":
        image = voxels[..., 0]
        coarse = _block_mean(image, step)
        level = _CT_LEVEL_HU
        closing_mm = 0.0
    else:
        image = _bright_share(voxels)
        coarse = _block_mean(image, step)
        level = _mr_level(coarse) * _fall_off(coarse)[:, None, None]
        noise = min(_NOISE_FACTOR * _noise(coarse), _NOISE_MOST)
        level = np.maximum(level, noise)
        closing_mm = 16.0
        # Single pixels of the rim are noise.
        blur = [0, *(1.5 / mm for mm in spacing_mm[1:])]
        image = scipy.ndimage.gaussian_filter(image, blur, truncate=2)
    body = coarse > level
    if closing_mm:
        body = _close(body, closing_mm / coarse_mm)
    # Removes a couch top and a coil's wire, keeps the chest wall over a lung.
    body = scipy.ndimage.binary_opening(body, _disc(1)[None])
    if modality == "MR":
        body = _largest(body, _LEAST_SHARE)
        body |= _enclosed(body)
    else:
        body = _largest(body)
    body = fill_holes(body)

    cross = _disc(1)[None]
    wide = scipy.ndimage.binary_dilation(body, cross)
    core = scipy.ndimage.binary_erosion(body, cross, border_value=1)
    wide, core = (_expand(mask, step, image.shape) for mask in (wide, core))
    return fill_holes(core | (wide & (image > level)))


def _bright_share(voxels: np.ndarray) -> np.ndarray:
    """Divide each channel by its bright tissue; return the largest, (s, r, c)."""
    tops = np.percentile(voxels[:, ::2, ::2], 99, axis=(0, 1, 2)).astype(np.float32)
    shares = (voxels[..., c] / max(top, 1e-6) for c, top in enumerate(tops))
    return functools.reduce(np.maximum, shares)  # max(axis=-1) takes five times as long


def _mr_level(coarse: np.ndarray) -> float:
    """Return Otsu's threshold of the log (IEEE Trans SMC 1979;9:62), air from tissue.

    The logarithm sets the fat that a T2 sequence suppresses apart from air; without
    it the threshold falls between that fat and the organs.
    """
    values = np.sort(np.log(np.clip(coarse, _MR_FLOOR, 1)), axis=None)
    below = np.arange(1, values.size)
    above = values.size - below
    total = np.cumsum(values, dtype=np.float64)
    low, high = total[:-1] / below, (total[-1] - total[:-1]) / above
    best = np.argmax(below * above * (high - low) ** 2)
    return float(np.clip(np.exp(values[best]), *_MR_LEVELS))


def _noise(coarse: np.ndarray) -> float:
    """Return the mean of Rician noise, in the image's corners, where no patient is."""
    rows, columns = (max(1, n // 12) for n in coarse.shape[1:])
    corners = [
        band[..., side].mean()
        for band in (coarse[:, :rows], coarse[:, -rows:])
        for side in (slice(None, columns), slice(-columns, None))
    ]
    return float(np.median(corners))  # an arm may reach into one


def _fall_off(coarse: np.ndarray) -> np.ndarray:
    """Return the brightness of each slice relative to the median, (slices,), 0.5 to 1.

    Slices beyond the coil's reach are darker.
    """
    bright = np.percentile(coarse, 95, axis=(1, 2))
    return np.clip(bright / max(float(np.median(bright)), 1e-6), 0.5, 1)


def _block_mean(image: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    slices, rows, columns = image.shape
    pad = [(0, 0), (0, -rows % step[0]), (0, -columns % step[1])]
    image = np.pad(image, pad, mode="edge")
    image = image.reshape(slices, -1, step[0], image.shape[2]).mean(axis=2)
    return image.reshape(*image.shape[:2], -1, step[1]).mean(axis=3)


def _expand(mask: np.ndarray, step: tuple[int, int], shape: tuple) -> np.ndarray:
    mask = mask.repeat(step[0], axis=1).repeat(step[1], axis=2)
    return mask[:, : shape[1], : shape[2]]


def _disc(radius: float) -> np.ndarray:
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return x * x + y * y <= radius * radius


def _close(mask: np.ndarray, radius: float) -> np.ndarray:
    """Close gaps, without pulling the body to the image's edge."""
    pad = int(radius) + 1
    wide = np.pad(mask, [(0, 0), (pad, pad), (pad, pad)])
    wide = scipy.ndimage.binary_closing(wide, _disc(radius)[None])
    return wide[:, pad:-pad, pad:-pad]


def _largest(mask: np.ndarray, least_share: float = 1.0) -> np.ndarray:
    """Select the largest object, and others of at least a share of its voxels."""
    objects, count = scipy.ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    sizes = np.bincount(objects.ravel())
    sizes[0] = 0
    return np.isin(objects, np.flatnonzero(sizes >= least_share * sizes.max()))


def _enclosed(mask: np.ndarray) -> np.ndarray:
    """Select pixels between parts of the body, both along the row and the column.

    Lungs are as dark as air in MR, and their wall may be too thin to close them in.
    """
    inside = np.ones_like(mask)
    for axis in (1, 2):
        before = np.maximum.accumulate(mask, axis)
        after = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis), axis)
        inside &= before & after
    return inside


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of each slice: all but the air connected to its corner.

    SciPy's binary_fill_holes takes five times as long. Only the bounding box of the
    mask can have holes.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return mask
    box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    air = np.pad(~mask[box], [(0, 0), (1, 1), (1, 1)], constant_values=True)
    regions, _ = scipy.ndimage.label(air, _disc(1)[None] * _SLICE)
    filled = mask.copy()
    filled[box] = (regions != regions[:, :1, :1])[:, 1:-1, 1:-1]
    return filled
