"""Water-equivalent path lengths: what errors in HU do to the range of protons.

Protons stop where the stopping power along their path adds up to their range, so an
error of the path's water-equivalent length, in mm, is an error of the place where they
stop.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.intensity import AIR_HU
from synthct_jax.metrics.batches import over_slices
from synthct_jax.metrics.paired import check_volumes
from synthct_jax.metrics.tissues import AERATED_BELOW_HU, BONE_FROM_HU

MIN_PATH_MM = 10.0
"""Rays that cross less of the body than this do not count."""

# Stoichiometric calibration (Schneider, Pedroni & Lomax, Phys Med Biol 1996; 41:111) of
# the tissues of ICRU Report 44 (spongy bone: Woodard & White, Br J Radiol 1986;
# 59:1209): HU from their elements with the scanner's constants of Schneider, Bortfeld &
# Schlegel, Phys Med Biol 2000; 45:459 (120 kV), stopping power for protons of 100 MeV
# by Bethe's formula, mean excitation energies of ICRU Report 49. The tests repeat it.
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

# Values of `bulk_density`. Bone of 480 HU has 1.3 g/cm3, by the densities of Schneider,
# Bortfeld & Schlegel.
_GAS_HU, _WATER_HU, _BONE_HU = -1000.0, 0.0, 480.0


def relative_stopping_power(hu: jax.Array) -> jax.Array:
    """Return the stopping power for protons relative to water, piecewise linear in HU.

    It is 0.001 for air, 0.258 for lung at -741 HU, 0.970 for fat at -77, 1 for water,
    1.042 for muscle at 43, 1.144 for spongy bone at 287, 1.691 for cortical bone at
    1524 HU, and rises on from there. Scanners and treatment centres have calibrations
    of their own: this one serves to compare. HU may have any shape.
    """
    hu = jnp.maximum(hu.astype(jnp.float32), _KNOTS_HU[0])
    power = _KNOTS[0] + _SLOPES[0] * (hu - _KNOTS_HU[0])
    for knot, bend in zip(_KNOTS_HU[1:-1], np.diff(_SLOPES), strict=True):
        power += bend * jnp.maximum(hu - knot, 0)
    return power


def path_length_errors(
    synthetic: np.ndarray,
    reference_ct: np.ndarray,
    body: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    angles: int = 12,
) -> dict[str, float]:
    """Return the errors of water-equivalent path lengths of rays through the body.

    Rays are parallel in each slice, about a pixel apart, in directions evenly over half
    a turn (the other half has the same rays). What is outside the body counts as
    nothing in both images, as in a treatment plan. Volumes are (slices, rows, columns),
    spacings those of slices, rows and columns.

    Returns:
        'mae_mm' and 'me_mm': means over rays of the absolute error and of the error,
        synthetic minus reference. nan if no ray crosses MIN_PATH_MM of the body.

    Raises:
        ValueError: the shapes differ, or the body is empty.
    """
    check_volumes(synthetic, reference_ct, body)
    pixel_mm = spacing_mm[1:]
    project = functools.partial(_project_errors, pixel_mm=pixel_mm, angles=angles)
    projections = over_slices(project, synthetic, reference_ct, body)
    error, path_mm = np.moveaxis(projections.astype(np.float64), 1, 0)
    # Rays of oblique directions are closer together: each stands for its own width.
    width_mm = np.abs(ray_step_mm(pixel_mm, angles))[:, None]
    weight = (path_mm > MIN_PATH_MM) * width_mm
    total = weight.sum()
    if not total:
        return {"mae_mm": float("nan"), "me_mm": float("nan")}
    return {
        "mae_mm": float((weight * np.abs(error)).sum() / total),
        "me_mm": float((weight * error).sum() / total),
    }


def bulk_density(reference_ct: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return the reference CT reduced to three values, the control of dose studies.

    Such a CT is what an MR with its bones drawn in gives (Johnstone et al., Int J
    Radiat Oncol Biol Phys 2018; 100:199). Gas and lung (`tissues.AERATED_BELOW_HU`)
    become air, -1000 HU; bone (`tissues.BONE_FROM_HU`) becomes 480 HU; all else becomes
    water, 0 HU; what is outside the body becomes `AIR_HU`. The borders are those of the
    reference CT: real ones are worse. The result is float32.
    """
    classes = [~body, reference_ct < AERATED_BELOW_HU, reference_ct < BONE_FROM_HU]
    values = [AIR_HU, _GAS_HU, _WATER_HU]
    return np.select(classes, values, _BONE_HU).astype(np.float32)


