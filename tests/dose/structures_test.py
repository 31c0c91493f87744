"""Targets from tissue labels and from a user's mask, and the CT to plan on."""

import numpy as np
import pytest

from input_pipeline.intensity import AIR_HU
from synthct_jax.dose import cases, controls, structures
from synthct_jax.dose.plans import LIVER, SPINE
from synthct_jax.evaluation import ct_methods
from synthct_jax.evaluation.subjects import EvaluationSubject

NAMES = (
    *("outside", "muscle", "liver", "spinal_canal", "marrow", "kidney_cortex"),
    "disc",
)
DISCS = slice(0, None, 6)  # the middle slice, 12, is one of them
SPACING_MM = (6.0, 4.0, 4.0)


def subject(slices: int = 24) -> EvaluationSubject:
    """Return a body with a liver on the right, a spine and a kidney."""
    labels = np.zeros((slices, 60, 60), np.int16)
    labels[:, 5:55, 5:55] = 1
    labels[:, 15:35, 8:28] = 2
    labels[:, 40:44, 28:32] = 3
    labels[:, 30:40, 25:35] = 4
    labels[:, 40:46, 44:50] = 5
    labels[DISCS, 30:40, 25:35] = 6
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
    assert sites[SPINE].isocentre()[0] % 6 == pytest.approx(3, abs=0.5)
    volume = sites[LIVER].target.sum() * np.prod(SPACING_MM)
    ball = 4 / 3 * np.pi * structures.LIVER_RADIUS_MM**3
    assert volume == pytest.approx(ball, rel=0.1)
    assert set(sites[SPINE].organs) == {"spinal canal", "kidneys", "liver"}


def test_bulk_density_gives_discs_the_mean_of_soft_tissue():
    person = subject()
    bone, disc = (person.voxels_of((name,)) for name in ("marrow", "disc"))
    person.reference_ct[bone] = 200
    hu = controls.bulk_density(person)
    assert (hu[bone] == 200).all() and (hu[disc] == 40).all()


def cases_of(person: EvaluationSubject, monkeypatch) -> cases.CasesOfData:
    """Return data of one person whom a network translates to 40 HU everywhere."""
    hu = np.full(person.body.shape, 40, np.float32)
    monkeypatch.setattr(cases, "read_subjects", lambda *_: [person])
    monkeypatch.setattr(ct_methods, "network_ct", lambda *_: (hu, None))
    return cases.CasesOfData(dataset=None, split="test", model=None, names=("a",))


def test_every_ct_has_the_outline_of_the_reference(monkeypatch):
    person = subject()
    (case,) = cases_of(person, monkeypatch)
    assert len(case.cts) == 3 and not case.warnings
    for ct in case.cts.values():
        np.testing.assert_array_equal(ct > AIR_HU, person.body)


def test_a_site_too_near_to_the_ends_is_left_out():
    assert not structures.sites_of_subject(subject(slices=8))


def test_a_subject_without_a_site_is_named(monkeypatch):
    (case,) = cases_of(subject(slices=8), monkeypatch)
    assert not case.sites
    assert [w.split(":")[0] for w in case.warnings] == [
        "a is left out of the plans of the liver",
        "a is left out of the plans of the spine",
    ]


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
    both = structures.structures_of_labels(labels, body, {2: "kidney", 7: "kidney"})
    assert both.organs["kidney"].sum() == 8


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        ((0, 2), {}, "has labels 0, 2: expected .* with 1"),
        ((-3, 1), {}, "has labels -3, 1: .* none below 0"),
        ((1, 2), {2: "target"}, "2:target, expected"),
        ((1, 2), {2: "body"}, "2:body, expected"),
        ((1, 2), {1: "gtv"}, "1:gtv, expected"),
        ((1, 2), {3: "cord"}, r"3:cord, expected labels of the mask .*\(1, 2\)"),
    ],
)
def test_labels_and_names_that_cannot_be_planned_are_refused(values, names, message):
    labels = np.broadcast_to(np.array(values), (2, 3, 2))
    with pytest.raises(ValueError, match=message):
        structures.structures_of_labels(labels, labels < 9, names)
