"""What errors in HU do to the range of protons: water-equivalent path lengths.

Protons stop where the stopping power along their path adds up to their range, so an
error of the path's water-equivalent length, in mm, is an error of where they stop.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.tissues import AERATED_BELOW_HU, BONE_FROM_HU

LEAST_PATH_MM = 10.0
"""Rays that cross less of the body do not count."""

# Stoichiometric calibration (Schneider, Pedroni & Lomax, Phys Med Biol 1996; 41:111) of
# the tissues of ICRU Report 44 (spongy bone: Woodard & White, Br J Radiol 1986;
# 59:1209): HU from their elements with the scanner's constants of Schneider, Bortfeld &
# Schlegel, Phys Med Biol 2000; 45:459 (120 kV), stopping power for protons of 100 MeV
# by Bethe's formula, mean excitation energies of ICRU Report 49. The tests have it.
_TISSUES = {
    "air": (-999.0, 0.001),
    "lung": (-741.0, 0.258),
    "adipose tissue": (-76.6, 0.970),
    "water": (0.0, 1.0),
    "muscle": (42.6, 1.042),
    "spongy bone": (287.0, 1.144),
    "cortical bone": (1524.0, 1.691),
}
_KNOTS_HU, _KNOTS = np.array(list(_TISSUES.values())).T
_SLOPES = np.diff(_KNOTS) / np.diff(_KNOTS_HU)

# HU of the classes of `bulk_density`. Bone is as dense as 1.3 g/cm3, by the densities
# of Schneider, Bortfeld & Schlegel.
_AIR_HU, _SOFT_TISSUE_HU, _BONE_HU = -1000.0, 0.0, 480.0
_OUTSIDE_HU = -1024.0


def relative_stopping_power(hu: jax.Array) -> jax.Array:
    """Stopping power for protons relative to water's, piecewise linear in HU.

    Air 0.001, lung 0.258 at -741 HU, fat 0.970 at -77, water 1, muscle 1.042 at 43,
    spongy bone 1.144 at 287, cortical bone 1.691 at 1524 HU and on from there. Scanners
    and treatment centres have calibrations of their own: this one serves to compare.

    Args:
        hu: of any shape.

    Returns:
        Float32 of that shape.
    """
    hu = jnp.maximum(hu.astype(jnp.float32), _KNOTS_HU[0])
    power = _KNOTS[0] + _SLOPES[0] * (hu - _KNOTS_HU[0])
    for knot, bend in zip(_KNOTS_HU[1:-1], np.diff(_SLOPES), strict=True):
        power += bend * jnp.maximum(hu - knot, 0)
    return power


def path_length_errors(
    synthetic: np.ndarray,
    truth: np.ndarray,
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    angles: int = 12,
) -> dict[str, float]:
    """Errors of water-equivalent path lengths, of rays through the whole body.

    Parallel rays in each slice, about a pixel apart, from directions evenly over half a
    turn (the other half are the same rays). What is outside the body counts as nothing
    in both images, as in a treatment plan. Rays that cross less of it than
    LEAST_PATH_MM are left out.

    Args:
        synthetic, truth: HU, (slices, rows, columns).
        body: bool of that shape.
        spacing_mm: of voxels: between slices, rows, columns.
        angles: number of directions.

    Returns:
        Over rays: 'mae_mm' and 'me_mm', means of the absolute error and of synthetic -
        truth; 'mae_percent', the former relative to the mean of the true lengths;
        'mean_mm', that mean; 'rays', how many. Nan where no ray counts.

    Raises:
        ValueError: shapes differ, or the body is empty.
    """
    if not synthetic.shape == truth.shape == body.shape or truth.ndim != 3:
        raise ValueError(
            f"synthetic is {synthetic.shape}, truth {truth.shape}, body {body.shape}, "
            "expected (slices, rows, columns) of all three"
        )
    if not body.any():
        raise ValueError("the body is empty: no ray crosses it")
    project = functools.partial(
        _project_errors, pixel_mm=tuple(spacing_mm[1:]), angles=angles
    )
    error, length, inside = np.moveaxis(
        over_slices(project, synthetic, truth, body).astype(np.float64), 1, 0
    )
    # Rays of oblique directions are closer together: each stands for its own width.
    width = np.abs(_ray_step_mm(tuple(spacing_mm[1:]), angles))[:, None]
    counts = inside > LEAST_PATH_MM
    weight = counts * width
    total = weight.sum()
    if not total:
        nan = float("nan")
        return {
            "mae_mm": nan,
            "me_mm": nan,
            "mae_percent": nan,
            "mean_mm": nan,
            "rays": 0,
        }
    mae, me, mean = (
        float((weight * values).sum() / total)
        for values in (np.abs(error), error, length)
    )
    return {
        "mae_mm": mae,
        "me_mm": me,
        "mae_percent": 100 * mae / mean if mean else float("nan"),
        "mean_mm": mean,
        "rays": int(counts.sum()),
    }


def water_equivalent_paths(
    hu: np.ndarray,
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    angles: int = 12,
) -> tuple[np.ndarray, np.ndarray]:
    """Water-equivalent path lengths of the rays of `path_length_errors`.

    Args:
        As there.

    Returns:
        Lengths in mm, (slices, angles, rays) float32, and where the rays are in mm,
        (angles, rays): direction k goes a = k / angles of half a turn from down the
        slice to its right, and its rays are at x cos a - y sin a, with x to the right
        and y down from the middle of the slice.
    """
    pixel_mm = tuple(spacing_mm[1:])
    project = functools.partial(_project_paths, pixel_mm=pixel_mm, angles=angles)
    paths = over_slices(project, hu, body)
    rays = paths.shape[-1]
    numbers = np.arange(rays) - (rays - 1) / 2
    return paths, _ray_step_mm(pixel_mm, angles)[:, None] * numbers


def bulk_density(truth: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The true CT with three values only: what an MR with its bones drawn in gives.

    The control of dose studies (Johnstone et al., Int J Radiat Oncol Biol Phys 2018;
    100:199): gas and lung below -400 HU become air, -1000 HU; bone from 250 HU up 480;
    all else water, 0 HU. The borders come from the truth: a real one is worse.

    Args:
        truth: HU, of any shape.
        body: bool of that shape.

    Returns:
        HU, float32 of that shape; -1024 outside the body.
    """
    classes = [~body, truth < AERATED_BELOW_HU, truth < BONE_FROM_HU]
    values = [_OUTSIDE_HU, _AIR_HU, _SOFT_TISSUE_HU]
    return np.select(classes, values, _BONE_HU).astype(np.float32)


