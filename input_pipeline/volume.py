"""A scan in memory: voxels, their position in the patient, and headers.

Arrays are `voxels[slice, row, column, channel]`. The affine maps (column, row, slice,
1) to millimetres of voxel centres in RAS (x to the patient's right, y to anterior, z to
superior), as in NIfTI. Everything after the readers works on the canonical axial order
of `to_axial`: slices from inferior to superior, rows from anterior to posterior,
columns from the patient's right to the left, as a radiologist looks at them.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from input_pipeline.damage import describe_error, is_machine_fault

MR_CHANNELS = ("in_phase", "out_of_phase", "t2")
CHANNELS = {"MR": MR_CHANNELS, "CT": ("hu",)}
"""Names of the images that a scan of each modality may have."""

MODALITY = {"mr": "MR", "ct": "CT"}
"""Modality of each domain of a data set; labels have none."""


def check_channels(modality: str, channels: Sequence[str]) -> None:
    """Raise ValueError for an unknown modality, or a channel that it does not have."""
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


@contextlib.contextmanager
def unusable_on_error(path: str, problem: str) -> Iterator[None]:
    """Raise UnusableScan, with the file and the reason, for an error in the block.

    Libraries that read a damaged file raise errors of many kinds. Those of a disk, a
    permission or a missing file stay as they are.
    """
    try:
        yield
    except UnusableScan:
        raise
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise UnusableScan(f"{path}: {problem}: {describe_error(error)}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Grid of a scan in the array order in which it was stored.

    Attributes:
        affine: (4, 4), (column, row, slice, 1) to RAS mm.
        shape: (slices, rows, columns).
    """

    affine: np.ndarray
    shape: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volume:
    """One scan of one patient on one regular grid.

    Attributes:
        voxels: (slices, rows, columns, channels) float32; HU for CT, the scanner's own
            units for MR.
        affine: (4, 4) float64, (column, row, slice, 1) to RAS mm of voxel centres.
        modality: 'MR' or 'CT'.
        channels: one name a channel, out of CHANNELS.
        source: the path it came from, for messages.
        origin: the stored order, also after `to_axial`, and headers that an output
            inherits (DicomOrigin, NiftiOrigin); None if the volume was made up.
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str
    channels: tuple[str, ...]
    source: str = ""
    origin: Origin | None = None

    def __post_init__(self):
        if self.voxels.ndim != 4 or self.voxels.shape[3] != len(self.channels):
            raise ValueError(
                f"{self.source or 'volume'}: voxels of shape {self.voxels.shape}, "
                f"expected (slices, rows, columns, {len(self.channels)}) for the "
                f"channels {', '.join(self.channels)}"
            )

    @property
    def grid(self) -> Origin:
        """The grid of the voxels, in their present order."""
        return Origin(affine=self.affine, shape=self.voxels.shape[:3])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of slices, rows and columns in mm."""
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
    of an oblique scan go to the nearest anatomical axes.
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


def from_axial(voxels: np.ndarray, affine: np.ndarray, origin: Origin) -> np.ndarray:
    """Move voxels in the axial order of a scan back into its stored order.

    Args:
        voxels: (slices, rows, columns, ...) on the grid of the scan's `to_axial`.
        affine: (4, 4), theirs.

    Raises:
        ValueError: the voxels lie on another grid.
    """
    stored = Volume(
        voxels=np.empty((*origin.shape, 0), np.float32),
        affine=origin.affine,
        modality="MR",
        channels=(),
    )
    axial = to_axial(stored)
    if voxels.shape[:3] != axial.voxels.shape[:3] or not np.allclose(
        affine, axial.affine, rtol=0, atol=1e-4
    ):
        raise ValueError(
            f"voxels of shape {voxels.shape[:3]} with the affine "
            f"{np.round(affine, 4).tolist()} are not on the scan's grid: expected "
            f"{axial.voxels.shape[:3]} with {np.round(axial.affine, 4).tolist()}"
        )
    return _permute_back(voxels, origin.affine)


def slices_from_axial(
    voxels: np.ndarray, start: int, origin: Origin
) -> tuple[int, np.ndarray] | None:
    """Move the slices from `start` on, in axial order, back into the stored order.

    Returns:
        The index of the first slice in the stored order, and the slices; None if axial
        planes are not slices there.
    """
    order, flips = _axial_order(origin.affine)
    if order[2] != 2:
        return None
    first = origin.shape[0] - start - len(voxels) if flips[2] else start
    return first, _permute_back(voxels, origin.affine)


def _permute_back(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    order, flips = _axial_order(affine)
    for new, flip in enumerate(flips):
        if flip:
            voxels = np.flip(voxels, _array_axis(new))
    # to_axial's array axis a holds the stored array axis moved[a].
    moved = [_array_axis(order[2 - i]) for i in range(3)]
    rest = range(3, voxels.ndim)
    return np.ascontiguousarray(voxels.transpose(*np.argsort(moved), *rest))
