"""The result of a study: from answers to the numbers of its report."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from synthct_jax.metrics import intervals
from synthct_jax.metrics.intervals import Interval
from synthct_jax.reader_study import multireader
from synthct_jax.reader_study.answers import Answer, Key, table
from synthct_jax.reader_study.multireader import Equivalence, Estimate
from synthct_jax.reader_study.proportions import fleiss_kappa, share
from synthct_jax.reader_study.settings import REAL, SINGLE, SYNTHETIC


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shares:
    """Results of one reader or of all together.

    Repeated trials count only in `repeatability`, `seconds` and `marked`. Intervals of
    shares are exact, as if answers were independent.

    Attributes:
        accuracy: right answers.
        sensitivity: synthetic cases that were called synthetic.
        specificity: real cases that were called real; both None of two-alternative
            trials.
        repeatability: repeated trials with the same answer as the first time.
        area: area under the ROC curve by confidence; its interval is over cases. None
            of two-alternative trials, or where not all is answered.
        seconds: median time of an answer.
        marked: share of answers with a mark.
        readers: their names.
    """

    readers: str
    accuracy: Interval
    sensitivity: Interval | None
    specificity: Interval | None
    repeatability: Interval
    area: Interval | None
    seconds: float
    marked: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomEffects:
    """A mean over readers and cases, both drawn at random, with its 95 % interval.

    Attributes:
        reader_sd, case_sd: standard deviations of the skill of readers and of how easy
            cases are, for the size of a further study.
    """

    interval: Interval
    reader_sd: float
    case_sd: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseCount:
    """Number of readers who answered a case, and of those who were right."""

    case: str
    right: int
    readers: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """All numbers of a study.

    Attributes:
        unanswered: number of trials without an answer, by reader.
        pooled: shares over all readers.
        accuracy: mean of sensitivity and specificity, or share of right pairs, over
            readers and cases; None for a single reader.
        area: area under the ROC curve, likewise.
        equivalence: of the accuracy to 50 %.
        kappa: agreement of readers beyond chance, over cases that all answered; None
            for a single reader. Its interval is over cases, with these readers.
        cases: from those that most readers were right about; of two-alternative trials
            the synthetic ones.
    """

    kit: str
    design: str
    readers: Sequence[Shares]
    pooled: Shares
    unanswered: Mapping[int, int]
    accuracy: RandomEffects | None
    area: RandomEffects | None
    equivalence: Equivalence | None
    kappa: Interval | None
    cases: Sequence[CaseCount]


def analyse(key: Key, answers: Mapping[int, Sequence[Answer]]) -> Analysis:
    """Analyse the answers of all readers.

    Args:
        answers: of each reader, by number.

    Raises:
        ValueError: a reader has no answers or, of several readers, fewer than two to
            cases of a kind.
    """
    if empty := [reader for reader, each in answers.items() if not each]:
        raise ValueError(f"reader {empty[0]} has answered nothing, leave the file out")
    everything = [answer for each in answers.values() for answer in each]
    kinds = {SYNTHETIC: key.synthetic}
    if key.design == SINGLE:
        kinds[REAL] = key.real
    right = {kind: table(answers, names, "right") for kind, names in kinds.items()}
    if len(answers) > 1:
        _check_kinds(right, list(answers))
    kernels = {"accuracy": right[SYNTHETIC]}
    if key.design == SINGLE:
        real, synthetic = (
            table(answers, names, "score") for names in (key.real, key.synthetic)
        )
        kernels = {
            "accuracy": multireader.roc_kernel(1 - right[REAL], right[SYNTHETIC]),
            "area": multireader.roc_kernel(real, synthetic),
        }
    estimates = {}
    if len(answers) > 1:
        estimates = {name: multireader.estimate(k) for name, k in kernels.items()}
    areas = kernels.get("area", [None] * len(answers))
    readers = [
        _shares(f"Reader {reader}", each, key.design, area)
        for (reader, each), area in zip(answers.items(), areas, strict=True)
    ]
    return Analysis(
        kit=key.kit,
        design=key.design,
        readers=readers,
        pooled=_shares("All", everything, key.design, None),
        unanswered={
            reader: len(key.trials[reader]) - len(each)
            for reader, each in answers.items()
        },
        accuracy=_random_effects(estimates.get("accuracy")),
        area=_random_effects(estimates.get("area")),
        equivalence=multireader.equivalence(estimates["accuracy"], key.margin)
        if estimates
        else None,
        kappa=_agreement(table(answers, list(key.cases), "vote")),
        cases=_count_cases(key, answers),
    )


def _check_kinds(right: Mapping[str, np.ndarray], readers: Sequence[int]) -> None:
    for kind, rows in right.items():
        for reader, row in zip(readers, rows, strict=True):
            if (count := int((~np.isnan(row)).sum())) < 2:
                raise ValueError(
                    f"reader {reader} has answered {count} {kind} cases, expected 2 or "
                    "more: leave the file out"
                )


def _shares(
    readers: str,
    answers: Sequence[Answer],
    design: str,
    area_kernel: np.ndarray | None,
) -> Shares:
    first = [answer for answer in answers if not answer.trial.repeated]
    of_kind = {
        kind: [answer for answer in first if answer.trial.truth == kind]
        for kind in (REAL, SYNTHETIC)
    }

    def right(some: Sequence[Answer]) -> Interval:
        return share(sum(answer.right for answer in some), len(some))

    area = None
    if area_kernel is not None and not np.isnan(area_kernel).any():
        area = multireader.reader_area(area_kernel)
    earlier = {(answer.reader, answer.trial.cases): answer.answer for answer in first}
    same = [
        answer.answer == earlier[answer.reader, answer.trial.cases]
        for answer in answers
        if answer.trial.repeated and (answer.reader, answer.trial.cases) in earlier
    ]
    return Shares(
        readers=readers,
        accuracy=right(first),
        sensitivity=right(of_kind[SYNTHETIC]) if design == SINGLE else None,
        specificity=right(of_kind[REAL]) if design == SINGLE else None,
        repeatability=share(sum(same), len(same)),
        area=area,
        seconds=float(np.median([answer.seconds for answer in answers])),
        marked=float(np.mean([answer.marked for answer in answers])),
    )


def _random_effects(result: Estimate | None) -> RandomEffects | None:
    if result is None:
        return None
    return RandomEffects(
        interval=result.interval(),
        reader_sd=max(result.reader_variance, 0.0) ** 0.5,
        case_sd=max(result.case_variance, 0.0) ** 0.5,
    )


def _agreement(votes: np.ndarray) -> Interval | None:
    """Return Fleiss' kappa of (readers, cases), with a jackknife interval."""
    complete = votes[:, ~np.isnan(votes).any(axis=0)].T.astype(bool)
    if min(complete.shape) < 2:
        return None
    return intervals.estimate(fleiss_kappa, complete[None], limits=(-1.0, 1.0))


def _count_cases(key: Key, answers: Mapping[int, Sequence[Answer]]) -> list[CaseCount]:
    right = table(answers, list(key.cases), "right")
    counts = [
        CaseCount(
            case=case,
            right=int(np.nansum(column)),
            readers=int((~np.isnan(column)).sum()),
        )
        for case, column in zip(key.cases, right.T, strict=True)
    ]
    return sorted(
        (count for count in counts if count.readers),
        key=lambda count: -count.right / count.readers,
    )
