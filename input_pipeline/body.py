"""The patient in a volume: without couch, coil and the air around."""

import numpy as np
import scipy.ndimage

_COARSE_MM = 4.0
"""In-plane pixels on which the outline is found; the full ones only refine its rim."""


def body_mask(
    voxels: np.ndarray, modality: str, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Where the patient is, lungs and gas included.

    Args:
        voxels: (slices, rows, columns, channels) in axial order; HU for CT.
        modality: 'MR' or 'CT'.
        spacing_mm: of rows, columns and slices.

    Returns:
        (slices, rows, columns) bool; all False where nothing was found.
    """
    step = [max(1, round(_COARSE_MM / mm)) for mm in spacing_mm[:2]]
    image = voxels[..., 0] if modality == "CT" else _mr_image(voxels)
    coarse = _block_mean(image, step)
    if modality == "CT":
        level = -300.0
    else:
        level = _mr_level(coarse)
    found = _largest(_open(coarse > level))
    found = _close_and_fill(found)
    # Full resolution: the rim follows the image, the inside is filled.
    wide = scipy.ndimage.binary_dilation(found, _disc(1)[None])
    core = scipy.ndimage.binary_erosion(found, _disc(1)[None])
    wide, core = (_expand(part, step, image.shape) for part in (wide, core))
    fine = core | (wide & (image > level))
    return np.stack([scipy.ndimage.binary_fill_holes(plane) for plane in fine])


def _mr_image(voxels: np.ndarray) -> np.ndarray:
    """(slices, rows, columns): the brightest channel, each as a share of its maximum."""
    tops = np.percentile(voxels[:, ::2, ::2], 99, axis=(0, 1, 2))
    return (voxels / np.maximum(tops, 1e-6).astype(np.float32)).max(axis=-1)


def _mr_level(image: np.ndarray) -> float:
    """Between noise and tissue."""
    return 0.08


def _block_mean(image: np.ndarray, step: list[int]) -> np.ndarray:
    slices, rows, columns = image.shape
    pad = [(0, 0), (0, -rows % step[0]), (0, -columns % step[1])]
    image = np.pad(image, pad, mode="edge")
    shape = (slices, image.shape[1] // step[0], step[0], -1, step[1])
    return image.reshape(shape).mean(axis=(2, 4))


def _expand(mask: np.ndarray, step: list[int], shape: tuple[int, ...]) -> np.ndarray:
    mask = mask.repeat(step[0], axis=1).repeat(step[1], axis=2)
    return mask[:, : shape[1], : shape[2]]


def _disc(radius: float) -> np.ndarray:
    reach = int(np.floor(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return x * x + y * y <= radius * radius


def _open(mask: np.ndarray) -> np.ndarray:
    return scipy.ndimage.binary_opening(mask, _disc(1.5)[None])


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = scipy.ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def _close_and_fill(mask: np.ndarray) -> np.ndarray:
    return np.stack([scipy.ndimage.binary_fill_holes(plane) for plane in mask])
