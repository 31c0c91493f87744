"""Division into train, validation and test: of subjects, never of slices."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np

from input_pipeline.dataset.manifest import SPLITS
from input_pipeline.preparation.jobs import PhantomJob, ScanJob
from input_pipeline.ranges import check_choice
from input_pipeline.scans import layout

TRAIN_LESIONS = ("", "both", "mr", "ct", "none")
"""Training images with added lesions; "": nobody has any, in whichever split."""


def split_subjects(
    names: Iterable[str], fractions: Sequence[float], *, seed: int
) -> dict[str, str]:
    """Assign subjects to train, validation and test at random.

    Fractions are rounded; a fraction above 0 gets at least one subject as long as
    training keeps one, the test split first. So one subject trains, two are train and
    test, three one of each.

    Raises:
        ValueError: fractions that are negative, do not sum to 1, or leave no training.
    """
    fractions = tuple(fractions)
    sensible = len(fractions) == 3 and min(fractions) >= 0 and fractions[0] > 0
    if not sensible or not abs(sum(fractions) - 1) <= 1e-6:
        raise ValueError(
            f"data.split is {fractions}, expected fractions for train, validation and "
            "test that sum to 1, train above 0"
        )
    names = sorted(names)
    left = len(names) - 1
    sizes = {}
    for split in ("test", "validation"):
        fraction = fractions[SPLITS.index(split)]
        wanted = max(1, round(len(names) * fraction)) if fraction else 0
        sizes[split] = max(0, min(wanted, left))
        left -= sizes[split]
    order = np.random.default_rng([seed, len(names)]).permutation(len(names))
    splits = ["test"] * sizes["test"] + ["validation"] * sizes["validation"]
    splits += ["train"] * (len(names) - len(splits))
    return {names[place]: split for place, split in zip(order, splits, strict=True)}


def split_scans(
    scans: Sequence[layout.ScanPath],
    fractions: Sequence[float],
    *,
    seed: int,
    warnings: list[str],
) -> list[ScanJob]:
    """Make a job of each scan; one person is in the same split in both domains.

    Args:
        warnings: domains without validation or test subjects are appended here.
    """
    domains = collections.defaultdict(set)
    for scan in scans:
        domains[scan.name].add(scan.domain)
    split_of = {}
    for kind in ({"mr"}, {"ct"}, {"mr", "ct"}):
        names = [name for name, those in domains.items() if those == kind]
        split_of |= split_subjects(names, fractions, seed=seed)
    for domain in ("mr", "ct"):
        splits = {split_of[s.name] for s in scans if s.domain == domain}
        count = sum(s.domain == domain for s in scans)
        missing = [split for split in SPLITS if split not in splits]
        if count == 1:
            warnings.append(
                f"{domain}: a single subject, all of it is training data; nothing "
                "measured on it says how well an unseen patient would do"
            )
        elif missing:
            warnings.append(
                f"{domain}: {count} subjects, none left for {' and '.join(missing)}"
            )
    mr_paths = {scan.name: str(scan.path) for scan in scans if scan.domain == "mr"}
    return [
        ScanJob(
            name=scan.name,
            split=split_of[scan.name],
            domain=scan.domain,
            path=str(scan.path),
            mr_path=mr_paths.get(scan.name) if scan.domain == "ct" else None,
        )
        for scan in scans
    ]


def phantom_jobs(phantom, seed: int, *, paired: bool = False) -> list[PhantomJob]:
    """Make a job of each phantom.

    Training subjects have one modality each, or both if they are pairs; the others
    both, and the labels. Pairs come last: the others are the same people without them.

    Args:
        phantom: `config.phantom`.
        paired: the MR training subjects have their CT as well and the others are not
            drawn. All who are drawn are the same people as without.

    Raises:
        ValueError: `phantom.train_lesions` is unknown, or does not go with the anatomy
            or with pairs.
    """
    check_lesions(phantom, paired=paired)
    everything = ("mr", "ct", "labels")
    groups = (
        (phantom.train_mr, "train", ("mr", "ct") if paired else ("mr",)),
        (phantom.train_ct, "train", () if paired else ("ct",)),
        (phantom.validation, "validation", everything),
        (phantom.test, "test", everything),
        (phantom.pairs, "train", ("mr", "ct")),
    )
    people = [
        (split, domains, _has_lesions(phantom.train_lesions, split, domains, place))
        for count, split, domains in groups
        for place in range(count)
    ]
    return [
        PhantomJob(
            name=f"phantom_{number:04d}",
            split=split,
            domains=domains,
            seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]),
            slices=int(phantom.slices),
            slice_mm=float(phantom.slice_mm),
            contrast=phantom.contrast,
            scanner=phantom.scanner,
            anatomy=phantom.anatomy,
            lesions=lesions,
            level_mm=float(phantom.ct_offset_mm) if domains == ("ct",) else 0.0,
        )
        for number, (split, domains, lesions) in enumerate(people)
        if domains
    ]


def check_lesions(phantom, *, paired: bool) -> None:
    """Raise ValueError for training lesions as `phantom_jobs` does."""
    where = phantom.train_lesions
    check_choice("phantom.train_lesions", where, TRAIN_LESIONS)
    if where and phantom.anatomy == "varied":
        raise ValueError(
            f"phantom.train_lesions is {where!r}, expected '' with phantom.anatomy="
            "varied: its people have lesions of their own"
        )
    if where in ("mr", "ct") and (paired or phantom.pairs):
        raise ValueError(
            f"phantom.train_lesions is {where!r}, expected '', 'both' or 'none' with "
            "method=supervised or phantom.pairs: a pair shows the same person"
        )


def _has_lesions(where: str, split: str, domains: Sequence[str], place: int) -> bool:
    """Return whether a person of a split has added lesions.

    Without training every second person has, so that erasing and inventing can be told.
    """
    if split == "train":
        return where == "both" or where in domains
    return bool(where) and place % 2 == 0
