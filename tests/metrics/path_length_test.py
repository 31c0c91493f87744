"""Water-equivalent path lengths of shapes whose lengths are known from geometry."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest
from paths import REPOSITORY

from synthct_jax.metrics import path_length

SPACING_MM = (5.0, 1.5, 2.0)
SHAPE = (2, 90, 70)


def cylinder(radius_mm: float, *, shift_mm: float = 0.0) -> np.ndarray:
    """Return the share of each pixel that is in a cylinder along the slices.

    Args:
        shift_mm: distance of the cylinder to the right of the volume's middle.
    """
    fine = 8
    y, x = (
        ((np.arange(size * fine) + 0.5) / fine - size / 2) * spacing
        for size, spacing in zip(SHAPE[1:], SPACING_MM[1:], strict=True)
    )
    inside = (y[:, None] ** 2 + (x - shift_mm) ** 2 < radius_mm**2).astype(float)
    share = inside.reshape(SHAPE[1], fine, SHAPE[2], fine).mean(axis=(1, 3))
    return np.broadcast_to(share, SHAPE)


def water_equivalent_paths(
    hu: np.ndarray, pixel_mm: tuple[float, float], angles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return path lengths (slices, angles, rays) and offsets (angles, rays) in mm."""
    power = path_length.relative_stopping_power(jnp.asarray(hu))
    paths = path_length.line_integrals(power[:, None], pixel_mm, angles)[:, 0]
    numbers = np.arange(paths.shape[-1]) - (paths.shape[-1] - 1) / 2
    steps = path_length.ray_step_mm(pixel_mm, angles)
    return np.asarray(paths), steps[:, None] * numbers


def test_paths_through_water_are_the_chords_of_the_circle():
    radius = 50.0
    water = -1000 * (1 - cylinder(radius))
    paths, offsets = water_equivalent_paths(water, SPACING_MM[1:], angles=8)
    assert paths.shape[:2] == (2, 8)
    chords = 2 * np.sqrt(np.maximum(radius**2 - offsets**2, 0))
    well_inside = np.abs(offsets) < radius - 5
    assert np.abs(paths - chords)[:, well_inside].max() < 1  # half a pixel
    areas = (paths * np.abs(np.diff(offsets)[:, :1])).sum(axis=-1)
    np.testing.assert_allclose(areas, np.pi * radius**2, rtol=3e-3)


def test_a_dense_pixel_is_projected_to_its_place_in_each_direction():
    hu = np.full((1, 40, 40), -1000.0)
    hu[0, 10, 30] = 0  # up and to the right of the middle
    paths, offsets = water_equivalent_paths(hu, (1.0, 1.0), angles=4)
    y, x = 10 - 19.5, 30 - 19.5
    directions = np.arange(4) * np.pi / 4
    densest = offsets[np.arange(4), paths[0].argmax(axis=-1)]
    expected = x * np.cos(directions) - y * np.sin(directions)
    assert np.abs(densest - expected).max() < 0.75


def test_water_of_30_hu_makes_paths_too_long_by_three_percent():
    body = cylinder(50) > 0.5
    reference = np.where(body, 0.0, -1024)
    errors = path_length.path_length_errors(
        np.where(body, 30.0, -1024), reference, body, SPACING_MM
    )
    angles, pixel_mm = 12, SPACING_MM[1:]
    chords = path_length.line_integrals(
        jnp.asarray(body, jnp.float32)[:, None], pixel_mm, angles
    )[:, 0]
    width = np.abs(path_length.ray_step_mm(pixel_mm, angles))[:, None]
    weight = (chords > path_length.MIN_PATH_MM) * width
    mean_chord = float((weight * chords).sum() / weight.sum())
    # The mean chord of a circle is half pi times its radius.
    assert mean_chord == pytest.approx(np.pi / 2 * 50, rel=0.02)
    excess = 30 * 0.042 / 42.6
    assert errors["me_mm"] == pytest.approx(excess * mean_chord, rel=1e-4)
    assert errors["mae_mm"] == pytest.approx(errors["me_mm"])


