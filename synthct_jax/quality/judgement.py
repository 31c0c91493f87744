"""Judgement of one patient: features against limits, and an outcome in plain words."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthct_jax.quality.features import INPUT, Feature
from synthct_jax.quality.limits import FeatureLimits, Range

FORMAT, FORMAT_VERSION = "synthct_jax quality", 1
PASS, WARN, REFUSE, NOT_CALIBRATED = "pass", "warn", "refuse", "not calibrated"
NOT_JUDGED = "not judged"

NOT_SEEN = (
    "Errors that look like a healthy person's CT: an organ in the wrong place, a "
    "lesion left out or invented, where MR and CT agree with each other.",
    "Small or local errors: most features are of the whole body.",
    "Geometric distortion of the MR, metal, contrast medium, and movement between the "
    "images of one examination.",
    "Whether the limits suit this scanner and this patient: they are those of the "
    "people that the model was calibrated on.",
)
"""Limits of the method, for the reader of a sheet."""

_MOST_NAMED = 4  # features in a sentence

# What may be wrong, by the name of a feature, or its end in the features of a channel.
_QUESTIONS = {
    "median": "is it the same sequence?",
    "upper_quartile": "is it the same sequence?",
    "rim": "is it the same sequence?",
    "slice_jump": "are slices missing?",
    "slice_repeat": "is a slice there twice?",
    "cross_section_cm2": "is it the same part of the body?",
    "flat_edge_mm": "is the body cut off?",
    "phase_correlation": "are the phases of the same examination?",
    "cancelled": "have the phases been exchanged?",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One feature of a patient.

    Attributes:
        value: in the unit of `feature`; NaN: undefined for this patient.
        limits: None where there are none.
        verdict: PASS, WARN, REFUSE or NOT_JUDGED.
    """

    name: str
    feature: Feature
    value: float
    limits: FeatureLimits | None
    verdict: str

    def describe(self) -> str:
        """Return feature, value, limits and what may be wrong, in plain words."""
        if math.isnan(self.value):
            reason = self.feature.undefined
            return f"{self.feature.meaning} cannot be measured{reason and ': '}{reason}"
        unit = self.feature.unit and f" {self.feature.unit}"
        text = f"{self.feature.meaning} is {_round(self.value)}{unit}"
        if self.limits is None:
            return text
        limits = self.limits.refuse if self.verdict == REFUSE else self.limits.warn
        low, high = map(_round, limits)
        text = f"{text}, expected {low} to {high}{unit}"
        question = _QUESTIONS.get(self.name.split(".")[-1])
        return f"{text} ({question})" if question else text

    def to_json(self) -> dict[str, Any]:
        """Return the row of quality.json."""
        return {
            "name": self.name,
            "meaning": self.feature.meaning,
            "unit": self.feature.unit,
            "stage": self.feature.stage,
            "value": None if math.isnan(self.value) else float(f"{self.value:.4g}"),
            "reason": self.feature.undefined if math.isnan(self.value) else "",
            "warn": list(self.limits.warn) if self.limits else None,
            "refuse": list(self.limits.refuse)
            if self.limits and self.limits.refuse
            else None,
            "verdict": self.verdict,
        }


def _round(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def judge(
    values: Mapping[str, float],
    table: Mapping[str, Feature],
    limits: Mapping[str, FeatureLimits],
) -> list[Finding]:
    """Return a finding for each feature in `values`, in the order of the table.

    One that is undefined is a warning if it has limits: every volume that they come
    from had a value. Without limits it is named all the same.
    """
    return [
        Finding(
            name=name,
            feature=feature,
            value=values[name],
            limits=limits.get(name),
            verdict=_verdict(values[name], limits.get(name)),
        )
        for name, feature in table.items()
        if name in values
    ]


def _verdict(value: float, limits: FeatureLimits | None) -> str:
    def is_outside(ends: Range) -> bool:
        return not ends[0] <= value <= ends[1]

    if limits is None:
        return NOT_JUDGED
    if math.isnan(value):
        return WARN
    if limits.refuse and is_outside(limits.refuse):
        return REFUSE
    return WARN if is_outside(limits.warn) else PASS


def refusal(findings: Sequence[Finding], model: str) -> str | None:
    """Return why a scan is refused, or None if it is not."""
    reasons = [finding.describe() for finding in findings if finding.verdict == REFUSE]
    if not reasons:
        return None
    return (
        f"unlike the scans that {model} was calibrated on: "
        f"{_list(reasons, '; ')}. --force writes a synthetic CT all the same, and "
        "marks it"
    )


def outcome_of(findings: Sequence[Finding]) -> str:
    """Return the worst verdict, or NOT_CALIBRATED if nothing is judged."""
    verdicts = {finding.verdict for finding in findings}
    worst = [verdict for verdict in (REFUSE, WARN, PASS) if verdict in verdicts]
    return worst[0] if worst else NOT_CALIBRATED


def sentence_of(findings: Sequence[Finding]) -> str:
    """Return the outcome in one sentence."""
    outcome = outcome_of(findings)
    if outcome == NOT_CALIBRATED:
        return (
            "This model has no limits, so that nothing was judged: "
            "look at the pictures and the numbers."
        )
    judged = [f for f in findings if f.verdict != NOT_JUDGED]
    unusual = [f for f in judged if f.verdict != PASS]
    if not unusual:
        return (
            f"All {len(judged)} features are as in the people that the model was "
            "calibrated on."
        )
    names = _list([finding.feature.meaning for finding in unusual], "; ")
    count = f"{len(unusual)} of {len(judged)} features"
    if outcome == REFUSE:
        return (
            f"The MR is not what this model can translate, and its CT was written by "
            f"--force: {count} are unusual ({names})."
        )
    is_input = any(finding.feature.stage == INPUT for finding in unusual)
    where = "MR and CT" if is_input else "CT"
    return f"Look closely at the {where}: {count} are unusual ({names})."


def _list(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - _MOST_NAMED
    kept = separator.join(texts[:_MOST_NAMED])
    return f"{kept}{separator}and {more} more" if more > 0 else kept
