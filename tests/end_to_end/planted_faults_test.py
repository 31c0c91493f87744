"""The evaluation notices every planted fault of a list, without the reference CT.

A fault is planted in the CT of twelve phantoms, which are then compared with the CT of
twelve others, as synthetic CT would be. The figures of docs/planted_faults.md are
written by SYNTHCT_WRITE_DOCS=1 python -m pytest tests/end_to_end/planted_faults_test.py
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
from synthct_jax.evaluation.subjects import EvaluationSubject
from synthct_jax.evaluation.volume_summary import VolumeSummary, summarise
from synthct_jax.metrics.intervals import value_range

SUBJECTS = 24
DIVISIONS = 20
SPACING_MM = (10.0, 6.0, 6.0)
DOCUMENT = REPOSITORY / "docs" / "planted_faults.md"


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A phantom on the grid of the evaluation."""

    name: str
    ct: np.ndarray
    mr: np.ndarray
    labels: np.ndarray


@functools.cache
def phantoms() -> list[Phantom]:
    drawn = []
    for seed in range(SUBJECTS):
        subject = draw_subject(
            seed, size=64, spacing_mm=6.0, slices=12, slice_mm=10.0,
            contrast="portal_venous",
        )  # fmt: skip
        drawn.append(
            Phantom(
                name=f"phantom_{seed}",
                ct=np.where(subject.labels > 0, subject.ct_hu, -1024.0),
                mr=subject.mr,
                labels=subject.labels,
            )
        )
    return drawn


# --- faults: functions from a phantom to a wrong CT -----------------------------------


def shift_hu(phantom: Phantom) -> np.ndarray:
    return np.where(phantom.labels > 0, phantom.ct + 30, phantom.ct)


def blur(phantom: Phantom) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(phantom.ct, (0, 1, 1))


def add_noise(phantom: Phantom) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, phantom.ct.shape)
    return np.where(phantom.labels > 0, phantom.ct + noise, phantom.ct)


def swap_fat_and_muscle(phantom: Phantom) -> np.ndarray:
    """Mirror the HU of fat and soft tissue about their middle."""
    is_soft = (phantom.ct > -200) & (phantom.ct < 250)
    return np.where(is_soft, 50 - phantom.ct, phantom.ct)


def add_checkerboard(phantom: Phantom) -> np.ndarray:
    rows, columns = np.indices(phantom.ct.shape[1:])
    board = np.where((rows + columns) % 2, 15.0, -15.0)
    return np.where(phantom.labels > 0, phantom.ct + board, phantom.ct)


def shift_by_4_pixels(phantom: Phantom) -> np.ndarray:
    moved = np.full_like(phantom.ct, -1024)
    moved[:, 4:] = phantom.ct[:, :-4]
    return moved


def replace_bone(phantom: Phantom) -> np.ndarray:
    bone = np.isin(
        phantom.labels, [TISSUES.index("cortical_bone"), TISSUES.index("marrow")]
    )
    return np.where(bone, 50.0, phantom.ct)


def fill_air(phantom: Phantom) -> np.ndarray:
    return np.where(phantom.labels == TISSUES.index("gas"), 30.0, phantom.ct)


def repeat_slice(phantom: Phantom) -> np.ndarray:
    repeated = phantom.ct.copy()
    repeated[5] = repeated[6]
    return repeated


FAULTS = {
    "HU shifted by 30": shift_hu,
    "blur of 1 pixel": blur,
    "noise of 40 HU": add_noise,
    "fat and muscle swapped": swap_fat_and_muscle,
    "checkerboard of 15 HU": add_checkerboard,
    "shifted by 4 pixels": shift_by_4_pixels,
    "bone replaced by soft tissue": replace_bone,
    "air cavities filled": fill_air,
    "one slice repeated": repeat_slice,
}


# --- metrics that notice a fault ------------------------------------------------------


def images(phantom: Phantom, hu: np.ndarray) -> Images:
    subject = EvaluationSubject(
        name=phantom.name, domain="mr", stored=phantom.mr, spacing_mm=SPACING_MM
    )
    return Images(hu, subject)


