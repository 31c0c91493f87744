"""A scan in memory: voxels, their position in the patient, and headers.

Arrays are `voxels[slice, row, column, channel]`. The affine maps (column, row, slice,
1) to millimetres of voxel centres in RAS (x to the patient's right, y to anterior, z to
superior), as in NIfTI. Everything after the readers works on the canonical axial order
of `to_axial`: slices from inferior to superior, rows from anterior to posterior,
columns from the patient's right to the left, as a radiologist looks at them.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

MR_CHANNELS = ("in_phase", "out_of_phase", "t2")
CHANNELS = {"MR": MR_CHANNELS, "CT": ("hu",)}
"""Names of the images that a scan of each modality may have."""

MODALITY = {"mr": "MR", "ct": "CT"}
"""Modality of each domain of a data set; labels have none."""


def check_channels(modality: str, channels: Sequence[str]) -> None:
    """Check the names of channels.

    Raises:
        ValueError: an unknown modality, or a channel that it does not have.
    """
    if modality not in CHANNELS:
        raise ValueError(f"modality is {modality!r}, expected 'MR' or 'CT'")
    for channel in channels:
        if channel not in CHANNELS[modality]:
            raise ValueError(
                f"channel {channel!r} of {modality}, expected one of "
                f"{', '.join(CHANNELS[modality])}"
            )


class UnusableScan(ValueError):
    """Raised for a scan that cannot become a volume; names the file and the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volume:
    """One scan of one patient on one regular grid.

    Attributes:
        voxels: (slices, rows, columns, channels) float32; HU for CT, the scanner's own
            units for MR.
        affine: (4, 4) float64, (column, row, slice, 1) to RAS mm of voxel centres.
        modality: 'MR' or 'CT'.
        channels: one name a channel: 'in_phase', 'out_of_phase', 't2'; 'hu' for CT.
        source: the path it came from, for messages.
        origin: headers that an output inherits (DicomOrigin, NiftiOrigin), None if the
            volume was made up. It always describes the order in which the scan was
            stored, also after `to_axial`.
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str
    channels: tuple[str, ...]
    source: str = ""
    origin: object | None = None

    def __post_init__(self):
        if self.voxels.ndim != 4 or self.voxels.shape[3] != len(self.channels):
            raise ValueError(
                f"{self.source or 'volume'}: voxels of shape {self.voxels.shape}, "
                f"expected (slices, rows, columns, {len(self.channels)}) for the "
                f"channels {', '.join(self.channels)}"
            )
        if self.modality not in CHANNELS:
            raise ValueError(f"modality is {self.modality!r}, expected 'MR' or 'CT'")
        if np.shape(self.affine) != (4, 4):
            raise ValueError(f"affine is {np.shape(self.affine)}, expected (4, 4)")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring (slices, rows, columns) in mm."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return slice_, row, column


# --- array order ----------------------------------------------------------------------

# Signs of (column, row, slice) in RAS for the canonical order: columns run to the
# patient's left, rows to posterior, slices to superior.
_AXIAL_SIGNS = (-1, -1, 1)


def _axial_order(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return, for (column, row, slice) in axial order, axes of `affine` and flips.

    An oblique scan gets the assignment of axes with the largest sum of cosines.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(directions[i, axis]) for i, axis in enumerate(axes)),
    )
    flips = tuple(
        bool(directions[i, axis] * sign < 0)
        for i, (axis, sign) in enumerate(zip(order, _AXIAL_SIGNS, strict=True))
    )
    return order, flips


def _array_axis(axis: int) -> int:
    """Convert an axis of the affine to one of voxels[slice, row, column], or back."""
    return 2 - axis


def to_axial(volume: Volume) -> Volume:
    """Permute and flip a scan's axes to the canonical axial order.

    No interpolation: voxels only move, and `from_axial` is the exact inverse. Planes
    of an oblique, sagittal or coronal scan go to the nearest anatomical axes.
    """
    order, flips = _axial_order(volume.affine)
    sizes = volume.voxels.shape[2::-1]  # of (column, row, slice)
    voxels = volume.voxels.transpose(*(_array_axis(order[2 - i]) for i in range(3)), 3)
    move = np.zeros((4, 4))
    move[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        move[old, new] = -1 if flip else 1
        move[old, 3] = sizes[old] - 1 if flip else 0
        if flip:
            voxels = np.flip(voxels, _array_axis(new))
    return dataclasses.replace(
        volume,
        voxels=np.ascontiguousarray(voxels),
        affine=volume.affine @ move,
    )


def from_axial(volume: Volume, reference: Volume) -> Volume:
    """Put the voxels of an axial volume back into the array order of `reference`.

    Args:
        volume: any channels, on the grid of `to_axial(reference)`.
        reference: the scan as it was stored.

    Returns:
        `volume` with its voxels on the grid of `reference`.

    Raises:
        ValueError: the volume does not lie on the grid of `to_axial(reference)`.
    """
    shape = reference.voxels.shape[:3]
    voxels = restore_order(
        volume.voxels, volume.affine, shape=shape, affine=reference.affine
    )
    return dataclasses.replace(volume, voxels=voxels, affine=reference.affine.copy())


def restore_order(
    voxels: np.ndarray,
    voxels_affine: np.ndarray,
    *,
    shape: tuple[int, int, int],
    affine: np.ndarray,
) -> np.ndarray:
    """Move voxels in stored or in axial order into the stored order.

    Args:
        voxels: (slices, rows, columns, ...) whose affine is `voxels_affine`.
        voxels_affine: (4, 4), either `affine` itself or that of its `to_axial`.
        shape: (slices, rows, columns) of the stored order.
        affine: (4, 4), the stored order's.

    Raises:
        ValueError: the voxels lie on neither of the two grids.
    """
    if voxels.shape[:3] == tuple(shape) and np.allclose(
        voxels_affine, affine, rtol=0, atol=1e-4
    ):
        return voxels
    stored = Volume(
        voxels=np.empty((*shape, 0), np.float32),
        affine=affine,
        modality="MR",
        channels=(),
    )
    axial = to_axial(stored)
    if voxels.shape[:3] != axial.voxels.shape[:3] or not np.allclose(
        voxels_affine, axial.affine, rtol=0, atol=1e-4
    ):
        raise ValueError(
            f"voxels of shape {voxels.shape[:3]} with the affine "
            f"{np.round(voxels_affine, 4).tolist()} are not on the scan's grid: "
            f"expected {tuple(shape)} with {np.round(affine, 4).tolist()}, or the "
            "same in axial order"
        )
    return _from_axial_order(voxels, affine)


def restore_slices(
    voxels: np.ndarray, start: int, *, shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[int, np.ndarray] | None:
    """Apply `restore_order` to some slices of a volume in axial order.

    Args:
        voxels: (slices, rows, columns, ...) from slice `start` on.
        shape: (slices, rows, columns) of the stored order.
        affine: (4, 4), the stored order's.

    Returns:
        The index of the first slice in the stored order, and the slices; None if axial
        planes are not slices there.
    """
    order, flips = _axial_order(affine)
    if order[2] != 2:
        return None
    first = shape[0] - start - len(voxels) if flips[2] else start
    return first, _from_axial_order(voxels, affine)


def _from_axial_order(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    order, flips = _axial_order(affine)
    for new, flip in enumerate(flips):
        if flip:
            voxels = np.flip(voxels, _array_axis(new))
    # to_axial's array axis a holds the stored array axis moved[a].
    moved = [_array_axis(order[2 - i]) for i in range(3)]
    rest = range(3, voxels.ndim)
    return np.ascontiguousarray(voxels.transpose(*np.argsort(moved), *rest))
