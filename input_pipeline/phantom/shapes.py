"""Smooth random shapes painted into a fine label volume.

Coordinates are millimetres about the centre of the volume in the order of the arrays:
z to superior, y to posterior, x to the patient's left.
"""

import numpy as np
import scipy.ndimage

_DEFORMATION_MM = 4.0  # standard deviation along each axis

Box = tuple[slice, slice, slice]
"""Part of the fine grid."""

Shape = tuple[Box, np.ndarray]
"""Box and depth: approximate distance to the surface in mm, positive inside."""


def _spline_matrix(positions: np.ndarray, knot_spacing: float) -> np.ndarray:
    """Return cubic B-spline weights, (positions, knots); knots cover the positions."""
    start = positions.min() / knot_spacing
    u = positions / knot_spacing - start
    knots = np.arange(-1, int(np.ceil(u.max())) + 2)
    distance = np.abs(u[:, None] - knots[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def centres(count: int, spacing_mm: float) -> np.ndarray:
    """Return the positions of `count` voxels about 0 in mm, (count,) float32."""
    return ((np.arange(count) - (count - 1) / 2) * spacing_mm).astype(np.float32)


def smooth_noise(
    rng: np.random.Generator,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    correlation_mm: float,
) -> np.ndarray:
    """Draw smooth Gaussian noise of standard deviation about 1 on a grid.

    The noise is a random cubic spline with a knot every `correlation_mm`. It is cheap,
    twice differentiable, and does not depend on the spacing of the grid, whose
    positions in mm are `axes`.
    """
    along_z, along_y, along_x = (_spline_matrix(a, correlation_mm) for a in axes)
    knots = along_z.shape[1], along_y.shape[1], along_x.shape[1]
    noise = rng.standard_normal(knots, dtype=np.float32)
    # A cubic spline of unit coefficients has a mean square of 151/315 along each axis.
    noise /= np.float32((151 / 315) ** 1.5)
    in_plane = along_y @ (noise @ along_x.T)
    noise = along_z @ in_plane.reshape(knots[0], -1)
    return noise.reshape([len(axis) for axis in axes])


class Canvas:
    """Labels on a fine grid whose coordinates are bent by a random deformation.

    Attributes:
        axes: undeformed positions (z, y, x) of the grid in mm.
        labels: label painted last, (z, y, x) uint8.
        reserved: fat that organs painted later must not cover, (z, y, x) bool.
        z, y, x: deformed coordinates of the grid in mm.
        margin_mm: largest expected displacement.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    ):
        self.rng = rng
        self.axes = axes
        self.labels = np.zeros([len(a) for a in axes], np.uint8)
        self.reserved = np.zeros(self.labels.shape, bool)
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        bend = [_DEFORMATION_MM * smooth_noise(rng, axes, 75.0) for _ in range(3)]
        self.z, self.y, self.x = z + bend[0], y + bend[1], x + bend[2]
        self.margin_mm = 3.5 * _DEFORMATION_MM

    def box(self, low, high) -> Box | None:
        """Return the part of the grid from corner `low` to `high` in deformed mm.

        None if it misses the grid.
        """
        ranges = []
        for axis, start, stop in zip(self.axes, low, high, strict=True):
            first = int(np.searchsorted(axis, start - self.margin_mm))
            last = int(np.searchsorted(axis, stop + self.margin_mm))
            if last <= first:
                return None
            ranges.append(slice(first, last))
        return tuple(ranges)

    def everywhere(self) -> Box:
        """Return the box of the whole grid."""
        return tuple(slice(0, len(axis)) for axis in self.axes)

    def coordinates(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the deformed coordinates (z, y, x) of each point of a box, in mm."""
        return self.z[box], self.y[box], self.x[box]

    def noise(self, box: Box, correlation_mm: float) -> np.ndarray:
        """Draw smooth noise of standard deviation 1 on a box."""
        axes = tuple(a[part] for a, part in zip(self.axes, box, strict=True))
        return smooth_noise(self.rng, axes, correlation_mm)

    def paint(self, box: Box, where: np.ndarray, label: int) -> None:
        self.labels[box][where] = label

    def blob(
        self,
        centre,
        radii,
        *,
        power: float = 2.2,
        rotation=(0.0, 0.0, 0.0),
        roughness: float = 0.05,
    ) -> Shape | None:
        """Return a rotated superellipsoid with a wavy surface; None off the grid.

        Args:
            centre, radii: (z, y, x) in mm.
            power: 2 gives an ellipsoid, a higher power a boxier shape.
            rotation: radians about the z, y and x axis, in that order.
            roughness: standard deviation of the surface relative to the radius.
        """
        reach = float(max(radii)) * 1.25
        box = self.box([c - reach for c in centre], [c + reach for c in centre])
        if box is None:
            return None
        z, y, x = self.coordinates(box)
        z, y, x = z - float(centre[0]), y - float(centre[1]), x - float(centre[2])
        matrix = _rotation(rotation) / np.asarray(radii)[:, None]
        radius = np.float32(0)
        for to_z, to_y, to_x in matrix.tolist():
            radius = radius + np.abs(to_z * z + to_y * y + to_x * x) ** power
        radius **= 1 / power
        if roughness:
            correlation = max(0.55 * float(np.mean(radii)), 8.0)
            radius += roughness * self.noise(box, correlation)
        return box, (1 - radius) * float(np.min(radii))

    def tube(self, points, radii) -> Shape | None:
        """Return the shape of a bent tube with round ends; None if it is off the grid.

        Args:
            points: corners (z, y, x) of its middle line in mm, (n, 3).
            radii: radius at each corner in mm, or one radius.
        """
        points = np.asarray(points, np.float32)
        radii = np.broadcast_to(np.asarray(radii, np.float32), len(points))
        reach = float(radii.max()) + 4
        box = self.box(points.min(axis=0) - reach, points.max(axis=0) + reach)
        if box is None:
            return None
        depth = np.full([part.stop - part.start for part in box], -10, np.float32)
        for i in range(len(points) - 1):
            # Points far from this piece are closer to another piece, or to none.
            pair, wide = points[i : i + 2], float(radii[i : i + 2].max()) + 4
            near = self.box(pair.min(axis=0) - wide, pair.max(axis=0) + wide)
            if near is None:
                continue
            part = tuple(
                slice(max(n.start, b.start) - b.start, min(n.stop, b.stop) - b.start)
                for n, b in zip(near, box, strict=True)
            )
            piece = depth[part]
            np.maximum(piece, self._capsule(near, pair, radii[i : i + 2]), out=piece)
        return box, depth

    def _capsule(self, box: Box, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Return the depth under the surface of a cone with round ends, in mm."""
        start, step = ends[0], ends[1] - ends[0]
        dz, dy, dx = (c - s for c, s in zip(self.coordinates(box), start, strict=True))
        along = dz * step[0] + dy * step[1] + dx * step[2]
        along = np.clip(along / max(float(step @ step), 1e-6), 0, 1)
        squared = (dz - along * step[0]) ** 2
        squared += (dy - along * step[1]) ** 2
        squared += (dx - along * step[2]) ** 2
        return radii[0] + along * (radii[1] - radii[0]) - np.sqrt(squared)


def smooth_path(points, per_segment: int = 5) -> np.ndarray:
    """Return a finer polyline through the corners (n, 3), a Catmull-Rom spline."""
    points = np.asarray(points, np.float64)
    padded = np.concatenate([2 * points[:1] - points[1:2], points,
                             2 * points[-1:] - points[-2:-1]])  # fmt: skip
    places = np.linspace(0, len(points) - 1, per_segment * (len(points) - 1) + 1)
    i = np.minimum(places.astype(int), len(points) - 2)
    t = (places - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (
        2 * b
        + (c - a) * t
        + (2 * a - 5 * b + 4 * c - d) * t**2
        + (3 * b - a - 3 * c + d) * t**3
    )


def _rotation(angles) -> np.ndarray:
    """Return the matrix (3, 3) of rotations about z, then y, then x, in that order."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def coarsen(fine: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Return the mean over the sub-voxels of each voxel, the partial volume effect."""
    return blocks(fine, factors).mean(axis=(1, 3, 5), dtype=np.float32)


def blocks(fine: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """View (z, y, x) sub-voxels as (slices, their z, rows, their y, columns, their x).

    Args:
        factors: sub-voxels per voxel along each axis.
    """
    sizes = zip(fine.shape, factors, strict=True)
    return fine.reshape([size for n, f in sizes for size in (n // f, f)])


def blurred_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sigma: float
) -> np.ndarray:
    """Draw noise smoothed in plane and then scaled to standard deviation 1, float32.

    Args:
        shape: slices, rows and columns; the latter two are periodic.
        sigma: standard deviation of the Gaussian kernel in pixels.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = scipy.ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="wrap")
    return noise / max(float(noise.std()), 1e-6)
