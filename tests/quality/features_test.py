"""Features of images whose properties are known."""

import numpy as np
import pytest
import scipy.ndimage

from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.intensity import AIR_HU, MR_ONE
from synthct_jax.quality import ct_features, mr_features
from synthct_jax.quality.features import (
    INPUT,
    OUTPUT,
    features_of,
    measure_input,
    measure_output,
)

SPACING_MM = (6.0, 4.0, 4.0)
SHAPE = (6, 64, 64)
CHANNELS = ("in_phase", "out_of_phase")


def cylinder(radius_mm: float, *, row_mm=0.0, column_mm=0.0) -> np.ndarray:
    rows, columns = ((np.arange(64) - 31.5) * 4.0 for _ in range(2))
    inside = np.hypot(rows[:, None] - row_mm, columns - column_mm) <= radius_mm
    return np.broadcast_to(inside, SHAPE).copy()


BODY = cylinder(110.0)


def person() -> tuple[np.ndarray, np.ndarray]:
    """MR shares and HU: a ring of fat about muscle, a spine and a bubble of gas."""
    muscle, spine = cylinder(90.0), cylinder(16.0, row_mm=50)
    gas = cylinder(12.0, row_mm=-50)
    inside, outside = np.zeros((2, *SHAPE), np.float32)
    hu = np.full(SHAPE, float(AIR_HU), np.float32)
    for mask, *values in (
        (BODY, 0.9, 0.8, -100.0),
        (muscle, 0.5, 0.5, 50.0),
        (spine, 0.3, 0.2, 400.0),
        (gas, 0.02, 0.02, -900.0),
    ):
        inside[mask], outside[mask], hu[mask] = values
    return np.stack([inside, outside], axis=-1), hu


def stored(shares: np.ndarray) -> SubjectVolume:
    return SubjectVolume(
        name="a",
        domain="mr",
        stored=np.round(shares * MR_ONE).astype(np.int16),
        spacing_mm=SPACING_MM,
    )


def input_of(shares: np.ndarray) -> dict[str, float]:
    return measure_input(stored(shares), CHANNELS)


def output_of(hu: np.ndarray, spread=None) -> dict[str, float]:
    return measure_output(stored(person()[0]), hu, spread)


def test_every_feature_is_measured_and_described():
    shares, hu = person()
    table = features_of(CHANNELS)
    values = input_of(shares) | output_of(hu, np.ones(SHAPE, np.float32))
    assert values.keys() == table.keys()
    assert {feature.stage for feature in table.values()} == {INPUT, OUTPUT}
    assert len({feature.meaning for feature in table.values()}) == len(table)
    one = measure_input(stored(shares[..., :1]), CHANNELS[:1])
    assert "phase_ratio" not in one and "in_phase.noise" in one


def test_brightness_is_that_of_the_image():
    values = input_of(person()[0])
    assert values["in_phase.median"] == pytest.approx(50, abs=0.1)
    assert values["in_phase.rim"] == pytest.approx(0.9 / 0.5, abs=0.01)
    assert values["phase_ratio"] == pytest.approx(1, abs=0.01)
    assert values["cross_section_cm2"] == pytest.approx(np.pi * 11**2, rel=0.08)
    assert values["coverage_mm"] == 36 and values["empty_slices"] == 0
    assert values["width_over_depth"] == pytest.approx(1, abs=0.05)


def test_noise_and_bias_are_measured():
    shares, hu = person()
    rng = np.random.default_rng(0)
    flat = np.where(BODY, 0.5, 0).astype(np.float32)
    noisy = flat + BODY * rng.normal(0, 0.05, SHAPE).astype(np.float32)
    noise = mr_features.disturbances(noisy, BODY, SPACING_MM)["noise"]
    assert noise == pytest.approx(0.05, rel=0.1)
    assert mr_features.disturbances(flat, BODY, SPACING_MM)["noise"] < 1e-3
    field = np.exp(np.linspace(-0.6, 0.6, 64, dtype=np.float32))
    before, after = (input_of(s)["in_phase.bias"] for s in (
        shares, shares * field[:, None] / field.max()
    ))  # fmt: skip
    assert after > before + 10
    # Among the fat of the CT there is nothing but the field.
    dimmed = stored(shares * field[:, None] / field.max())
    assert output_of(hu)["fat_unevenness"] < 1
    assert measure_output(dimmed, hu, None)["fat_unevenness"] > 20


