"""Random flips, crops and small affine maps of training slices, in one interpolation.

A placement is drawn once a sample and applied to all its channels, so that channels
stay registered. Interpolation happens in stored units (HU, scaled MR), before the map
to [-1, 1] bends them.
"""

import dataclasses
import math

import numpy as np
import scipy.ndimage


def image_size(data_config) -> int:
    """Return the side in pixels of what training sees of a slice: the crop, or all."""
    return data_config.crop or data_config.size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """The source position of each pixel of the result.

    Attributes:
        matrix: (2, 2), (row, column) of the result to (row, column) of the source.
        offset: (2,), the source of the result's pixel (0, 0).
        size: rows and columns of the result.
        flip: mirrored left to right; already in `matrix`.
        moved: needs interpolation; a crop or a flip alone does not.
    """

    matrix: np.ndarray
    offset: np.ndarray
    size: int
    flip: bool
    moved: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Parameters of random augmentation; the defaults leave a slice unchanged.

    Attributes:
        crop: side in pixels of a square crop at a random position; 0: no crop.
        flip: whether to flip left to right with probability 0.5.
        rotate_degrees: maximum rotation in either direction.
        scale_fraction: maximum zoom s; the factor is log-uniform in 1/(1 + s) to 1 + s.
        shift: maximum translation along each axis, in pixels.
    """

    crop: int = 0
    flip: bool = False
    rotate_degrees: float = 0.0
    scale_fraction: float = 0.0
    shift: float = 0.0

    def draw(self, rng: np.random.Generator, size: int) -> Placement:
        """Draw a placement for a square source of `size` pixels."""
        # All numbers are always drawn, so that no option changes those of another.
        flip, angle, zoom, row, column = rng.uniform(-1, 1, 5)
        crop = self.crop or size
        corner = rng.integers(0, size - crop, 2, endpoint=True)
        angle = math.radians(self.rotate_degrees * angle)
        zoom = math.exp(math.log1p(self.scale_fraction) * zoom)
        shift = self.shift * np.array([row, column])
        flip = self.flip and flip < 0

        cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
        matrix = np.array([[cosine, -sine], [sine, cosine]])
        if flip:
            matrix = matrix @ np.diag([1, -1])
        centre = (size - 1) / 2
        return Placement(
            matrix=matrix,
            offset=matrix @ (corner - centre) + centre + shift,
            size=crop,
            flip=flip,
            moved=bool(angle or zoom != 1 or shift.any()),
        )


def place(image: np.ndarray, placement: Placement, *, fill: float) -> np.ndarray:
    """Move a square slice (rows, columns, channels) to a placement, float32.

    Args:
        fill: value of pixels outside the source.
    """
    size = placement.size
    if not placement.moved:
        row, column = np.round(placement.offset).astype(int)
        rows = image[row : row + size]
        if placement.flip:
            return rows[:, column - size + 1 : column + 1][:, ::-1].astype(np.float32)
        return rows[:, column : column + size].astype(np.float32)
    result = np.empty((size, size, image.shape[-1]), np.float32)
    for channel in range(image.shape[-1]):
        # Contiguous planes: strided ones take scipy several times as long.
        result[..., channel] = scipy.ndimage.affine_transform(
            np.ascontiguousarray(image[..., channel], dtype=np.float32),
            placement.matrix,
            placement.offset,
            output_shape=(size, size),
            order=1,
            mode="grid-constant",  # the outermost pixels keep their whole area
            cval=fill,
        )
    return result
