import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.ndimage

from synthct_jax.evaluation import per_subject
from synthct_jax.evaluation.per_subject import Images
from synthct_jax.evaluation.subjects import EvaluationSubject

SPACING_MM = (6.0, 4.0, 4.0)
LABELS = ("outside", "soft", "bone")


def made_up_subject(hu_of_bone: float) -> EvaluationSubject:
    labels = np.zeros((3, 32, 32), np.int16)
    labels[:, 4:28, 4:28] = 1
    labels[:, 12:20, 12:20] = 2
    ct = np.choose(labels, [-1024.0, 40.0, hu_of_bone]).astype(np.float32)
    mr = np.where(labels > 0, 8000, 0).astype(np.int16)[..., None]
    return EvaluationSubject(
        name="someone",
        domain="mr",
        stored=mr,
        spacing_mm=SPACING_MM,
        reference_ct=ct,
        labels=labels,
        label_names=LABELS,
    )


@pytest.mark.parametrize("hu", [700.0, 1600.0, 3000.0])
def test_densest_bone_counts_as_bone(hu):
    subject = made_up_subject(hu)
    images = Images(subject.reference_ct - 100, subject)
    errors = {
        (row.region, row.metric): row.value
        for row in per_subject.paired_rows("network", images)
    }
    facts = {
        (row.region, row.metric): row.value
        for row in per_subject.reference_rows(subject)
    }
    assert errors["band:bone", "mae"] == pytest.approx(100)
    assert facts["band:bone", "voxels"] == 3 * 8 * 8
    assert facts["tissue:bone", "mean_hu"] == pytest.approx(hu)
    voxels = [
        value
        for (region, metric), value in facts.items()
        if metric == "voxels" and region.startswith("band:")
    ]
    assert sum(voxels) == subject.body.sum()


def test_bone_is_denser_than_enhanced_organs_and_in_the_body():
    hu = np.array([40, 190, 249, 250, 700, 700])
    body = np.array([True] * 5 + [False])
    subject = SimpleNamespace(body=body, reference_ct=hu[::-1])
    synthetic, reference = Images(hu, subject).bone
    assert synthetic.tolist() == [False] * 3 + [True, True, False]
    assert reference.tolist() == [True] * 3 + [False] * 3


def test_cycle_error_is_measured_in_the_body_by_channel():
    subject = made_up_subject(700.0)
    body = np.zeros((3, 32, 32), bool)
    body[:, 2:6, 2:6] = True
    subject.__dict__["outline"] = body
    mr = np.zeros((3, 32, 32, 2), np.float32)
    cycled = mr.copy()
    cycled[..., 0][body] = 0.2  # a tenth of the range from -1 to 1
    cycled[..., 1][~body] = 1.0  # outside: does not count
    rows = per_subject.cycle_rows("network", subject, mr, cycled, ("in_phase", "t2"))
    values = {row.metric: row.value for row in rows}
    assert values == {"cycle_in_phase": pytest.approx(10), "cycle_t2": 0}


NAMED = ("outside", "visceral_fat", "liver", "fluid")


def liver_with_lesion(*, labels: bool = True) -> EvaluationSubject:
    """Return a liver in fat, with a cyst."""
    tissues = np.zeros((3, 32, 32), np.int16)
    tissues[:, 2:30, 2:30] = 1
    tissues[:, 5:27, 5:27] = 2
    tissues[:, 10:17, 10:17] = 3
    ct = np.choose(tissues, [-1024.0, -100.0, 110.0, 10.0]).astype(np.float32)
    return EvaluationSubject(
        name="someone",
        domain="mr",
        stored=np.where(tissues > 0, 8000, 0).astype(np.int16)[..., None],
        spacing_mm=SPACING_MM,
        reference_ct=ct,
        labels=tissues if labels else None,
        label_names=NAMED,
    )


def rows_of(subject: EvaluationSubject, hu: np.ndarray) -> dict[tuple[str, str], float]:
    rows = per_subject.paired_rows("network", Images(hu, subject))
    return {(row.region, row.metric): row.value for row in rows}


def test_swaps_lesions_and_shifts_are_rows_of_the_body():
    subject = liver_with_lesion()
    same = rows_of(subject, subject.reference_ct)
    body = {metric: value for (region, metric), value in same.items()}
    expected = {"lesion_contrast": 100, "lesion_erased": 0, "lesion_invented": 0}
    expected |= {"fat_as_soft": 0, "soft_as_fat": 0, "outline_shift": 0}
    for metric, value in expected.items():
        assert body[metric] == pytest.approx(value), metric
    assert body["organ_shift"] == pytest.approx(0, abs=0.3)
    cyst = subject.labels == 3
    erased = rows_of(subject, np.where(cyst, 110, subject.reference_ct))
    assert erased["body", "lesion_erased"] == 100
    assert erased["body", "lesion_contrast"] == pytest.approx(0)
    swapped = rows_of(subject, np.where(subject.labels == 1, 50, -150))
    assert swapped["body", "fat_as_soft"] == swapped["body", "soft_as_fat"] == 100
    moved = rows_of(subject, np.roll(subject.reference_ct, 1, axis=1))
    assert moved["body", "outline_shift"] == pytest.approx(4)
    assert moved["body", "organ_shift"] == pytest.approx(4, abs=0.3)


def test_pure_voxels_of_a_tissue_have_errors_of_their_own():
    subject = liver_with_lesion()
    rim = (subject.labels == 2) & ~scipy.ndimage.binary_erosion(
        subject.labels == 2, np.ones((1, 3, 3))
    )
    errors = rows_of(subject, subject.reference_ct + np.where(rim, 80, 0))
    assert errors["pure:liver", "mae"] == 0 < errors["tissue:liver", "mae"]


def test_metrics_of_tissues_need_labels_and_the_tissue():
    subject = liver_with_lesion()
    no_lesion = np.where(subject.labels == 3, 2, subject.labels)
    ct = np.where(subject.labels == 3, 110, subject.reference_ct)
    healthy = dataclasses.replace(subject, labels=no_lesion, reference_ct=ct)
    metrics = {metric for _, metric in rows_of(healthy, ct)}
    assert {"lesion_invented", "fat_as_soft"} < metrics
    assert not {"lesion_contrast", "lesion_erased"} & metrics
    unlabelled = liver_with_lesion(labels=False)
    metrics = {metric for _, metric in rows_of(unlabelled, unlabelled.reference_ct)}
    assert "outline_shift" in metrics
    assert not {"lesion_invented", "fat_as_soft", "organ_shift"} & metrics
