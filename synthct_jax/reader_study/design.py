"""The trials of each reader: balanced, in an order of their own, some of them twice.

Single-image trials show one case, and the reader says whether it is real or synthetic.
Two-alternative trials show a real and a synthetic case side by side, and the reader
says which side is synthetic.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.reader_study.settings import (
    ANSWERS,
    LEFT,
    PAIR,
    REAL,
    RIGHT,
    SINGLE,
    SYNTHETIC,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One question to one reader.

    Attributes:
        name: random letters, another for each reader and repetition.
        cases: names of the cases that it shows, from left to right.
        truth: the right answer, out of `ANSWERS`.
        repeated: whether the reader has seen the same cases before.
    """

    name: str
    cases: tuple[str, ...]
    truth: str
    repeated: bool

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Trial":
        return cls(**{**fields, "cases": tuple(fields["cases"])})


def choose_scans(
    real: Collection[str],
    synthetic: Collection[str],
    *,
    design: str,
    rng: np.random.Generator,
) -> list[tuple[str, str]]:
    """Choose as many real as synthetic scans, at random.

    A name that is on both lists is one person. A single-image study shows it once, as
    one of both; a two-alternative study shows such people alone, or pairs of different
    people if there are none.

    Args:
        real, synthetic: names of scans.

    Returns:
        Pairs of names, of a real and a synthetic scan.

    Raises:
        ValueError: fewer than two of each kind can be shown.
    """
    common = _shuffled(set(real) & set(synthetic), rng)
    if design == PAIR and common:
        lists = [common, common]
    else:
        lists = [_shuffled(set(n) - set(common), rng) for n in (real, synthetic)]
        for name in common:
            min(lists, key=len).append(name)
    pairs = list(zip(*lists, strict=False))
    if len(pairs) < 2:
        raise ValueError(
            f"{len(real)} real and {len(synthetic)} synthetic scans, {len(common)} "
            f"names on both lists: {len(pairs)} of each kind can be shown, expected 2 "
            "or more"
        )
    return pairs


def _shuffled(names: Collection[str], rng: np.random.Generator) -> list[str]:
    return rng.permutation(sorted(names)).tolist()


def make_trials(
    pairs: Sequence[tuple[str, str]],
    *,
    design: str,
    repeats: float,
    rng: np.random.Generator,
) -> list[Trial]:
    """Return the trials of a reader, in order.

    Each half has half of the real cases, or half of the pairs with the synthetic case
    on the left. A repeated trial is of the first half, and comes again about half of
    the trials later.

    Args:
        pairs: names of a real and a synthetic case each.
        repeats: share of all trials that is shown again, 0 to 0.5.
        rng: the reader's own.
    """
    if design == SINGLE:
        shown = [((real,), REAL) for real, _ in pairs]
        shown += [((synthetic,), SYNTHETIC) for _, synthetic in pairs]
    else:
        sides = rng.permutation([i % 2 == 0 for i in range(len(pairs))])
        shown = [
            ((synthetic, real), LEFT) if left else ((real, synthetic), RIGHT)
            for (real, synthetic), left in zip(pairs, sides, strict=True)
        ]
    by_answer = [[s for s in shown if s[1] == answer] for answer in ANSWERS[design]]
    halves = [[], []]
    for stimuli in by_answer:
        order = rng.permutation(len(stimuli))
        for half, places in zip(halves, np.array_split(order, 2), strict=True):
            half += [stimuli[place] for place in places]
    # A repetition follows each trial of the late half that stands for an early one.
    early, late = sorted(
        ([half[i] for i in rng.permutation(len(half))] for half in halves), key=len
    )
    again = set()
    for answer in ANSWERS[design]:
        places = [place for place, (_, truth) in enumerate(early) if truth == answer]
        count = min(round(repeats * len(shown) / 2), len(places))
        again |= set(rng.permutation(places)[:count].tolist())
    sequence = [(stimulus, False) for stimulus in early]
    for place, stimulus in enumerate(late):
        sequence.append((stimulus, False))
        if place in again:
            sequence.append((early[place], True))
    return [
        Trial(name=name, cases=cases, truth=truth, repeated=repeated)
        for name, ((cases, truth), repeated) in zip(
            _names(rng, len(sequence)), sequence, strict=True
        )
    ]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    """Return different names of eight letters."""
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choice(list("abcdefghijkmnpqrstuvwxyz"), 8))] = None
    return list(names)
