from types import SimpleNamespace

import numpy as np
import pytest

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
    )


@pytest.mark.parametrize("hu", [700.0, 1600.0, 3000.0])
def test_densest_bone_counts_as_bone(hu):
    subject = made_up_subject(hu)
    images = Images(subject.reference_ct - 100, subject)
    errors = {
        (row.region, row.metric): row.value
        for row in per_subject.paired_rows("network", images, LABELS)
    }
    facts = {
        (row.region, row.metric): row.value
        for row in per_subject.reference_rows(subject, LABELS)
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
