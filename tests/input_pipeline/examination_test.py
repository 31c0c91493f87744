"""Random and named MR scanners: their ranges, and what their images show."""

import dataclasses

import numpy as np
import pytest

from input_pipeline.phantom import draw_subject, examination, mr, scanners, tissues
from input_pipeline.phantom.examination import draw_examination, draw_properties
from input_pipeline.phantom.scanners import FIXED, draw_scanner

CLEAN = dataclasses.replace(
    FIXED["other_vendor"],
    **dict(shading=0.0, resolution=(1.0, 1.0), taper=0.0, noise=1e-4, dephasing=0.0),
    **dict(ghost=0.0, pulsation=0.0, bias=0.0, flow_loss=(0.0, 0.0)),
)


def acquire(left: str, right: str, *, columns=16, seed=0, **settings):
    """Acquire 16 x 16 voxels with a border of tissues after `columns` sub-voxels."""
    labels = np.full((3, 32, 32), tissues.LABELS[right], np.uint8)
    labels[:, :, :columns] = tissues.LABELS[left]
    rng = np.random.default_rng(seed)
    examination = draw_examination(
        rng,
        dataclasses.replace(CLEAN, **settings),
        fat_fractions={"liver": 0.05, "marrow": 0.3},
        contrast="non_contrast",
    )
    return examination.acquire(rng, labels, factor=2, spacing_mm=2.0)


def test_random_scanners_differ_and_none_has_the_echo_time_of_a_fixed_one():
    drawn = [draw_scanner(np.random.default_rng(seed)) for seed in range(300)]
    assert {scanner.tesla for scanner in drawn} == {1.5, 3.0}
    assert all(1.05 <= s.te_out_ms <= 2.4 and 2.1 <= s.te_in_ms <= 4.9 for s in drawn)
    assert all(s.te_in_ms < s.tr_ms for s in drawn)
    assert min(s.tr_ms for s in drawn) < 6 and max(s.tr_ms for s in drawn) > 200
    echoes = [fixed.te_in_ms for fixed in FIXED.values()]
    assert min(abs(s.te_in_ms - echo) for s in drawn for echo in echoes) > 0.08


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_fat_turns_against_water_between_the_echoes_of_each_field(tesla):
    slowness = 1.5 / tesla
    assert mr.fat_phasor(2.3 * slowness, tesla).real < -0.6
    assert mr.fat_phasor(4.6 * slowness, tesla).real > 0.6


@pytest.fixture
def without_iron(monkeypatch):
    monkeypatch.setattr(examination, "_IRON_SHARE", 0.0)


def test_fat_and_water_cancel_where_they_share_a_voxel_out_of_phase(without_iron):
    scans = [
        acquire("muscle", "subcutaneous_fat", columns=19, seed=s) for s in range(6)
    ]
    image = np.mean([scan.mr for scan in scans], axis=(0, 1))
    in_phase, out_of_phase = image[:, 0], image[:, 1]
    assert out_of_phase[9] < 0.8 * min(out_of_phase[6], out_of_phase[12])
    assert in_phase[6] < in_phase[12]


def test_inflow_brightens_blood_and_flow_voids_darken_it():
    def blood(fresh, lost=0.0):
        scan = acquire("muscle", "artery", fresh_blood=(fresh, 0), flow_loss=(lost, 0))
        return scan.mr[:, 12, 0].mean() / scan.mr[:, 3, 0].mean()

    assert blood(0.6) > 2 * blood(0.0)
    assert blood(0.6, lost=0.9) < 0.2 * blood(0.6)


def test_unsuppressed_fat_is_bright_on_t2_alone_and_water_stays():
    def signals(**settings):
        image = acquire("subcutaneous_fat", "spleen", **settings).mr.mean(axis=0)
        return image[3], image[12]

    fat, water = signals(fat_left=0.03)
    bright_fat, same_water = signals(fat_left=1.0)
    assert bright_fat[2] > 10 * fat[2]
    np.testing.assert_allclose(bright_fat[:2], fat[:2], rtol=1e-3)
    np.testing.assert_allclose(same_water, water, rtol=1e-3)


