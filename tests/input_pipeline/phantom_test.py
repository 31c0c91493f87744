"""Phantom: physics of both machines, anatomy, orientation and reproducibility."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from input_pipeline.phantom import TISSUES, anatomy, ct, draw_subject, mr, tissues
from input_pipeline.phantom.build import draw_build
from input_pipeline.phantom.scanners import REFERENCE

SMALL = {"size": 64, "spacing_mm": 6.0, "slices": 16, "slice_mm": 9.0}
SEED = 3
VARIED_SEEDS = (0, 4, 23)
# Of SEED: voxels of each label; mean of |HU|, deviation of HU, mean of each MR channel.
PLAIN_COUNTS = [
    37416, 231, 7787, 4036, 4751, 5027, 496, 602, 344, 70, 157, 176, 27, 302, 752, 162,
    116, 673, 1202, 513, 596, 100,
]  # fmt: skip
PLAIN_SUMS = [611.6234, 487.1876, 89.2679, 70.2250, 72.7571]


@pytest.fixture(scope="module")
def plain():
    return draw_subject(SEED, **SMALL)


@pytest.fixture(scope="module")
def enhanced():
    return draw_subject(SEED, **SMALL, contrast="portal_venous")


def _where(subject, *names):
    return np.isin(subject.labels, [TISSUES.index(name) for name in names])


def _inside(subject, *names):
    """Return the voxels of these tissues that have no other tissue beside them."""
    return scipy.ndimage.binary_erosion(_where(subject, *names), np.ones((1, 3, 3)))


def _block(*, left: str, right: str, left_columns: int) -> np.ndarray:
    """Return labels of sub-voxels: `left` in the first columns, `right` beyond."""
    labels = np.full((40, 32, 32), TISSUES.index(right), np.uint8)
    labels[:, :, :left_columns] = TISSUES.index(left)
    return labels


def _scan_mr(labels, *, liver_fat=0.05, seed=0):
    shape = (40, 8, 8)
    return mr.acquire(
        np.random.default_rng(seed),
        labels,
        factors=(1, 4, 4),
        axes=tuple(np.arange(n, dtype=np.float32) for n in shape),
        texture=np.zeros(shape, np.float32),
        fat_fractions={"liver": liver_fat, "marrow": 0.3},
    )


def test_arrays_have_their_documented_shapes_and_types(plain):
    assert plain.ct_hu.shape == plain.labels.shape == (16, 64, 64)
    assert plain.mr.shape == (16, 64, 64, 3)
    assert plain.ct_hu.dtype == plain.mr.dtype == np.float32
    assert plain.labels.dtype == np.uint8
    assert plain.affine.dtype == np.float64
    assert np.isfinite(plain.mr).all() and (plain.mr >= 0).all()
    assert plain.ct_hu.min() >= -1024 and plain.ct_hu.max() <= 3071


def test_seed_gives_the_same_voxels_for_any_global_state_of_numpy(plain):
    np.random.seed(99)
    again = draw_subject(SEED, **SMALL)
    for field in ("ct_hu", "mr", "labels", "affine"):
        np.testing.assert_array_equal(getattr(again, field), getattr(plain, field))
    assert again.liver_fat_fraction == plain.liver_fat_fraction


def test_another_seed_gives_another_abdomen(plain):
    other = draw_subject(SEED + 1, **SMALL)
    assert np.mean(other.labels != plain.labels) > 0.05
    assert other.liver_fat_fraction != plain.liver_fat_fraction


def test_subjects_range_from_thin_to_obese_and_fit_the_field_of_view():
    builds = [draw_build(np.random.default_rng(seed)) for seed in range(200)]
    fat = [build.fat_mm for build in builds]
    liver = [build.liver_fat_fraction for build in builds]
    assert min(fat) < 8 and max(fat) > 28
    assert min(liver) < 0.02 and 0.2 < max(liver) <= 0.35
    for build in builds:
        assert build.half_width_mm + build.wall_mm + 1.3 * build.fat_mm < 192


def test_reference_anatomy_stays_as_it_is(plain):
    # Published numbers were measured on it. Rounding may differ between processors.
    counts = np.bincount(plain.labels.ravel())
    np.testing.assert_allclose(counts, PLAIN_COUNTS, atol=2)
    sums = [np.abs(plain.ct_hu).mean(), plain.ct_hu.std(), *plain.mr.mean((0, 1, 2))]
    np.testing.assert_allclose(sums, PLAIN_SUMS, rtol=1e-4)


def test_lesions_are_added_to_liver_and_kidneys_and_to_nothing_else(enhanced):
    ill = draw_subject(SEED, **SMALL, contrast="portal_venous", lesions=True)
    lesions = _where(ill, "fluid", "pale_tumour", "vascular_tumour")
    organs = ("liver", "kidney_cortex", "kidney_medulla")
    assert lesions.sum() > 40
    # A voxel of a lesion and another tissue may go to the latter.
    assert np.mean(_where(enhanced, *organs)[lesions]) > 0.9
    far = ~scipy.ndimage.binary_dilation(lesions, np.ones((3, 3, 3)))
    for field in ("ct_hu", "mr", "labels"):
        before, after = getattr(enhanced, field)[far], getattr(ill, field)[far]
        assert np.mean(before != after) < 0.005
    liver = _inside(ill, "liver")
    for name in ("fluid", "pale_tumour"):
        assert ill.ct_hu[_inside(ill, name)].mean() < ill.ct_hu[liver].mean() - 20


def test_higher_volume_shows_more_lung_in_its_place_in_space(plain):
    higher = draw_subject(SEED, **SMALL, level_mm=40.0)
    assert higher.affine[2, 3] == plain.affine[2, 3] + 40
    assert _where(higher, "lung").sum() > 1.5 * _where(plain, "lung").sum()


@pytest.fixture(scope="module")
def varied():
    """Return the labels of whole varied people on one grid of 10 x 5 x 5 mm."""
    axes = ((-250, 140, 10), (-160, 160, 5), (-230, 230, 5))
    axes = tuple(np.arange(*axis, dtype=np.float32) for axis in axes)
    people = []
    for seed in VARIED_SEEDS:
        rng = np.random.default_rng(seed)
        build = draw_build(rng, "varied")
        variety = dataclasses.replace(build.variety, level_mm=0.0)
        build = dataclasses.replace(build, variety=variety)
        people.append(anatomy.draw_labels(rng, build, axes))
    return people


def test_varied_people_have_every_tissue_between_them(varied):
    painted = {TISSUES[label] for labels in varied for label in np.unique(labels)}
    assert painted == set(TISSUES)


def test_varied_livers_have_veins_all_through_and_spleens_lie_along_the_wall(varied):
    spacing_mm = (10, 5, 5)
    for labels in varied:
        liver, vein = (labels == TISSUES.index(name) for name in ("liver", "vein"))
        to_vein_mm = scipy.ndimage.distance_transform_edt(~vein, spacing_mm)
        assert np.median(to_vein_mm[liver]) < 20
        spleen = labels == TISSUES.index("spleen")
        if not spleen.any():  # one in 25 has none
            continue
        assert 40 < 0.25 * spleen.sum() < 700  # ml
        wall = np.isin(labels, [TISSUES.index(t) for t in ("muscle", "lung", "fluid")])
        to_wall_mm = scipy.ndimage.distance_transform_edt(~wall, spacing_mm)
        assert np.percentile(to_wall_mm[spleen], 90) < 40


def test_varied_builds_range_from_thin_to_obese_and_from_chest_to_pelvis():
    builds = [draw_build(np.random.default_rng(seed), "varied") for seed in range(300)]
    width = [2 * (b.half_width_mm + b.wall_mm + b.fat_mm) for b in builds]
    assert 240 < min(width) < 290 and 390 < max(width) < 431
    levels = np.array([b.variety.level_mm for b in builds])
    assert levels.min() < -120 and levels.max() > 50
    assert 0.5 < np.mean(np.abs(levels) < 30) < 0.8
    with_arms = np.mean([b.variety.arms_mm != (None, None) for b in builds])
    assert 0.25 < with_arms < 0.42
    with pytest.raises(ValueError, match="'thin'"):
        draw_build(np.random.default_rng(0), "thin")


def test_varied_subject_is_reproducible_and_not_the_reference():
    grid = {"size": 32, "spacing_mm": 6.0, "slices": 4, "slice_mm": 6.0}
    first, again = (draw_subject(SEED, **grid, anatomy="varied") for _ in range(2))
    np.testing.assert_array_equal(first.mr, again.mr)
    np.testing.assert_array_equal(first.ct_hu, again.ct_hu)
    assert np.mean(first.labels != draw_subject(SEED, **grid).labels) > 0.05


def test_abdomen_has_every_tissue():
    rng = np.random.default_rng(0)
    axes = tuple(
        np.linspace(-end, end, n) for end, n in ((72, 48), (150, 160), (190, 200))
    )
    axes = tuple(axis.astype(np.float32) for axis in axes)
    labels = anatomy.draw_labels(rng, draw_build(rng), axes)
    present = {TISSUES[label] for label in np.unique(labels)}
    assert present >= set(TISSUES[: TISSUES.index("fluid")]) - {"heart"}


def test_slices_run_upwards_and_columns_to_the_left_of_the_patient(plain):
    def centre(*names):
        return np.argwhere(_where(plain, *names)).mean(axis=0)

    def ras(*names):
        slice_, row, column = centre(*names)
        return (plain.affine @ (column, row, slice_, 1))[:3]

    middle = (np.array(plain.labels.shape) - 1) / 2
    assert centre("liver")[2] < middle[2] - 3
    assert centre("spleen")[2] > middle[2] + 3
    assert centre("lung")[0] > 11 and not _where(plain, "lung")[:5].any()
    assert centre("marrow", "cortical_bone", "spinal_canal")[1] > middle[1] + 3
    assert ras("liver")[0] > 15 and ras("spleen")[0] < -15  # R is positive
    assert ras("spinal_canal")[1] < -15  # A is positive
    assert ras("lung")[2] > 20  # S is positive


def test_affine_holds_the_spacing_and_centres_the_volume(plain):
    np.testing.assert_allclose(np.diag(plain.affine), [-6, -6, 9, 1])
    np.testing.assert_allclose(plain.affine @ (31.5, 31.5, 7.5, 1), [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("names", "low", "high"),
    [
        (("subcutaneous_fat",), -120, -85),
        (("muscle",), 30, 70),
        (("spleen",), 35, 60),
        (("lung",), -900, -700),
        (("cortical_bone", "marrow"), 130, 600),
        (("outside",), -1005, -990),
    ],
)
def test_unenhanced_tissues_have_their_hounsfield_units(plain, names, low, high):
    assert low < plain.ct_hu[_inside(plain, *names)].mean() < high


def test_hounsfield_units_of_the_liver_fall_with_its_fat(plain):
    measured = plain.ct_hu[_inside(plain, "liver")].mean()
    assert abs(measured - ct.liver_hu(plain.liver_fat_fraction)) < 6
    fall = ct.liver_hu(0.0) - ct.liver_hu(0.3)
    assert 60 < ct.liver_hu(0.0) < 70 and 45 < fall < 55


def test_portal_venous_contrast_enhances_vessels_and_organs_only_in_ct(plain, enhanced):
    np.testing.assert_array_equal(plain.mr, enhanced.mr)
    np.testing.assert_array_equal(plain.labels, enhanced.labels)

    def rise(*names):
        there = _inside(plain, *names)
        return (enhanced.ct_hu[there] - plain.ct_hu[there]).mean()

    assert 35 < rise("liver") < 65
    assert 50 < rise("spleen") < 95
    assert rise("kidney_cortex", "kidney_medulla") > 100
    assert abs(rise("subcutaneous_fat")) < 5
    vessels = _where(plain, "artery", "vein")
    assert (enhanced.ct_hu[vessels] - plain.ct_hu[vessels]).mean() > 60


def test_out_of_phase_signal_of_the_liver_falls_with_its_fat():
    fractions = np.array([0.0, 0.05, 0.1, 0.2, 0.3])
    labels = _block(left="liver", right="liver", left_columns=16)
    scans = [_scan_mr(labels, liver_fat=fraction) for fraction in fractions]
    ratios = np.array([scan[..., 1].mean() / scan[..., 0].mean() for scan in scans])
    # Fat recovers faster than water, so its share of the signal exceeds its share of
    # protons.
    fat = fractions * mr.spoiled_gradient_echo(mr.FAT_T1_MS[1.5], REFERENCE)
    liver_t1 = tissues.TABLE["liver"].t1_ms
    water = (1 - fractions) * mr.spoiled_gradient_echo(liver_t1, REFERENCE)
    ideal = np.abs(1 - 2 * fat / (fat + water))
    assert (np.diff(ratios) < -0.02).all()
    # Not all peaks of fat are in opposition, so the fall is a little slower than ideal.
    np.testing.assert_allclose(ratios / ratios[0], ideal, atol=0.12)
    assert (ratios[1:] / ratios[0] > ideal[1:]).all()
    # The out-of-phase echo comes first and has decayed less by T2*.
    assert ratios[0] > 1


def test_fat_and_water_cancel_in_a_shared_voxel_out_of_phase_only():
    # The fifth voxel holds three quarters muscle and one quarter fat.
    scan = _scan_mr(_block(left="muscle", right="subcutaneous_fat", left_columns=19))
    in_phase, out_of_phase = (scan[..., i].mean(axis=(0, 1)) for i in (0, 1))
    assert out_of_phase[4] < 0.45 * min(out_of_phase[3], out_of_phase[5])
    assert in_phase[3] < in_phase[4] < in_phase[5]


def test_dark_lines_of_the_out_of_phase_image_are_on_borders_of_fat(plain):
    fat = _where(plain, "subcutaneous_fat", "visceral_fat")
    plane = np.ones((1, 3, 3))
    border = scipy.ndimage.binary_dilation(fat, plane) & scipy.ndimage.binary_dilation(
        _where(plain, "muscle", "liver", "spleen", "kidney_cortex"), plane
    )
    ratio = plain.mr[..., 1] / plain.mr[..., 0]
    assert np.quantile(ratio[border], 0.25) < 0.7
    assert np.quantile(ratio[_inside(plain, "subcutaneous_fat")], 0.25) > 0.75


def test_fat_is_bright_on_in_phase_and_dark_on_ct_and_bone_the_reverse(plain):
    def signal(channel, *names):
        return plain.mr[..., channel][_inside(plain, *names)].mean()

    fat, muscle = signal(0, "subcutaneous_fat"), signal(0, "muscle")
    assert fat > 2 * muscle
    assert signal(0, "lung") < 0.4 * muscle
    assert signal(2, "spleen") > 1.5 * signal(2, "liver")  # T2
    assert signal(2, "subcutaneous_fat") < signal(2, "liver")  # fat suppression
    bone = _scan_mr(_block(left="gas", right="cortical_bone", left_columns=0))
    marrow = _scan_mr(_block(left="gas", right="marrow", left_columns=0))
    assert bone[..., 0].mean() < 0.15 * marrow[..., 0].mean()


def test_noise_of_air_is_rician(plain):
    air = scipy.ndimage.binary_erosion(plain.labels == 0, np.ones((1, 5, 5)))
    for channel in range(3):
        noise = plain.mr[..., channel][air]
        # Rayleigh: sqrt(pi / (4 - pi)).
        np.testing.assert_allclose(noise.mean() / noise.std(), 1.913, rtol=0.03)


def test_noise_of_ct_is_correlated_in_plane():
    noise = ct.reconstruction_noise(np.random.default_rng(0), (8, 64, 64))
    beside = np.mean(noise[:, :, 1:] * noise[:, :, :-1])
    farther = np.mean(noise[:, :, 4:] * noise[:, :, :-4])
    assert beside > 0.3 and -0.3 < farther < 0.0
    np.testing.assert_allclose(noise.std(), 1, rtol=1e-3)


def test_bias_field_is_shared_by_both_phases():
    scan = _scan_mr(_block(left="gas", right="spleen", left_columns=0))
    ratio = scan[..., 1] / scan[..., 0]
    between_ms = REFERENCE.te_in_ms - REFERENCE.te_out_ms
    expected = np.exp(between_ms / tissues.TABLE["spleen"].t2_star_ms)
    np.testing.assert_allclose(ratio.mean(), expected, rtol=0.02)


def test_error_of_a_water_filled_body_is_plausible(plain):
    body = scipy.ndimage.binary_fill_holes(plain.labels > 0, np.ones((1, 3, 3)))
    assert 90 < np.abs(plain.ct_hu[body]).mean() < 150


def test_every_tissue_names_the_source_of_its_relaxation_times():
    known = (tissues.DE_BAZELAIRE, tissues.STANISZ, tissues.CHOSEN)
    assert all(tissue.relaxation_source in known for tissue in tissues.TABLE.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"contrast": "late"}, "'late'"),
        ({"scanner": "7 T"}, "'7 T'"),
        ({"size": 0}, "size 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_subject(0, **arguments)
