"""A kit for readers: a page for each, and the key, which stays with the organiser."""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.countdown import Countdown
from input_pipeline.digests import with_digest
from input_pipeline.display import WINDOWS
from input_pipeline.files import check_vacant, new_folder, write_file
from input_pipeline.scans.layout import list_scans, name_scans
from input_pipeline.scans.nifti import volume_suffix
from input_pipeline.scans.read_scan import mr_in_name
from input_pipeline.volume import UnusableScan
from synthct_jax.evaluation.ct_files import SYNTHETIC_CT, read_ct
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.reader_study import stacks
from synthct_jax.reader_study.design import Trial, choose_scans, make_trials
from synthct_jax.reader_study.sample_size import check_margin
from synthct_jax.reader_study.settings import (
    ANSWERS,
    MARGIN,
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
    seed: int | None = None,
    margin: float = MARGIN,
) -> list[Path]:
    """Write a page for each reader into `output`, and the key beside it.

    The same arguments with a seed give the same files.

    Args:
        real, synthetic: a folder of scans, or scans: outputs of `translate`, volume
            files, zip archives or DICOM folders of CT.
        output: folder to write, with what readers get.
        key: JSON file to write, outside of it: what is real, and the order of trials.
        readers: number of them.
        design: 'single' or 'pair', see `design`.
        cases: number of cases, half of them synthetic, or of pairs; None for as many as
            there are.
        slices: number of slices of a case.
        repeats: share of the trials that is shown twice, 0 to 0.5.
        seed: of all that is drawn, as secret as the key, which has it; None for a
            random one.
        margin: distance of the accuracy from 1/2 that counts as guessing, for the key.

    Returns:
        The pages.

    Raises:
        FileNotFoundError, ValueError: a scan is missing or unusable, a real one is an
            MR by its headers or its name, there are too few,
            a number is outside its domain, or `key` lies in `output`.
        FileExistsError: `output` or `key` exists.
    """
    _check_places(output, key)
    # Truth and order follow from the seed: a reader must not be able to guess it.
    seed = secrets.randbits(64) if seed is None else seed
    for name, value, least in (
        ("readers", readers, 1),
        ("slices", slices, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"--{name}={value}, expected {least} or more")
    check_margin(margin)
    if not 0 <= repeats <= 0.5:
        raise ValueError(f"--repeats={repeats:g}, expected 0 to 0.5")
    lists = {REAL: _find_scans(real), SYNTHETIC: _find_scans(synthetic)}
    _check_names(lists[REAL].values())
    streams = np.random.default_rng(seed).spawn(3 + readers)
    scan_rng, height_rng, noise_rng, *reader_rngs = streams
    names = choose_scans(*lists.values(), design=design, rng=scan_rng)
    names = _limit(names, design, cases)
    sources = {
        f"{kind}_{place + 1}": str(lists[kind][pair[column]])
        for place, pair in enumerate(names)
        for column, kind in enumerate(lists)
    }
    # Both cases of a pair are cut at the same share of their height.
    heights = np.repeat(height_rng.random(len(names)), len(lists))
    cut, frame = _cut(sources, slices, heights)
    matched = stacks.match_noise(list(cut.values()), noise_rng)
    images = dict(zip(cut, matched, strict=True))
    pairs = [(f"{REAL}_{i + 1}", f"{SYNTHETIC}_{i + 1}") for i in range(len(names))]
    trials = {
        reader: make_trials(pairs, design=design, repeats=repeats, rng=rng)
        for reader, rng in enumerate(reader_rngs, start=1)
    }
    digest = hashlib.sha256(f"{design}, {seed}, {repeats}".encode())
    for image in images.values():
        digest.update(image.tobytes())
    document = {
        "kit": digest.hexdigest()[:12],
        "design": design,
        "margin": margin,
        "seed": seed,
        "pixel_mm": frame.pixel_mm,
        "slice_mm": frame.slice_mm,
        "cases": sources,
        "readers": {str(k): [vars(t) for t in each] for k, each in trials.items()},
    }
    key.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_folder(output) as folder:
            for reader, own in trials.items():
                page = folder / f"reader_{reader}.html"
                page.write_text(
                    _render(document, own, reader, images, frame), encoding="utf-8"
                )
                os.utime(page, (_TIME, _TIME))
            write_file(key, json.dumps(with_digest(document), indent=1) + "\n")
    except BaseException:  # Ctrl-C and SIGTERM as well
        key.unlink(missing_ok=True)
        raise
    return sorted(output.iterdir())


def _find_scans(paths: Sequence[str]) -> dict[str, Path]:
    """Return the path of each scan by its name: those of a folder, or those named."""
    named = [Path(path).expanduser() for path in paths]
    is_scan = named[0].is_file() or (named[0] / SYNTHETIC_CT).exists()
    return name_scans(named) if is_scan or len(named) > 1 else list_scans(named[0])


def _check_names(real: Iterable[Path]) -> None:
    """Raise UnusableScan if a volume file, or its folder, is an MR by its name.

    Unlike DICOM it does not say what it shows.
    """
    for scan in real:
        paths = sorted(scan.iterdir()) if scan.is_dir() else [scan]
        for path in filter(lambda path: volume_suffix(path.name), paths):
            if word := mr_in_name(path.name) or mr_in_name(scan.name):
                raise UnusableScan(
                    f"--real: {path}: an MR by its name, {word!r}; expected CT. If it "
                    "is one, put ct into its name"
                )


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


def _cut(
    sources: dict[str, str], slices: int, heights: Sequence[float]
) -> tuple[dict[str, stacks.Stack], stacks.Frame]:
    """Return the stack of each case, at a height in its body, and the grid of all.

    Scans are read twice, so that one at a time is in memory.
    """
    countdown = Countdown(2 * len(sources), "scans")
    extents = {}
    for name, path in sources.items():
        extents[name], _ = stacks.measure(read_ct(path))
        countdown.log(name)
    frame = stacks.common_frame(list(extents.values()), slices)
    cut = {}
    for (name, path), height in zip(sources.items(), heights, strict=True):
        ct = read_ct(path)
        extent, mask = stacks.measure(ct)
        cut[name] = stacks.cut_stack(ct, extent, mask, frame=frame, height=height)
        countdown.log(name)
    return cut, frame


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