def test_flow_darkens_blood_alone_on_t2():
    drawn = [
        draw_properties(np.random.default_rng(seed), CLEAN, {})["spin_echo_flow"]
        for seed in range(20)
    ]
    table = tissues.by_label("spin_echo_flow")
    np.testing.assert_array_equal(np.array(drawn)[:, table == 1], 1)
    assert np.std(drawn, axis=0)[tissues.LABELS["vein"]] > 0.05


def test_iron_shortens_t2_and_t2_star_of_liver_and_spleen_alone(monkeypatch):
    def patients(share):
        monkeypatch.setattr(examination, "_IRON_SHARE", share)
        return [
            draw_properties(np.random.default_rng(s), CLEAN, {}) for s in range(100)
        ]

    never, always = patients(0.0), patients(1.0)
    for field in ("t2_ms", "t2_star_ms"):
        ratio = np.stack(
            [w[field] / n[field] for w, n in zip(always, never, strict=True)]
        )
        liver = ratio[:, tissues.LABELS["liver"]]
        spleen = ratio[:, tissues.LABELS["spleen"]]
        assert 10 <= (liver == 1).sum() <= 30 and liver.min() < 0.3
        assert 20 <= (spleen == 1).sum() <= 40 and spleen.min() < 0.3
        assert not ((liver == 1) & (spleen == 1)).any()
        assert np.all((liver == 1) | (liver < 0.95))
        assert np.all((spleen == 1) | (spleen < 0.95))
        others = np.delete(ratio, [tissues.LABELS[n] for n in ("liver", "spleen")], 1)
        assert (others == 1).all()


def test_mr_and_ct_of_a_patient_show_the_same_liver_fat(without_iron, monkeypatch):
    monkeypatch.setattr(examination, "_FAT_LOGIT", 1.0)  # from lean to very fat
    hu, ratio = [], []
    for seed in range(12):
        scan = acquire("liver", "liver", seed=seed)
        hu.append(scan.hu.mean())
        ratio.append(scan.mr[..., 1].mean() / scan.mr[..., 0].mean())
    assert np.corrcoef(hu, ratio)[0, 1] > 0.5


def test_gas_darkens_its_surroundings_on_gradient_echoes():
    def beside(dephasing):
        return acquire("gas", "liver", dephasing=dephasing).mr[:, 9].mean(axis=0)

    with_loss, without = beside(200.0), beside(0.0)
    assert (with_loss[:2] < 0.9 * without[:2]).all()
    assert with_loss[0] / without[0] < with_loss[1] / without[1]  # the later echo
    np.testing.assert_allclose(with_loss[2], without[2], rtol=1e-3)


def test_lower_resolution_rings_beside_an_edge():
    sharp = acquire("gas", "liver").mr[..., 0].mean(axis=0)
    coarse = acquire("gas", "liver", resolution=(1.0, 0.5)).mr[..., 0].mean(axis=0)
    assert np.ptp(coarse[10:14]) > 3 * np.ptp(sharp[10:14])


@pytest.mark.parametrize("scanner", [*FIXED, "randomised"])
def test_scanner_changes_the_images_and_not_the_anatomy(scanner):
    small = {"size": 48, "spacing_mm": 8.0, "slices": 3, "slice_mm": 9.0}
    reference = draw_subject(1, **small)
    subject = draw_subject(1, **small, scanner=scanner)
    np.testing.assert_array_equal(subject.labels, reference.labels)
    liver = subject.labels == tissues.LABELS["liver"]
    assert abs(np.median(subject.ct_hu[liver]) - np.median(reference.ct_hu[liver])) < 30
    again = draw_subject(1, **small, scanner=scanner)
    np.testing.assert_array_equal(subject.mr, again.mr)
    assert np.isfinite(subject.mr).all() and (subject.mr >= 0).all()
    ratio = np.median(subject.mr[liver], axis=0) / np.median(
        reference.mr[liver], axis=0
    )
    assert np.ptp(ratio / ratio[0]) > 0.02  # more than another gain


def test_names_of_scanners_hold_the_three_fixed_ones():
    assert set(scanners.NAMES) == {"reference", "randomised", *FIXED}
    assert len(FIXED) == 3
