"""The key of a kit and the answers to it, from files to arrays."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.digests import check_digest
from synthct_jax.reader_study.design import Trial
from synthct_jax.reader_study.sample_size import check_margin
from synthct_jax.reader_study.settings import ANSWERS, REAL, SYNTHETIC

CONFIDENCES = range(1, 6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Key:
    """The truth about a kit.

    Attributes:
        margin: distance of the accuracy from 1/2 that counts as guessing.
        cases: path of the scan of each case; the name of a case starts with its kind.
        trials: of each reader, by number, in order.

    Raises:
        ValueError: design or margin is outside its domain.
    """

    kit: str
    design: str
    margin: float
    cases: Mapping[str, str]
    trials: Mapping[int, Sequence[Trial]]

    def __post_init__(self):
        if self.design not in ANSWERS:
            raise ValueError(
                f"design is {self.design!r}, expected one of {', '.join(ANSWERS)}"
            )
        check_margin(self.margin)

    @property
    def real(self) -> list[str]:
        """Names of the real cases."""
        return [name for name in self.cases if name.startswith(REAL)]

    @property
    def synthetic(self) -> list[str]:
        """Names of the synthetic cases, which also stand for their pairs."""
        return [name for name in self.cases if name.startswith(SYNTHETIC)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """A reader's answer to a trial.

    Attributes:
        reader: number of the reader.
        trial: as the key has it.
        answer: out of the design's `ANSWERS`.
        confidence: 1, a guess, to 5, certain.
        seconds: for which the trial was seen.
        marked: whether the reader clicked on what gave it away.
    """

    reader: int
    trial: Trial
    answer: str
    confidence: int
    seconds: float
    marked: bool

    @property
    def right(self) -> bool:
        return self.answer == self.trial.truth

    @property
    def case(self) -> str:
        """Name of the case; that of the synthetic case stands for a pair."""
        return next(
            (name for name in self.trial.cases if name.startswith(SYNTHETIC)),
            self.trial.cases[0],
        )

    @property
    def score(self) -> int:
        """Confidence that a single case is synthetic: -5, surely real, to 5."""
        return self.confidence if self.answer == SYNTHETIC else -self.confidence

    @property
    def vote(self) -> bool:
        """True if the reader called a single case synthetic, or picked the synthetic
        case of a pair."""
        return self.right if len(self.trial.cases) > 1 else self.answer == SYNTHETIC


def read_key(path: Path) -> Key:
    """Read the key of a kit.

    Raises:
        ValueError: the file is no key, or was edited or damaged; names it.
    """
    document = _read(path)
    try:
        check_digest(document)
        return Key(
            kit=document["kit"],
            design=document["design"],
            margin=document["margin"],
            cases=document["cases"],
            trials={
                int(reader): [Trial.from_json(fields) for fields in trials]
                for reader, trials in document["readers"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not the key of a kit: {error}") from error


def read_answers(paths: Sequence[Path], key: Key) -> dict[int, list[Answer]]:
    """Return the answers of each reader, by number.

    Args:
        paths: files that readers saved, or folders of them.

    Raises:
        ValueError: a file is of another kit, of a reader who is not in the key or has
            another file, or has an answer that its page cannot give; there is none.
    """
    answers: dict[int, list[Answer]] = {}
    files: dict[int, Path] = {}
    for path in _files(paths):
        document = _read(path)
        if document.get("kit") != key.kit:
            raise ValueError(
                f"{path}: kit is {document.get('kit')!r}, expected {key.kit!r}, as in "
                "the key"
            )
        reader = document.get("reader")
        if not _is_one_of(reader, key.trials):
            raise ValueError(
                f"{path}: reader is {reader!r}, expected one of "
                f"{', '.join(map(str, key.trials))}, as in the key"
            )
        if reader in files:
            raise ValueError(
                f"{path} and {files[reader]} are both of reader {reader}: keep the last"
            )
        if not isinstance(document.get("answers"), list):
            raise ValueError(f"{path}: has no list of answers, expected one")
        files[reader] = path
        trials = {trial.name: trial for trial in key.trials[reader]}
        answers[reader] = [
            _answer(fields, reader, trials, design=key.design, path=path)
            for fields in document["answers"]
        ]
        names = [answer.trial.name for answer in answers[reader]]
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: a trial is answered twice, expected once")
    if not answers:
        raise ValueError(f"no answers in {', '.join(map(str, paths))}")
    return dict(sorted(answers.items()))


def table(
    answers: Mapping[int, Sequence[Answer]], cases: Sequence[str], value: str
) -> np.ndarray:
    """Return an attribute of first answers, (readers, cases); NaN where there is none.

    Args:
        value: 'right', 'score' or 'vote' of an Answer.
    """
    values = np.full((len(answers), len(cases)), np.nan)
    places = {name: place for place, name in enumerate(cases)}
    for row, each in zip(values, answers.values(), strict=True):
        for answer in each:
            if not answer.trial.repeated and answer.case in places:
                row[places[answer.case]] = getattr(answer, value)
    return values


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.json")) if path.is_dir() else [path]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ValueError(f"{path}: a JSON {kind}, expected an object")
    return document


def _answer(
    fields: Any, reader: int, trials: Mapping[str, Trial], *, design: str, path: Path
) -> Answer:
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: an answer is {fields!r}, expected an object")
    domains = {"answer": ANSWERS[design], "confidence": CONFIDENCES}
    for name, domain in {"trial": list(trials), **domains}.items():
        if not _is_one_of(fields.get(name), domain):
            expected = "one of the reader's trials in the key"
            if name in domains:
                expected = f"one of {', '.join(map(str, domain))}"
            raise ValueError(
                f"{path}: {name} is {fields.get(name)!r}, expected {expected}"
            )
    seconds = fields.get("seconds")
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"{path}: seconds are {seconds!r}, expected a number from 0")
    return Answer(
        reader=reader,
        trial=trials[fields["trial"]],
        answer=fields["answer"],
        confidence=fields["confidence"],
        seconds=float(seconds),
        marked=bool(fields.get("mark")),
    )


def _is_one_of(value: Any, domain: Iterable[Any]) -> bool:
    """Return whether a JSON value is in a domain, where `true` is not 1."""
    return any(type(value) is type(each) and value == each for each in domain)
