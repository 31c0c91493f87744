"""The evaluation has teeth: every fault of a list is noticed.

A fault is planted into the CT of twelve people, which are then compared with the CT of
twelve others as synthetic ones would be. The table in docs/planted_faults.md is made
here: SYNTHCT_WRITE_DOCS=1 python -m pytest tests/end_to_end/planted_faults_test.py
"""

import dataclasses
import functools
import os

import numpy as np
import pytest
import scipy.ndimage
from paths import REPOSITORY

from input_pipeline.phantom import TISSUES, draw_subject
from synthct_jax.evaluation import distribution, metric_definitions
from synthct_jax.evaluation.per_subject import Images
from synthct_jax.evaluation.results import value_range
from synthct_jax.evaluation.subjects import EvaluationSubject
from synthct_jax.evaluation.volume_summary import VolumeSummary, summarise

PEOPLE = 24
DIVISIONS = 20
SPACING_MM = (10.0, 6.0, 6.0)
DOCUMENT = REPOSITORY / "docs" / "planted_faults.md"


@dataclasses.dataclass(frozen=True)
class Person:
    name: str
    ct: np.ndarray
    mr: np.ndarray
    labels: np.ndarray


@functools.cache
def people() -> list[Person]:
    found = []
    for seed in range(PEOPLE):
        subject = draw_subject(
            seed, size=64, spacing_mm=6.0, slices=12, slice_mm=10.0,
            contrast="portal_venous",
        )  # fmt: skip
        found.append(
            Person(
                name=f"person_{seed}",
                ct=np.where(subject.labels > 0, subject.ct_hu, -1024.0),
                mr=subject.mr,
                labels=subject.labels,
            )
        )
    return found


# --- faults: a person to a wrong CT ---------------------------------------------------


def shifted_hu(person: Person) -> np.ndarray:
    return np.where(person.labels > 0, person.ct + 30, person.ct)


def blurred(person: Person) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(person.ct, (0, 1, 1))


def noisy(person: Person) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, person.ct.shape)
    return np.where(person.labels > 0, person.ct + noise, person.ct)


def inverted(person: Person) -> np.ndarray:
    """Fat and muscle swapped: soft tissue mirrored about its middle."""
    soft = (person.ct > -200) & (person.ct < 250)
    return np.where(soft, 50 - person.ct, person.ct)


def checkerboard(person: Person) -> np.ndarray:
    rows, columns = np.indices(person.ct.shape[1:])
    board = np.where((rows + columns) % 2, 15.0, -15.0)
    return np.where(person.labels > 0, person.ct + board, person.ct)


def shifted_4_pixels(person: Person) -> np.ndarray:
    moved = np.full_like(person.ct, -1024)
    moved[:, 4:] = person.ct[:, :-4]
    return moved


def boneless(person: Person) -> np.ndarray:
    bone = np.isin(
        person.labels, [TISSUES.index("cortical_bone"), TISSUES.index("marrow")]
    )
    return np.where(bone, 50.0, person.ct)


def filled_air(person: Person) -> np.ndarray:
    gas = person.labels == TISSUES.index("gas")
    return np.where(gas, 30.0, person.ct)


def repeated_slice(person: Person) -> np.ndarray:
    repeated = person.ct.copy()
    repeated[5] = repeated[6]
    return repeated


FAULTS = {
    "HU shifted by 30": shifted_hu,
    "blur of 1 pixel": blurred,
    "noise of 40 HU": noisy,
    "fat and muscle swapped": inverted,
    "checkerboard of 15 HU": checkerboard,
    "shifted by 4 pixels": shifted_4_pixels,
    "bone replaced by soft tissue": boneless,
    "air cavities filled": filled_air,
    "one slice repeated": repeated_slice,
}


# --- what is noticed ------------------------------------------------------------------


def images_of(person: Person, hu: np.ndarray) -> Images:
    subject = EvaluationSubject(name=person.name, mr=person.mr, spacing_mm=SPACING_MM)
    return Images(hu, subject)


def summary_of(person: Person, hu: np.ndarray) -> VolumeSummary:
    body = images_of(person, hu).ct_outline
    return summarise(person.name, hu.astype(np.float32), body, slice_mm=SPACING_MM[0])


@functools.cache
def reference() -> distribution.Reference:
    others = people()[PEOPLE // 2 :]
    return distribution.Reference([summary_of(person, person.ct) for person in others])


@functools.cache
def noticed_by(fault: str | None) -> tuple[str, ...]:
    """The metrics that are worse than any between real CT; None: of untouched CT."""
    group = people()[: PEOPLE // 2]
    images = [FAULTS[fault](person) if fault else person.ct for person in group]
    faulty = [summary_of(*both) for both in zip(group, images, strict=True)]
    compared = distribution.compare(faulty, reference())
    noticed = [name for name, distance in compared.items() if distance.is_outside]
    others = people()[PEOPLE // 2 :]
    for name, metric in metric_definitions.CONSISTENCY.items():
        values = [
            metric.compute(images_of(*x)) for x in zip(group, images, strict=True)
        ]
        real = value_range(metric.compute(images_of(one, one.ct)) for one in others)
        if metric.is_outside(float(np.mean(values)), real):
            noticed.append(name)
    return tuple(noticed)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed_without_ground_truth(fault):
    assert noticed_by(fault)


def test_disjoint_halves_of_real_ct_are_like_real_ct_in_everything():
    assert noticed_by(None) == ()


@pytest.mark.slow
def test_real_ct_are_rarely_called_unlike_real_ct():
    """A range over 50 halves is left by chance, too: how often, by other divisions."""
    divided = [divided_at_random(seed) for seed in range(DIVISIONS)]
    outside = sum(sum(one) for one in divided)
    total = sum(map(len, divided))
    assert outside / total < 0.05
    quiet = sum(not any(one) for one in divided)
    assert (
        f"of {DIVISIONS} random\ndivisions of the same people {quiet} had none, and "
        f"{outside} of all {total} values"
    ) in DOCUMENT.read_text(encoding="utf-8")


def divided_at_random(seed: int) -> list[bool]:
    """Of each measure whether untouched CT of one half leave the floor of the other."""
    order = np.random.default_rng(seed).permutation(PEOPLE)
    summaries = [summary_of(people()[i], people()[i].ct) for i in order]
    reference = distribution.Reference(summaries[PEOPLE // 2 :])
    compared = distribution.compare(
        summaries[: PEOPLE // 2], reference, intervals=False
    )
    return [distance.is_outside for distance in compared.values()]


def table() -> str:
    lines = ["| planted fault | metrics outside the real-vs-real range |", "|---|---|"]
    for fault in (None, *FAULTS):
        titles = [metric_definitions.named(name).title for name in noticed_by(fault)]
        found = f"{len(titles)}: {', '.join(titles)}" if titles else "0"
        lines.append(f"| {fault or 'none: CT as they are'} | {found} |")
    return "\n".join(lines) + "\n"


def test_the_document_has_this_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    if os.environ.get("SYNTHCT_WRITE_DOCS"):
        text = text[: text.index("| planted fault")] + table()
        DOCUMENT.write_text(text, encoding="utf-8")
    assert text.endswith(table())
