import numpy as np
import pytest

from input_pipeline.body import body_mask
from input_pipeline.phantom import draw_subject
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import to_axial

SPACING = (5.0, 2.0, 2.0)


def ellipse(size=128, radii=(35, 50), centre=(60, 64)):
    y, x = np.mgrid[:size, :size]
    shape = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return np.repeat(shape[None], 5, axis=0)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_ct_body_includes_lungs_but_not_the_couch():
    body = ellipse()
    hu = np.where(body, 40.0, -1000.0)
    lung = ellipse(radii=(15, 12), centre=(60, 40))
    hu[lung] = -850
    couch = np.zeros_like(body)
    couch[:, 100:102, 10:120] = True  # 4 mm, 10 mm below the back
    hu[couch] = 200
    hu += np.random.default_rng(0).normal(0, 20, hu.shape)
    mask = body_mask(hu[..., None].astype(np.float32), "CT", SPACING)
    assert mask.dtype == bool and mask.shape == hu.shape
    assert not (mask & couch).any()
    assert mask[lung].all()
    assert dice(mask, body) > 0.99


def test_mr_body_is_of_all_channels_without_noise():
    body = ellipse()
    rng = np.random.default_rng(0)
    in_phase, dark = np.where(body, 300.0, 0.0), np.where(body, 20.0, 0.0)
    dark[ellipse(radii=(20, 20))] = 300
    voxels = np.stack([in_phase, dark], axis=-1)
    noise = rng.normal(0, 6, (2, *voxels.shape))
    voxels = np.hypot(voxels + noise[0], noise[1]).astype(np.float32)
    assert dice(body_mask(voxels, "MR", SPACING), body) > 0.96
    assert dice(body_mask(voxels * 1000, "MR", SPACING), body) > 0.96


def test_mr_body_includes_lungs_that_open_to_the_air():
    body = ellipse()
    signal = np.where(body, 200.0, 1.0)
    lung = ellipse(radii=(15, 18), centre=(60, 90))
    signal[lung] = 1
    signal[:, 57:63, 100:] = 1  # the wall beside it has no signal either
    mask = body_mask(signal[..., None].astype(np.float32), "MR", SPACING)
    assert mask[lung].mean() > 0.98


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_empty_image_has_an_empty_mask(modality):
    voxels = np.full((3, 40, 40, 1), -1000.0 if modality == "CT" else 0.0, np.float32)
    assert not body_mask(voxels, modality, SPACING).any()


def test_phantom_bodies_are_segmented_in_both_modalities():
    subject = draw_subject(
        3, size=64, spacing_mm=6.0, slices=4, slice_mm=6.0, contrast="portal_venous"
    )
    body = subject.labels > 0
    spacing = (6.0, 6.0, 6.0)
    assert dice(body_mask(subject.ct_hu[..., None], "CT", spacing), body) > 0.97
    for channels in ([0, 1], [0], [1], [2]):
        assert dice(body_mask(subject.mr[..., channels], "MR", spacing), body) > 0.95


def test_real_bodies_have_the_size_of_bodies(real_data):
    chaos = real_data / "chaos/Train_Sets"
    for path, modality, channels, wide, deep in (
        (chaos / "CT/3/DICOM_anon", "CT", None, 339, 241),
        (chaos / "MR/1", "MR", ("in_phase", "out_of_phase"), 353, 258),
    ):
        volume = to_axial(read_scan(path, modality=modality, channels=channels))
        mask = body_mask(volume.voxels, modality, volume.spacing_mm)
        for axis, expected in ((1, deep), (2, wide)):
            places = np.flatnonzero(mask.any(axis=(0, 3 - axis)))
            extent = (np.ptp(places) + 1) * volume.spacing_mm[axis]
            # The couch of this CT would add 80 mm to its depth.
            assert extent == pytest.approx(expected, abs=15)


def test_body_of_real_t2_includes_suppressed_fat(real_data):
    folder = real_data / "chaos_t2spir_nifti"
    organs = read_scan(folder / "label_3.nii.gz", modality="MR", channels=("t2",))
    volume = to_axial(
        read_scan(folder / "image_3.nii.gz", modality="MR", channels=("t2",))
    )
    mask = body_mask(volume.voxels, "MR", volume.spacing_mm)
    assert mask[to_axial(organs).voxels[..., 0] > 0].all()
    assert 0.5 < mask.mean() < 0.75
    # One body a slice, with no fat missing between skin and organs.
    middle = mask[len(mask) // 2]
    inside = np.maximum.accumulate(middle, 1)
    inside &= np.maximum.accumulate(middle[:, ::-1], 1)[:, ::-1]
    assert inside.sum() < 1.02 * middle.sum()


def test_mr_body_keeps_an_arm_beside_the_trunk():
    trunk, arm = ellipse(centre=(60, 54)), ellipse(radii=(14, 9), centre=(64, 117))
    assert not (trunk & arm).any()
    spot = ellipse(radii=(3, 3), centre=(12, 12))  # a ghost
    signal = np.where(trunk | arm | spot, 200.0, 2.0)[..., None].astype(np.float32)
    mask = body_mask(signal, "MR", SPACING)
    assert mask[arm].mean() > 0.9
    assert not mask[spot].any()