def test_a_shifted_body_lacks_the_part_outside_the_outline():
    reference = np.full(SHAPE, -1024.0)
    reference[:, 20:60, 10:50] = 0  # 60 mm high, 80 mm wide
    synthetic = np.roll(reference, 3, axis=2)  # by 6 mm
    errors = path_length.path_length_errors(
        synthetic, reference, reference == 0, SPACING_MM, angles=2
    )
    # Rays down the slice: 3 of 40 miss the box. Rays to the right: 6 mm less for each.
    air = 1 - 0.001
    lost_mm = (40 * 2 * (3 / 40 * 60) + 40 * 1.5 * 6) / (40 * 2 + 40 * 1.5) * air
    assert errors["me_mm"] == pytest.approx(-lost_mm, rel=1e-5)
    assert errors["mae_mm"] == pytest.approx(lost_mm, rel=1e-5)


def draw_noise() -> list[np.ndarray]:
    """Draw synthetic CT and reference CT that differ by noise, and a body."""
    body = np.broadcast_to(cylinder(50)[:1] > 0.5, (19, *SHAPE[1:]))
    rng = np.random.default_rng(0)
    reference, error = rng.normal(0, 100, (2, *body.shape)).astype(np.float32)
    return [reference + error, reference, body]


def test_voxels_outside_the_body_do_not_count():
    synthetic, reference, body = draw_noise()
    spoiled = np.where(body, synthetic, 3000).astype(np.float32)
    errors, of_spoiled = (
        path_length.path_length_errors(hu, reference, body, SPACING_MM, angles=3)
        for hu in (synthetic, spoiled)
    )
    assert errors == of_spoiled


def test_errors_are_means_over_all_slices():
    whole, first, second = (
        path_length.path_length_errors(
            *(volume[part] for volume in draw_noise()), SPACING_MM, angles=3
        )["mae_mm"]
        for part in (slice(19), slice(10), slice(10, 19))
    )
    assert whole == pytest.approx((10 * first + 9 * second) / 19, rel=1e-6)


def test_short_paths_do_not_count():
    body = np.zeros((1, 40, 40), bool)
    body[0, 10:14, 10:14] = True
    hu = np.zeros((1, 40, 40))
    errors = path_length.path_length_errors(hu, hu, body, (1.0, 1.0, 1.0))
    assert np.isnan(errors["mae_mm"]) and np.isnan(errors["me_mm"])


# Mass fractions of ICRU Report 44; spongy bone of Woodard & White 1986.
TISSUES = {
    "air": (0.001205, "C .01 N 75.5 O 23.2 Ar 1.3"),
    "lung": (0.26, "H 10.3 C 10.5 N 3.1 O 74.9 Na .2 P .2 S .3 Cl .3 K .2"),
    "fat": (0.95, "H 11.4 C 59.8 N .7 O 27.8 Na .1 S .1 Cl .1"),
    "water": (1.0, "H 11.19 O 88.81"),
    "muscle": (1.05, "H 10.2 C 14.3 N 3.4 O 71 Na .1 P .2 S .3 Cl .1 K .4"),
    "spongy": (
        1.18,
        "H 8.5 C 40.4 N 2.8 O 36.7 Na .1 Mg .1 P 3.4 S .2 Cl .2 K .1 Ca 7.4 Fe .1",
    ),
    "cortical": (1.92, "H 3.4 C 15.5 N 4.2 O 43.5 Na .1 Mg .2 P 10.3 S .3 Ca 22.5"),
}
# Z, A, and the mean excitation energy in eV (ICRU Report 49, in compounds).
ELEMENTS = {
    "H": (1, 1.008, 19.2),
    "C": (6, 12.011, 81),
    "N": (7, 14.007, 82),
    "O": (8, 15.999, 106),
    "Na": (11, 22.990, 168),
    "Mg": (12, 24.305, 176),
    "P": (15, 30.974, 195),
    "S": (16, 32.06, 204),
    "Cl": (17, 35.45, 180),
    "Ar": (18, 39.948, 188),
    "K": (19, 39.098, 215),
    "Ca": (20, 40.078, 216),
    "Fe": (26, 55.845, 323),
}


def attenuation_and_stopping_power(tissue: str) -> tuple[float, float]:
    """Return both at 120 kV (Schneider et al. 2000) and 100 MeV, in arbitrary units."""
    density, text = TISSUES[tissue]
    words = text.split()
    share = np.array(words[1::2], float)
    z, a, excitation = np.array([ELEMENTS[name] for name in words[::2]]).T
    per_atom = share / share.sum() / a
    electrons = per_atom * z
    attenuation = per_atom @ (z + 1.24e-3 * z**2.86 + 3.06e-5 * z**4.62)
    log_excitation = electrons @ np.log(excitation) / electrons.sum()
    beta2 = 1 - (1 + 100 / 938.272) ** -2
    bethe = np.log(2 * 510998.95 * beta2 / (1 - beta2)) - beta2 - log_excitation
    return density * attenuation, density * electrons.sum() * bethe