def summary(phantom: Phantom, hu: np.ndarray) -> VolumeSummary:
    body = images(phantom, hu).mask_of_hu
    return summarise(phantom.name, hu.astype(np.float32), body, slice_mm=SPACING_MM[0])


@functools.cache
def reference() -> distribution.Reference:
    others = phantoms()[SUBJECTS // 2 :]
    return distribution.Reference([summary(phantom, phantom.ct) for phantom in others])


def is_outside(name: str, distances: dict[str, distribution.Distance]) -> bool | None:
    value, real = distances[name].interval.value, distances[name].real_vs_real
    return metric_definitions.named(name).is_outside(value, real)


@functools.cache
def noticing_metrics(fault: str | None) -> tuple[str, ...]:
    """Return the metrics outside their real-vs-real range; None plants no fault."""
    group, others = phantoms()[: SUBJECTS // 2], phantoms()[SUBJECTS // 2 :]
    cts = [FAULTS[fault](phantom) if fault else phantom.ct for phantom in group]
    faulty = [summary(phantom, ct) for phantom, ct in zip(group, cts, strict=True)]
    distances = distribution.compare(faulty, reference(), intervals=False)
    noticing = [name for name in distances if is_outside(name, distances)]
    for name, metric in metric_definitions.CONSISTENCY.items():
        values = [
            metric.compute(images(phantom, ct))
            for phantom, ct in zip(group, cts, strict=True)
        ]
        real = value_range(
            metric.compute(images(phantom, phantom.ct)) for phantom in others
        )
        if metric.is_outside(float(np.mean(values)), real):
            noticing.append(name)
    return tuple(noticing)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed_without_the_reference_ct(fault):
    assert noticing_metrics(fault)


def test_ct_without_a_fault_raise_no_alarm():
    assert noticing_metrics(None) == ()


# --- the document ---------------------------------------------------------------------


def assert_document_says(heading: str, content: str) -> None:
    """Compare a section of the document, or write it with SYNTHCT_WRITE_DOCS."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, section = text.split(f"## {heading}\n\n")
    section, *after = section.split("\n## ", 1)
    if os.environ.get("SYNTHCT_WRITE_DOCS"):
        new = "\n## ".join([f"{before}## {heading}\n\n{content}", *after])
        DOCUMENT.write_text(new, encoding="utf-8")
        section = content
    assert section == content


def test_the_document_lists_the_metrics_that_notice_each_fault():
    lines = ["| Planted fault | Number | Metrics that notice it |", "|---|---|---|"]
    for fault in (None, *FAULTS):
        names = noticing_metrics(fault)
        titles = "; ".join(metric_definitions.named(name).title for name in names)
        lines.append(f"| {fault or 'none'} | {len(names)} | {titles} |")
    assert_document_says("Metrics that notice each fault", "\n".join(lines) + "\n")


@pytest.mark.slow
def test_the_document_gives_the_rate_of_false_alarms():
    alarms = [false_alarms(seed) for seed in range(DIVISIONS)]
    values, outside = sum(map(len, alarms)), sum(map(sum, alarms))
    assert outside / values < 0.05
    quiet = sum(not any(of_division) for of_division in alarms)
    assert_document_says(
        "False alarms",
        f"The {SUBJECTS} phantoms without a fault were divided at random {DIVISIONS} "
        f"times into twelve that stand\nfor synthetic CT and twelve real ones.\n"
        f"In {quiet} of {DIVISIONS} divisions no metric was outside its range; in "
        f"{DIVISIONS - quiet} at least one was.\n"
        f"Of all {values} values {outside} ({100 * outside / values:.1f} %) were "
        "outside.\n"
        "So a single metric just outside its range is weak evidence of a fault.\n",
    )


def false_alarms(seed: int) -> list[bool]:
    """Tell for each metric whether real CT are outside the range of other real CT."""
    order = np.random.default_rng(seed).permutation(SUBJECTS)
    summaries = [summary(phantoms()[i], phantoms()[i].ct) for i in order]
    distances = distribution.compare(
        summaries[: SUBJECTS // 2],
        distribution.Reference(summaries[SUBJECTS // 2 :]),
        intervals=False,
    )
    return [bool(is_outside(name, distances)) for name in distances]