# --- rays -----------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("pixel_mm", "angles"))
def _project_errors(
    synthetic: jax.Array,
    truth: jax.Array,
    body: jax.Array,
    *,
    pixel_mm: tuple[float, float],
    angles: int,
) -> jax.Array:
    """(n, 3, angles, rays) mm: error, true length, and way in the body."""
    power = relative_stopping_power(truth)
    error = relative_stopping_power(synthetic) - power
    images = jnp.stack([error, power, jnp.ones_like(power)], axis=1)
    return _project(images * body[:, None], pixel_mm, angles)


@functools.partial(jax.jit, static_argnames=("pixel_mm", "angles"))
def _project_paths(
    hu: jax.Array, body: jax.Array, *, pixel_mm: tuple[float, float], angles: int
) -> jax.Array:
    image = relative_stopping_power(hu) * body
    return _project(image[:, None], pixel_mm, angles)[:, 0]


def _directions(angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles from the columns' direction, and which rays run along columns rather."""
    directions = np.pi * np.arange(angles) / angles
    return directions, np.abs(np.tan(directions)) <= 1 + 1e-6


def _ray_step_mm(pixel_mm: tuple[float, float], angles: int) -> np.ndarray:
    """From a ray to the next, along x cos a - y sin a: negative where that falls."""
    directions, steep = _directions(angles)
    row_mm, column_mm = pixel_mm
    return np.where(steep, column_mm * np.cos(directions), -row_mm * np.sin(directions))


def _project(
    images: jax.Array, pixel_mm: tuple[float, float], angles: int
) -> jax.Array:
    """Integrals along rays: (n, channels, rows, columns), (n, channels, angles, rays).

    A ray is followed from row to row where it runs along columns rather, otherwise from
    column to column; of the two pixels that it passes between the value is interpolated
    (Joseph, IEEE Trans Med Imaging 1982; 1:192). The ray in the middle passes through
    the middle of the slice.
    """
    directions, steep = _directions(angles)
    rows, columns = images.shape[2:]
    row_mm, column_mm = pixel_mm
    # So many at 45 degrees, where the slice is widest.
    rays = math.ceil(
        max(columns + rows * row_mm / column_mm, rows + columns * column_mm / row_mm)
    )
    tangents = np.tan(directions[steep])
    paths = _from_row_to_row(images, tangents * row_mm / column_mm, rays)
    paths *= row_mm * np.sqrt(1 + tangents**2, dtype=np.float32)[:, None]
    if not steep.all():
        tangents = 1 / np.tan(directions[~steep])
        across = _from_row_to_row(
            images.swapaxes(2, 3), tangents * column_mm / row_mm, rays
        )
        across *= column_mm * np.sqrt(1 + tangents**2, dtype=np.float32)[:, None]
        paths = jnp.concatenate([paths, across], axis=2)
    return paths[:, :, np.argsort(np.argsort(~steep, kind="stable"))]


def _from_row_to_row(images: jax.Array, slopes: np.ndarray, rays: int) -> jax.Array:
    """Sums over rows; from row to row a ray goes `slope` columns to the right."""
    rows, columns = images.shape[2:]
    first = (columns - rays) / 2 + np.outer(np.arange(rows) - (rows - 1) / 2, slopes)
    fill = math.ceil(np.abs(first).max()) + 1
    images = jnp.pad(images, ((0, 0), (0, 0), (0, 0), (fill, fill + 1)))
    start = np.floor(first)

    def add(sums: tuple, row: tuple) -> tuple[tuple, None]:
        pixels, start, between = row
        added = []
        for number, total in enumerate(sums):
            near = jax.lax.dynamic_slice_in_dim(pixels, start[number], rays + 1, axis=2)
            share = between[number]
            added.append(total + (1 - share) * near[..., :-1] + share * near[..., 1:])
        return tuple(added), None

    sums, _ = jax.lax.scan(
        add,
        (jnp.zeros((*images.shape[:2], rays), images.dtype),) * len(slopes),
        (
            jnp.moveaxis(images, 2, 0),
            (start + fill).astype(np.int32),
            (first - start).astype(np.float32),
        ),
    )
    return jnp.stack(sums, axis=2)