# --- rays -----------------------------------------------------------------------------


def line_integrals(
    images: jax.Array, pixel_mm: tuple[float, float], angles: int
) -> jax.Array:
    """Return the integrals of images along parallel rays, in mm times their unit.

    Direction k is k / angles of half a turn, from down the columns to the right. A ray
    is followed from row to row if it is closer to the columns' direction, otherwise
    from column to column; the value is interpolated between the two pixels that the ray
    passes (Joseph, IEEE Trans Med Imaging 1982; 1:192). The middle ray passes through
    the middle of the slice.

    Args:
        images: (n, channels, rows, columns).
        pixel_mm: distances of rows and columns.
        angles: number of directions.

    Returns:
        (n, channels, angles, rays), with `ray_step_mm` between rays.
    """
    directions, is_steep = _directions(angles)
    rows, columns = images.shape[2:]
    row_mm, column_mm = pixel_mm
    # At 45 degrees the slice is widest.
    rays = math.ceil(
        max(columns + rows * row_mm / column_mm, rows + columns * column_mm / row_mm)
    )
    tangents = np.tan(directions[is_steep])
    paths = _sum_over_rows(images, tangents * row_mm / column_mm, rays)
    paths *= row_mm * np.sqrt(1 + tangents**2, dtype=np.float32)[:, None]
    if not is_steep.all():
        tangents = 1 / np.tan(directions[~is_steep])
        across = _sum_over_rows(
            images.swapaxes(2, 3), tangents * column_mm / row_mm, rays
        )
        across *= column_mm * np.sqrt(1 + tangents**2, dtype=np.float32)[:, None]
        paths = jnp.concatenate([paths, across], axis=2)
    return paths[:, :, np.argsort(np.argsort(~is_steep, kind="stable"))]


def ray_step_mm(pixel_mm: tuple[float, float], angles: int) -> np.ndarray:
    """Return the distance from a ray to the next for each direction, (angles,) mm.

    It is measured along x cos a - y sin a, where a is the angle of the direction, x
    goes to the right and y down from the middle of the slice. It is negative where that
    coordinate falls from ray to ray.
    """
    directions, is_steep = _directions(angles)
    row_mm, column_mm = pixel_mm
    return np.where(
        is_steep, column_mm * np.cos(directions), -row_mm * np.sin(directions)
    )


@functools.partial(jax.jit, static_argnames=("pixel_mm", "angles"))
def _project_errors(
    synthetic: jax.Array,
    reference_ct: jax.Array,
    body: jax.Array,
    *,
    pixel_mm: tuple[float, float],
    angles: int,
) -> jax.Array:
    """Return the path length's error and the path in the body, (n, 2, angles, rays)."""
    error = relative_stopping_power(synthetic) - relative_stopping_power(reference_ct)
    images = jnp.stack([error, jnp.ones_like(error)], axis=1)
    return line_integrals(images * body[:, None], pixel_mm, angles)


def _directions(angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Return angles from the columns' direction, and True for those closer to it."""
    directions = np.pi * np.arange(angles) / angles
    return directions, np.abs(np.tan(directions)) <= 1 + 1e-6


def _sum_over_rows(images: jax.Array, slopes: np.ndarray, rays: int) -> jax.Array:
    """Sum images along rays that go `slope` columns to the right from row to row.

    Images are (n, channels, rows, columns), there is a slope for each direction, and
    sums are (n, channels, directions, rays).
    """
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