def electrons_per_gram(tissue: str) -> float:
    """Return Z/A of a tissue."""
    words = TISSUES[tissue][1].split()
    share = np.array(words[1::2], float)
    z, a, _ = np.array([ELEMENTS[name] for name in words[::2]]).T
    return float(share / share.sum() @ (z / a))


def test_stopping_powers_are_those_of_the_stoichiometric_calibration():
    water = attenuation_and_stopping_power("water")
    for tissue in TISSUES:
        attenuation, power = attenuation_and_stopping_power(tissue)
        hu = 1000 * (attenuation / water[0] - 1)
        relative = path_length.relative_stopping_power(np.array(hu))
        assert relative == pytest.approx(power / water[1], abs=6e-4), tissue


# --- the density curve of docs/generic_hu_to_density.csv ------------------------------


def curve() -> dict[str, tuple[float, float, float]]:
    """Return HU, mass density and relative electron density of each tissue.

    The titles and the air around the patient come first, and are left out.
    """
    path = REPOSITORY / "docs" / "generic_hu_to_density.csv"
    rows = list(csv.reader(path.read_text().splitlines()))[2:]
    return {name: tuple(map(float, numbers)) for *numbers, name in rows}


def test_curve_is_the_stoichiometric_calibration_at_120_kv():
    of_water, _ = attenuation_and_stopping_power("water")
    for (name, row), tissue in zip(curve().items(), TISSUES, strict=True):
        attenuation, _ = attenuation_and_stopping_power(tissue)
        density = TISSUES[tissue][0]
        electrons = density * electrons_per_gram(tissue) / electrons_per_gram("water")
        hu = 1000 * (attenuation / of_water - 1)
        assert row[0] == pytest.approx(hu, abs=0.5), name
        assert row[1:] == pytest.approx((density, electrons), abs=6e-4), name


# Density in g/cm3 and Z/A of ICRU's tissues: Hubbell & Seltzer, NISTIR 5632, table 2.
NIST = {
    "air": (0.001205, 0.49919),
    "adipose tissue": (0.95, 0.55579),
    "water": (1.0, 0.55508),
    "muscle": (1.05, 0.55000),
    "cortical bone": (1.92, 0.51478),
}


def test_curve_has_the_published_values_of_tissues():
    for name, (density, z_over_a) in NIST.items():
        _, ours, electrons = curve()[name]
        assert ours == pytest.approx(density, abs=1e-5)
        relative = density * z_over_a / NIST["water"][1]
        assert electrons == pytest.approx(relative, abs=6e-4)


def test_curve_is_near_the_densities_of_schneider_bortfeld_and_schlegel():
    """Piecewise linear in HU (Phys Med Biol 2000; 45:459)."""
    curves = {
        "air": lambda hu: 0.00121 + (hu + 1000) * (0.93 - 0.00121) / 902,
        "adipose tissue": lambda hu: 1.018 + 0.893e-3 * hu,
        "muscle": lambda hu: 1.003 + 1.169e-3 * hu,
        "spongy bone": lambda hu: 1.017 + 0.592e-3 * hu,
    }
    curves["lung"], curves["cortical bone"] = curves["air"], curves["spongy bone"]
    for name, density in curves.items():
        hu, ours, _ = curve()[name]
        assert ours == pytest.approx(density(hu), abs=0.01), name


def test_bulk_density_has_three_values_in_the_body():
    reference = np.array([-1000.0, -800, -100, 40, 260, 1200, 40])
    body = np.array([True] * 6 + [False])
    hu = path_length.bulk_density(reference, body)
    assert hu.tolist() == [-1000, -1000, 0, 0, 480, 480, -1024]
    assert hu.dtype == np.float32


def test_volumes_without_paths_are_refused():
    hu = np.zeros((1, 8, 8))
    with pytest.raises(ValueError, match="the mask is empty"):
        path_length.path_length_errors(hu, hu, hu > 0, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"mask \(1, 8\)"):
        path_length.path_length_errors(hu, hu, hu[:, 0] > -1, (1.0, 1.0, 1.0))
