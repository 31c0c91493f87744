"""Targets from tissue labels and from a user's mask."""

import numpy as np
import pytest

from synthct_jax.dose import structures
from synthct_jax.dose.plans import LIVER, SPINE
from synthct_jax.evaluation.subjects import EvaluationSubject

NAMES = ("outside", "muscle", "liver", "spinal_canal", "marrow", "kidney_cortex")
SPACING_MM = (6.0, 4.0, 4.0)


def subject(slices: int = 24) -> EvaluationSubject:
    """Return a body with a liver on the right, a spine and a kidney."""
    labels = np.zeros((slices, 60, 60), np.int16)
    labels[:, 5:55, 5:55] = 1
    labels[:, 15:35, 8:28] = 2
    labels[:, 40:44, 28:32] = 3
    labels[:, 30:40, 25:35] = 4
    labels[:, 40:46, 44:50] = 5
    return EvaluationSubject(
        name="a",
        domain="mr",
        stored=np.zeros((*labels.shape, 1), np.int16),
        spacing_mm=SPACING_MM,
        reference_ct=np.where(labels, 40, -1024).astype(np.int16),
        labels=labels,
        label_names=NAMES,
    )


def test_targets_lie_in_their_tissue_and_organs_beside_them():
    sites = structures.sites_of_subject(subject())
    labels = subject().labels
    assert set(sites) == {LIVER, SPINE}
    for site, label in ((LIVER, 2), (SPINE, 4)):
        target = sites[site].target
        assert set(labels[target]) == {label}
        assert not any((organ & target).any() for organ in sites[site].organs.values())
        at = sites[site].isocentre() * SPACING_MM
        from_end = min(at[0], 23 * SPACING_MM[0] - at[0])
        assert from_end >= structures.FROM_END_MM - SPACING_MM[0] / 2
    volume = sites[LIVER].target.sum() * np.prod(SPACING_MM)
    ball = 4 / 3 * np.pi * structures.LIVER_RADIUS_MM**3
    assert volume == pytest.approx(ball, rel=0.1)
    assert set(sites[SPINE].organs) == {"spinal canal", "kidneys", "liver"}


def test_a_site_too_near_to_the_ends_is_left_out():
    assert not structures.sites_of_subject(subject(slices=8))


def test_a_mask_names_its_target_and_its_organs():
    labels = np.zeros((3, 4, 4))
    labels[1, 1], labels[1, 2], labels[2, 2] = 1, 2, 7
    body = np.ones(labels.shape, bool)
    body[1, 1, 0] = False
    regions = structures.structures_of_labels(labels, body, {2: "cord"})
    assert regions.target.sum() == 3
    assert {name: organ.sum() for name, organ in regions.organs.items()} == {
        "cord": 4,
        "label 7": 4,
    }
    with pytest.raises(ValueError, match="has labels 0, 2: expected .* with 1"):
        structures.structures_of_labels(np.where(labels == 2, 2, 0), body, {})
