"""A kit for readers: a page for each, and the key, which stays with the organiser."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.countdown import Countdown
from input_pipeline.display import WINDOWS
from input_pipeline.files import check_vacant, new_folder, write_file
from input_pipeline.scans import archives
from input_pipeline.scans.nifti import READ_SUFFIXES, volume_suffix
from synthct_jax.evaluation.ct_files import read_ct
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.reader_study import stacks
from synthct_jax.reader_study.design import Trial, choose_scans, make_trials
from synthct_jax.reader_study.settings import (
    ANSWERS,
    PAIR,
    REAL,
    REPEATS,
    SLICES,
    SYNTHETIC,
)

_TIME = 946684800  # of every file of a kit: 1 January 2000


def make_kit(
    real: Sequence[str],
    synthetic: Sequence[str],
    *,
    output: Path,
    key: Path,
    readers: int,
    design: str,
    cases: int | None = None,
    slices: int = SLICES,
    repeats: float = REPEATS,
    seed: int = 0,
) -> list[Path]:
    """Write a page for each reader into `output`, and the key beside it.

    The same arguments give the same files.

    Args:
        real, synthetic: a folder of scans, or several scans: outputs of `translate`,
            volume files, zip archives or DICOM folders of CT.
        output: folder to write, with what readers get.
        key: JSON file to write, outside of it: what is real, and the order of trials.
        readers: number of them.
        design: 'single' or 'pair', see `design`.
        cases: number of cases, half of them synthetic, or of pairs; None for as many as
            there are.
        slices: number of slices of a case.
        repeats: share of the trials that is shown twice, 0 to 0.5.

    Returns:
        The pages.

    Raises:
        FileNotFoundError, ValueError: a scan is missing or unusable, there are too few,
            a number is outside its domain, or `key` lies in `output`.
        FileExistsError: `output` or `key` exists.
    """
    _check_places(output, key)
    for name, value, least in (("readers", readers, 1), ("slices", slices, 1)):
        if value < least:
            raise ValueError(f"--{name}={value}, expected {least} or more")
    if not 0 <= repeats <= 0.5:
        raise ValueError(f"--repeats={repeats:g}, expected 0 to 0.5")
    lists = {REAL: list_scans(real), SYNTHETIC: list_scans(synthetic)}
    names = choose_scans(*lists.values(), design=design, seed=seed)
    names = _limit(names, design, cases)
    sources = {
        f"{kind}_{place + 1}": lists[kind][pair[column]]
        for place, pair in enumerate(names)
        for column, kind in enumerate(lists)
    }
    images, frame = _draw(sources, slices, seed)
    pairs = [(f"{REAL}_{i + 1}", f"{SYNTHETIC}_{i + 1}") for i in range(len(names))]
    trials = {
        reader: make_trials(
            pairs, design=design, repeats=repeats, seed=seed, reader=reader
        )
        for reader in range(1, readers + 1)
    }
    digest = hashlib.sha256(f"{design}, {seed}, {repeats}".encode())
    for image in images.values():
        digest.update(image.tobytes())
    document = {
        "kit": digest.hexdigest()[:12],
        "design": design,
        "seed": seed,
        "pixel_mm": frame.pixel_mm,
        "slice_mm": frame.slice_mm,
        "cases": sources,
        "readers": {str(k): [vars(t) for t in each] for k, each in trials.items()},
    }
    key.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(output) as folder:
        for reader, own in trials.items():
            page = folder / f"reader_{reader}.html"
            page.write_text(
                _render(document, own, reader, images, frame), encoding="utf-8"
            )
            os.utime(page, (_TIME, _TIME))
        write_file(key, json.dumps(document, indent=1) + "\n")
    return sorted(output.iterdir())


def list_scans(paths: Sequence[str]) -> dict[str, str]:
    """Return the path of each scan by its name: those of a folder, or those named.

    Raises:
        ValueError: there is none, or two have one name; names them.
    """
    entries = [Path(path).expanduser() for path in paths]
    if len(entries) == 1:
        entries = [
            path
            for path in sorted(entries[0].iterdir())
            if not path.name.startswith(".") and (path.is_dir() or _suffix(path))
        ]
    scans: dict[str, str] = {}
    for path in entries:
        name = path.name if path.is_dir() else path.name.removesuffix(_suffix(path))
        if name in scans:
            raise ValueError(f"{scans[name]} and {path} have one name: rename one")
        scans[name] = str(path)
    if not scans:
        suffixes = ", ".join((archives.SUFFIX, *READ_SUFFIXES))
        raise ValueError(
            f"{paths[0]}: neither folders nor files that end with {suffixes}"
        )
    return scans


def _suffix(path: Path) -> str:
    """Return the suffix of a scan that is a file, '' of any other name."""
    if path.name.lower().endswith(archives.SUFFIX):
        return path.suffix
    return path.name[len(path.name) - len(volume_suffix(path.name)) :]


def _check_places(output: Path, key: Path) -> None:
    check_vacant(output)
    if key.exists():
        raise FileExistsError(f"{key} exists, and nothing is overwritten: name another")
    if key.resolve().is_relative_to(output.resolve()):
        raise ValueError(
            f"--key={key} lies in --output={output}, which readers get: name a file "
            "outside of it"
        )


def _limit(
    pairs: list[tuple[str, str]], design: str, cases: int | None
) -> list[tuple[str, str]]:
    """Return the pairs that so many cases need."""
    if cases is None:
        return pairs
    each = 1 if design == PAIR else 2
    if cases % each or not 2 * each <= cases <= each * len(pairs):
        even = "" if design == PAIR else "an even number "
        raise ValueError(
            f"--cases={cases}, expected {even}from {2 * each} to {each * len(pairs)}, "
            "which the scans allow"
        )
    return pairs[: cases // each]


def _draw(
    sources: dict[str, str], slices: int, seed: int
) -> tuple[dict[str, np.ndarray], stacks.Frame]:
    """Return the int16 stack of each case, and the grid of all.

    Scans are read twice, so that one at a time is in memory.
    """
    countdown = Countdown(2 * len(sources), "scans")
    extents = {}
    for name, path in sources.items():
        extents[name], _ = stacks.measure(read_ct(path))
        countdown.log(name)
    frame = stacks.common_frame(list(extents.values()), slices)
    cut = {}
    for place, (name, path) in enumerate(sources.items()):
        ct = read_ct(path)
        extent, mask = stacks.measure(ct)
        # Both cases of a pair are cut at the same share of their height.
        rng = np.random.default_rng([seed, place // 2])
        cut[name] = stacks.cut_stack(ct, extent, mask, frame=frame, rng=rng)
        countdown.log(name)
    matched = stacks.match_noise(list(cut.values()), np.random.default_rng(seed))
    return dict(zip(cut, matched, strict=True)), frame


def _render(
    document: dict[str, Any],
    trials: Sequence[Trial],
    reader: int,
    images: dict[str, np.ndarray],
    frame: stacks.Frame,
) -> str:
    """Return a reader's page; images are in the order in which the reader sees them."""
    order = list(dict.fromkeys(name for trial in trials for name in trial.cases))
    design = document["design"]
    study = {
        "kit": document["kit"],
        "reader": reader,
        "design": design,
        "answers": ANSWERS[design],
        "size": frame.size,
        "slices": frame.slices,
        "windows": [
            {"name": name, "low": window.low, "high": window.high}
            for name, window in WINDOWS.items()
        ],
        "trials": [
            {"name": t.name, "images": [order.index(name) for name in t.cases]}
            for t in trials
        ],
    }
    return render_page(
        "reader_page.html",
        study=study,
        images=[
            base64.b64encode(images[name].astype("<i2").tobytes()).decode()
            for name in order
        ],
    )
