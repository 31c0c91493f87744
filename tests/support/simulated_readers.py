"""Readers of known skill, who answer the trials of a key without a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthct_jax.reader_study.answers import Key
from synthct_jax.reader_study.design import make_trials
from synthct_jax.reader_study.settings import ANSWERS, MARGIN, SINGLE


def make_key(
    cases: int,
    readers: int,
    *,
    design: str = SINGLE,
    repeats: float = 0.0,
    margin: float = MARGIN,
) -> Key:
    """Make the key of a kit without images, of so many cases or pairs."""
    count = cases // 2 if design == SINGLE else cases
    pairs = [(f"real_{i}", f"synthetic_{i}") for i in range(count)]
    return Key(
        kit="made-up",
        design=design,
        margin=margin,
        cases={name: f"CT/{name}" for pair in pairs for name in pair},
        trials={
            reader: make_trials(
                pairs,
                design=design,
                repeats=repeats,
                rng=np.random.default_rng([0, reader]),
            )
            for reader in range(1, readers + 1)
        },
    )


def right_answers(
    accuracy: float,
    *,
    readers: int,
    cases: int,
    reader_sd: float,
    case_sd: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return right answers, (readers, cases), of readers and cases drawn at random."""
    skill = rng.normal(accuracy, reader_sd, (readers, 1))
    ease = rng.normal(0, case_sd, cases)
    return (rng.random((readers, cases)) < np.clip(skill + ease, 0, 1)).astype(float)


def guess(key: Key, skills: Sequence[float], *, seed: int) -> dict[int, dict[str, Any]]:
    """Return what readers save who are right with these probabilities."""
    rng = np.random.default_rng(seed)
    return {
        reader: answer(key, reader, rng.random(len(key.trials[reader])) < skill)
        for reader, skill in zip(key.trials, skills, strict=True)
    }


def answer(key: Key, reader: int, right: Sequence[bool]) -> dict[str, Any]:
    """Return what a reader saves who is right in some trials, and surer there."""
    rng = np.random.default_rng(reader)
    first, second = ANSWERS[key.design]
    wrong = {first: second, second: first}
    return {
        "kit": key.kit,
        "reader": reader,
        "answers": [
            {
                "trial": trial.name,
                "answer": trial.truth if is_right else wrong[trial.truth],
                "confidence": int(rng.integers(1, 5)) + bool(is_right),
                "seconds": 4.0,
                "mark": None,
            }
            for trial, is_right in zip(key.trials[reader], right, strict=True)
        ],
    }


def write(folder: Path, documents: Mapping[int, Mapping[str, Any]]) -> Path:
    """Write the files of readers into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for reader, document in documents.items():
        path = folder / f"answers_{reader}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder
