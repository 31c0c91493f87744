"""Adaptation by the modes of the program, each a process of its own.

    WORK/request.json         the model, the scans and the configuration
    WORK/data/                the site's scans, prepared
    WORK/simulated/           drawn people, whose CT is known
    WORK/run/                 the anchored training
    WORK/before/, after/      measurements of the model, and of the adapted one:
        site/, simulated/     evaluations on these data
        patients/NAME/        the site's MR, translated, with a quality sheet
    WORK/after/model.safetensors
    WORK/compare_site/, compare_simulated/
    WORK/adaptation.json      figures before and after, and what is worse

The same command repeats nothing that is done.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.dataset.manifest import FILE as PREPARED
from input_pipeline.dataset.manifest import read_manifest
from input_pipeline.phantom.ct import CONTRASTS
from synthct_jax.adaptation import report
from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.metadata import lists_to_tuples
from synthct_jax.configs.default import MODELS, MR_INPUTS
from synthct_jax.model.ranges import check_ranges
from synthct_jax.parallel.batches import simulates_pairs
from synthct_jax.runtime import signals
from synthct_jax.runtime.subprocesses import SubprocessRunner

Step = tuple[Path | None, list[str]]
"""The file that exists once a step is done, None to repeat it; its arguments."""


def run_adaptation(
    model: str,
    raw_dir: Path,
    output: Path,
    *,
    workdir: Path | None = None,
    config: ConfigDict | None = None,
    source: tuple[str, Mapping[str, Any]] | None = None,
    force: bool = False,
    subprocesses: SubprocessRunner | None = None,
) -> int:
    """Train a model further on unpaired scans; write it unless it is worse than before.

    Args:
        model: a model file, or the name of a shipped model.
        raw_dir: the scans, in the layout `folder` of `input_pipeline.scans.layout`.
        output: NAME.safetensors; NAME.json appears beside it. Neither may exist.
        workdir: by default NAME_adaptation beside `output`.
        config: an anchored training; None for that of `configs/folder.py`.
        source: file and overridden fields of `config`.
        force: whether to write it also if it is worse; the card says so.

    Returns:
        The exit status: 0, RESUMABLE after a signal, or that of a mode that failed.

    Raises:
        FileExistsError: one of the files exists, or `workdir` holds something else.
        FileNotFoundError, ValueError: the model or the configuration cannot be used,
            `workdir` adapts something else, or the adapted model is worse; says in what
            and by how much.
    """
    model_file.check_new(output)
    for folder in (raw_dir / "mr", raw_dir / "ct"):
        if not folder.is_dir():
            raise FileNotFoundError(f"--raw_dir: {folder}: no such folder")
    path = model_file.find_model(model)
    card = model_file.read_card(path)
    command = f"synthct adapt --model={path.stem} --raw_dir=RAW --output={output.name}"
    if config is None:
        kept = {
            "data.channel_dropout": card["config"]["data"].get("channel_dropout", 0)
        }
        arguments = _config_flags(
            _choose_config(card), kept if any(kept.values()) else {}
        )
    else:
        _check_config(config)
        file, overrides = source
        arguments = _config_flags(file, overrides)
        command = " ".join([command, *_config_flags(Path(file).name, overrides)])
    workdir = workdir or output.with_name(f"{output.stem}_adaptation")
    request = {"model": path.stem, "digest": card["digest"], "config": arguments}
    stated = {"command": command}
    if card["contrast_medium"] in CONTRASTS:  # else the card does not state it
        stated["contrast_medium"] = card["contrast_medium"]
    with _errors_that_name_the_flag():
        _claim(workdir, request | {"raw_dir": os.path.abspath(raw_dir)})
        files.write_file(workdir / "stated.json", json.dumps(stated))
    with subprocesses or SubprocessRunner() as subprocesses:
        steps = _steps(model, raw_dir, workdir, arguments)
        if status := _run(steps, subprocesses):
            return status
    figures = report.join(*map(report.measure, (workdir / "before", workdir / "after")))
    domains = read_manifest(workdir / "data").domains
    adaptation = {
        "from": path.stem,
        "digest": card["digest"],
        "mr_subjects": len(domains["mr"].subjects),
        "ct_subjects": len(domains["ct"].subjects),
        "worse": report.worse(figures),
    }
    document = json.dumps(adaptation | {"figures": figures}, indent=1) + "\n"
    files.write_file(workdir / "adaptation.json", document)
    print(f"\n{report.to_markdown(figures)}\n")
    print(f"Pictures, and all that was measured: {workdir}")
    if adaptation["worse"] and not force:
        raise ValueError(
            f"{output} was not written, since the adapted model is worse: "
            f"{'; '.join(adaptation['worse'])}. --force writes it all the same, and "
            "its card says so"
        )
    numbers = {
        report.describe(row): {
            "before": row["before"],
            "after": row["after"],
            "command": command,
        }
        for row in figures.values()
    }
    adapted = str(workdir / "after" / "model.safetensors")
    model_file.copy_model(adapted, output, numbers=numbers, adaptation=adaptation)
    print(f"Model: {output}, with its card beside it")
    return 0


@contextlib.contextmanager
def _errors_that_name_the_flag() -> Iterator[None]:
    """Add the flag of the working folder to errors of the system, as of a disk."""
    try:
        yield
    except OSError as error:
        if error.strerror:
            error.strerror += (
                "; --workdir names the folder of an adaptation, by default it is "
                "beside --output"
            )
        raise


def _choose_config(card: Mapping[str, Any]) -> str:
    """Return the anchored variant for the inputs and the contrast medium of a model."""
    wanted = tuple(card["inputs"]), card["contrast_medium"]
    for name, (inputs, contrast) in MODELS.items():
        if (MR_INPUTS[inputs], contrast) == wanted:
            return f"folder:anchored_{name}"
    raise ValueError(
        f"--model takes {', '.join(card['inputs'])} and gives CT {wanted[1]}, expected "
        f"inputs and contrast medium of one of {', '.join(MODELS)}: name the training "
        "by --config"
    )


def _check_config(config: ConfigDict) -> None:
    """Raise ValueError unless a training is anchored, on scans of one's own.

    Values outside their ranges are refused as well.
    """
    check_ranges(config)
    if config.data.source != "folder":
        raise ValueError(f"data.source is {config.data.source!r}, expected 'folder'")
    if config.method != "cyclegan" or not simulates_pairs(config):
        raise ValueError(
            f"--config: method is {config.method} and loss.simulated "
            f"{config.loss.simulated}, expected cyclegan and a weight of simulated "
            "pairs, as in folder:anchored_in_out_noncontrast"
        )


def _config_flags(file: str, overrides: Mapping[str, Any]) -> list[str]:
    fields = {name: lists_to_tuples(value) for name, value in overrides.items()}
    return [f"--config={file}", *(f"--config.{n}={v}" for n, v in fields.items())]


def _claim(workdir: Path, request: Mapping[str, Any]) -> None:
    """Write the request into a new folder; raise ValueError if it holds another one.

    One of which nothing is done, such as one with a wrong path, is replaced.
    """
    path, text = workdir / "request.json", json.dumps(request)
    if not path.exists():
        files.check_vacant(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
    done = [item for item in workdir.iterdir() if item.is_dir()]
    if all(item.name.startswith(".") for item in done):  # what SIGKILL has left
        files.write_file(path, text)
    elif (earlier := path.read_text(encoding="utf-8")) != text:
        raise ValueError(
            f"{workdir} is an adaptation with {earlier}, not with {text}: name another "
            "--workdir"
        )


def _run(steps: Iterable[Step], subprocesses: SubprocessRunner) -> int:
    """Run what is not done yet; return the status as `run_adaptation` does."""
    for done, arguments in steps:
        if done is not None and done.exists():
            continue
        status = None if subprocesses.stopped else subprocesses.run(*arguments)
        if subprocesses.stopped or status in signals.STOPPED:
            print("Stopped: the same command goes on")
            return signals.RESUMABLE
        if status:
            return status
    return 0


def _steps(
    model: str, raw_dir: Path, workdir: Path, config: Sequence[str]
) -> Iterator[Step]:
    """Yield the steps of an adaptation in their order."""
    data, simulated, run = (workdir / n for n in ("data", "simulated", "run"))
    before, after = workdir / "before", workdir / "after"
    exported, adapted = after / "uncalibrated.safetensors", after / "model.safetensors"
    start = f"--config.train.init_from={model}"
    drawn = ["--config.data.source=phantom", "--config.method=supervised"]

    def measure(measured: str | Path, folder: Path) -> Iterator[Step]:
        chosen = f"--model={measured}"
        for name, data_dir in (("site", data), ("simulated", simulated)):
            yield (
                folder / name,
                ["--mode=evaluate", chosen, f"--data_dir={data_dir}"]
                + [f"--output={folder / name}"],
            )
        patients = [f"--patients={raw_dir / 'mr'}", f"--output={folder / 'patients'}"]
        yield None, ["--mode=translate", chosen, *patients, "--force"]

    yield (
        data / PREPARED,
        ["--mode=prepare", *config, f"--raw_dir={raw_dir}", f"--data_dir={data}"],
    )
    yield (
        simulated / PREPARED,
        ["--mode=prepare", *config, *drawn, f"--data_dir={simulated}"],
    )
    yield from measure(model, before)
    yield (
        exported,
        ["--mode=train", *config, start, f"--data_dir={data}", f"--workdir={run}"],
    )
    yield (
        exported,
        ["--mode=export", f"--workdir={run}", f"--output={exported}"]
        + [f"--card={workdir / 'stated.json'}"],
    )
    yield (
        adapted,
        ["--mode=calibrate", f"--model={exported}", f"--data_dir={simulated}"]
        + [f"--output={adapted}"],
    )
    yield from measure(adapted, after)
    for name in ("site", "simulated"):
        comparison = workdir / f"compare_{name}"
        yield (
            comparison,
            ["--mode=compare", f"--runs={before / name},{after / name}"]
            + [f"--output={comparison}"],
        )