def test_faults_of_slices_and_outline_are_measured():
    shares, _ = person()
    changing = shares * np.linspace(0.8, 1, 6, dtype=np.float32)[:, None, None, None]
    changing[4] = changing[3]
    assert input_of(changing)["in_phase.slice_repeat"] < 0.01
    cut = shares.copy()
    cut[:, :, :20] = 0
    assert input_of(cut)["flat_edge_mm"] > input_of(shares)["flat_edge_mm"] + 80
    empty = shares.copy()
    empty[0] = 0
    assert input_of(empty)["empty_slices"] == pytest.approx(100 / 6)
    clipped = np.minimum(shares, 0.45)
    assert input_of(clipped)["in_phase.clipped"] > 80


def test_exchanged_phases_change_sign():
    shares, _ = person()
    shares[..., 1] = np.where(cylinder(60.0), 0.2 * shares[..., 0], shares[..., 0])
    cancelled = input_of(shares)["cancelled"]
    assert cancelled > 20
    exchanged = input_of(shares[..., ::-1])
    assert exchanged["cancelled"] == pytest.approx(-cancelled, abs=1)


def test_hounsfield_units_are_those_of_the_image():
    values = output_of(person()[1])
    assert values["fat_peak_hu"] == pytest.approx(-100, abs=4)
    assert values["soft_peak_hu"] == pytest.approx(50, abs=4)
    assert values["bone_median_hu"] == 400
    shares = [values[f"{tissue}_share"] for tissue in ("air", "fat", "soft", "bone")]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert values["spine_share"] == 100
    assert values["rim_hu"] == -100
    assert values["bright_as_fat"] == 100 and values["dark_as_soft"] == 0
    assert values["path_left"] == pytest.approx(values["path_right"], abs=0.01)
    assert 0.9 < values["path_left"] < 1.05


def test_planted_faults_of_a_ct_are_measured():
    _, hu = person()
    usual = output_of(hu)
    broken = np.where((np.arange(6) == 3)[:, None, None] & (hu > 250), 50, hu)
    assert output_of(broken)["spine_share"] == pytest.approx(50)
    assert output_of(np.where(hu > 250, 50, hu))["spine_share"] == 0
    swapped = np.where(np.abs(hu) < 250, -50 - hu, hu)
    assert output_of(swapped)["bright_as_fat"] == 0
    moved = np.where(BODY, np.roll(hu, 3, axis=2), AIR_HU)
    moved_values = output_of(moved)
    assert moved_values["air_at_skin"] > usual["air_at_skin"] + 10
    assert moved_values["outline_dice"] < usual["outline_dice"] - 2
    assert usual["offset_columns_mm"] == pytest.approx(0, abs=0.5)
    assert moved_values["offset_columns_mm"] == pytest.approx(-12, abs=3)
    assert moved_values["offset_rows_mm"] == pytest.approx(0, abs=0.5)
    flicker = np.where((np.arange(6) == 3)[:, None, None] & BODY, hu + 80, hu)
    assert output_of(flicker)["slice_step_hu"] == pytest.approx(80, abs=1)
    assert usual["slice_step_hu"] == 0
    filled = np.where(BODY & (hu < -400), 50, hu)
    assert output_of(filled)["dark_as_soft"] == 100
    blob = np.where(cylinder(24.0, column_mm=50), 250, hu)
    dense = output_of(blob)["denser_than_alike_hu"]
    assert dense > usual["denser_than_alike_hu"] + 50


def test_ct_of_one_value_has_no_offset():
    values = output_of(np.full(BODY.shape, 50.0, np.float32))
    assert np.isnan([values["offset_rows_mm"], values["information"]]).all()
    assert values["soft_share"] == 100


def test_information_is_all_or_nothing():
    cell = np.repeat([0, 1, 2], 1000)
    assert ct_features.information(cell, 50.0 * cell) == pytest.approx(1)
    alike = ct_features.information(cell, np.tile([0.0, 100.0], 1500))
    assert alike == pytest.approx(0, abs=0.01)


def test_rim_is_under_the_skin():
    rim = mr_features.rim_of(BODY, SPACING_MM)
    depth = scipy.ndimage.distance_transform_edt(BODY[0], sampling=4.0)
    assert rim[0].any() and depth[rim[0]].min() > 4 and depth[rim[0]].max() <= 12
