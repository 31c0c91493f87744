import numpy as np
import pytest

from synthct_jax.evaluation import per_subject
from synthct_jax.evaluation.subjects import Case

SPACING_MM = (6.0, 4.0, 4.0)


def a_case(hu_of_bone: float) -> Case:
    labels = np.zeros((3, 32, 32), np.int16)
    labels[:, 4:28, 4:28] = 1
    labels[:, 12:20, 12:20] = 2
    truth = np.choose(labels, [-1024.0, 40.0, hu_of_bone]).astype(np.float32)
    mr = np.where(labels > 0, 8000, 0).astype(np.int16)[..., None]
    return Case(name="someone", mr=mr, truth=truth, labels=labels)


@pytest.mark.parametrize("hu", [700.0, 1600.0, 3000.0])
def test_the_densest_bone_counts_as_bone(hu):
    case = a_case(hu)
    found = per_subject.against_truth(
        case.truth - 100, case, ("outside", "soft", "bone"), SPACING_MM
    )
    assert found["bands"]["bone"]["voxels"] == 3 * 8 * 8
    assert found["bands"]["bone"]["mae"] == pytest.approx(100)
    assert found["tissues"]["bone"]["true_mean"] == pytest.approx(hu)
    voxels = [band["voxels"] for band in found["bands"].values() if band]
    assert sum(voxels) == (case.labels > 0).sum()


def test_what_comes_back_is_measured_in_the_body_by_channel():
    body = np.zeros((2, 8, 8), bool)
    body[:, 2:6, 2:6] = True
    mr = np.zeros((2, 8, 8, 2), np.float32)
    cycled = mr.copy()
    cycled[..., 0][body] = 0.2  # a tenth of the range from -1 to 1
    cycled[..., 1][~body] = 1.0  # outside: does not count
    found = per_subject.cycle_errors(mr, cycled, body, ("in_phase", "t2"))
    assert found == {"cycle_in_phase": pytest.approx(10), "cycle_t2": 0}
