"""Flags of the command line; `runtime.flag_help` keeps their help by mode."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from synthct_jax.dose import dose_flags  # noqa: F401, defines flags
from synthct_jax.evaluation import ct_flags  # noqa: F401, defines flags
from synthct_jax.reader_study import study_flags  # noqa: F401, defines flags
from synthct_jax.runtime import environment
from synthct_jax.runtime.flag_help import (
    COMMON,
    HELP,
    describe,
    flags_of,
    join_flags,
    modes_that_read,
)
from synthct_jax.runtime.mode_table import MODES, WITH_INPUT, WITH_MODEL

INPUT = flags.DEFINE_string(
    "input",
    None,
    describe(
        "input",
        translate="an MR. A DICOM folder with all phases, a zip archive of one, or "
        "volume files (NIfTI, MetaImage, NRRD) in the order of the model's channels, "
        "comma-separated. Without --workdir and --model their names say what they are.",
        organs="synthetic CT, comma-separated: outputs of translate, volume files or "
        "DICOM folders.",
        score__dose="a synthetic CT: an output of translate, a volume file or a DICOM "
        "folder.",
        send="an output of translate, or a folder of a CT series.",
    ),
)
SEND = flags.DEFINE_string(
    "send",
    None,
    describe(
        "send",
        translate__send="where the CT series goes: dicom://AE_TITLE@HOST:PORT "
        "(C-STORE), or dicomweb://HOST:PORT/PATH, http:// or https:// (STOW-RS). Needs "
        "pynetdicom, or requests.",
    ),
)
SERIES = flags.DEFINE_list(
    "series",
    [],
    describe(
        "series",
        translate="which DICOM series of a whole examination to read, where the "
        "program cannot tell: SeriesNumber, SeriesInstanceUID or a text in the "
        "SeriesDescription; comma-separated, if the channels are in several.",
    ),
)
PATIENTS = flags.DEFINE_string(
    "patients",
    None,
    describe(
        "patients",
        translate="in place of --input, a folder of patients. Each subfolder, zip "
        "archive or volume file in it is a scan, translated into OUTPUT/NAME. Those "
        "that are done are left as they are.",
    ),
)
CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string=describe(
        "config",
        prepare__train__plan__benchmark="a configuration that ships, or a file, with "
        "or without a variant: folder:in_out, my.py. Any field can be overridden: "
        "--config.model.width=8.",
        sweep="as for train, without a variant.",
        adapt="an anchored training, as for train; by default folder:anchored_MODEL.",
    ),
)
MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")
RAW_DIR = flags.DEFINE_string(
    "raw_dir",
    None,
    describe("raw_dir", prepare__sweep__adapt="scans, in the configuration's layout."),
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    describe(
        "data_dir",
        prepare="the folder to write, which must be new.",
        train="the prepared data. The phantom draws its own there, by default in "
        "WORKDIR/data.",
        calibrate="prepared MR of healthy people, with their CT where it is known.",
        evaluate__dose="other data than those of the training. A model file has none.",
        organs="prepared data. --input is MR then, and becomes a CT by two thresholds "
        "of brightness, chosen on the validation subjects of these data.",
    ),
)
ANATOMIES_DIR = flags.DEFINE_string(
    "anatomies_dir",
    None,
    describe(
        "anatomies_dir",
        train="label maps of drawn people, for simulated pairs (phantom.anatomies); "
        "drawn there if missing, by default in WORKDIR/anatomies. Runs of a seed share "
        "them.",
    ),
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    describe(
        "workdir",
        train="folder of the run; an existing run is resumed.",
        adapt="folder of data, run and reports, by default NAME_adaptation beside the "
        "output; the same command goes on.",
        evaluate__export__translate__dose="the run whose generator to use.",
        sweep="folder of all runs.",
    ),
)
MODEL = flags.DEFINE_string(
    "model",
    None,
    describe(
        "model",
        calibrate__adapt="a model file, FILE.safetensors, or the name of a model that "
        "ships.",
        evaluate__dose="in place of --workdir, a model file, FILE.safetensors, or the "
        "name of a model that ships.",
        export="in place of --workdir, a model to write as ONNX, as for translate. "
        "Needs the package onnx.",
        translate="a model file, FILE.safetensors, or the name of a model that ships. "
        "Without it and without --workdir, the shipped model that fits the channels of "
        "the input is taken, for CT without contrast medium.",
    ),
)
CARD = flags.DEFINE_string(
    "card",
    None,
    describe(
        "card",
        export="a JSON file with what the checkpoint does not know: trained_on, "
        "command, contrast_medium, licence, numbers.",
    ),
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    describe(
        "output",
        translate="a new folder.",
        export="a new NAME.safetensors; NAME.json appears beside it. With --model, a "
        "new NAME.onnx.",
        calibrate__adapt="a new NAME.safetensors; NAME.json appears beside it.",
        evaluate="a folder, by default WORKDIR/evaluation/STEP; with --watch, "
        "WORKDIR/evaluation.",
        compare="a folder, ./comparison by default.",
        benchmark="a JSON file, ./benchmark.json by default.",
        organs__score="a CSV file, by default none.",
        reader_kit__reader_study__dose="a folder: of the pages, or of the report.",
    ),
)
STEP = flags.DEFINE_integer(
    "step",
    None,
    describe(
        "step",
        evaluate__export__translate__dose="the checkpoint; by default the best "
        "validated one, or the latest.",
    ),
    lower_bound=0,
)
VIEWS = flags.DEFINE_integer(
    "views",
    None,
    describe(
        "views",
        evaluate__dose="flips and small shifts of each slice to average over, 1, 2, 4 "
        "or 8, in place of config.translate.views.",
        translate="flips and small shifts of each slice to average over, 1, 2, 4 or 8, "
        "in place of config.translate.views. With two or more, their spread is written "
        "as well.",
    ),
)
PSEUDONYMISE = flags.DEFINE_boolean(
    "pseudonymise",
    False,
    describe(
        "pseudonymise",
        translate="leave out of OUTPUT what the headers and the path of the MR say of "
        "the patient. The CT series keeps its place in mm, but has a made-up patient, "
        "study and frame of reference: a viewer does not lay it on the MR by itself. "
        "With --patients the folders keep their names.",
    ),
)
FORCE = flags.DEFINE_boolean(
    "force",
    False,
    describe(
        "force",
        translate="translate also an MR that the model's limits refuse; CT series and "
        "sheet say so.",
        adapt="write the model also if it is worse than before; its card says so.",
    ),
)
STRUCTURES = flags.DEFINE_boolean(
    "structures",
    False,
    describe(
        "structures",
        translate="write OUTPUT/structures.dcm as well, a DICOM RT Structure Set on "
        "the CT series: the outline of the body, and with two or more views or "
        "networks where they differ by more than 20 HU. --send sends it too.",
    ),
)
SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    describe(
        "split",
        evaluate__dose="the subjects; by default test, or validation or train if there "
        "are no others.",
    ),
)
INCEPTION = flags.DEFINE_string(
    "inception",
    None,
    describe(
        "inception",
        evaluate="file with the weights of Inception v3, for FID and KID; see "
        "synthct_jax/metrics/inception_weights.py.",
    ),
)
WATCH = flags.DEFINE_boolean(
    "watch",
    False,
    describe(
        "watch",
        evaluate="every checkpoint of a training, as soon as it is saved, until the "
        "last; may run on another machine. WORKDIR/evaluation/curve.html shows them.",
    ),
)
POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds",
    30.0,
    describe("poll_seconds", evaluate="seconds between two looks of --watch."),
    lower_bound=0.1,
)
RUNS = flags.DEFINE_list(
    "runs",
    None,
    describe(
        "runs",
        compare="two or more, comma-separated; the others are compared with the first. "
        "Folders of evaluations, of runs, whose newest evaluation is taken, or of a "
        "variant's runs seed_0, seed_1, ...",
    ),
)
VARIANTS = flags.DEFINE_list(
    "variants",
    None,
    describe("variants", sweep="variants of the configuration, comma-separated."),
)
SEEDS = flags.DEFINE_list(
    "seeds", ["0"], describe("seeds", sweep="comma-separated, each for all variants.")
)
ONLY = flags.DEFINE_integer(
    "only",
    -1,
    describe(
        "only",
        sweep="just this run, counted from 0 (all variants with the first seed, then "
        "with the next), without tables; -1: all, with tables.",
    ),
    lower_bound=-1,
)
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    describe(
        "topology",
        plan="devices to compile the training step for, which need not be present: "
        "TPUs such as v5e:4x4 (needs libtpu: pip install -e '.[tpu]'), or cpu:8, "
        "virtual ones.",
    ),
)
DEVICE = flags.DEFINE_enum(
    "device",
    None,
    list(environment.DEVICES),
    describe(
        "device",
        translate__calibrate__train__evaluate__sweep__adapt__benchmark__dose="kind of "
        "device to compute on. By default JAX chooses: TPUs, else GPUs, else the CPUs.",
    ),
)
DEBUG = flags.DEFINE_boolean(
    "debug",
    False,
    describe("debug", all="Show the traceback of an error, and what libraries log."),
)
TUNE = flags.DEFINE_boolean(
    "tune",
    True,
    describe(
        "tune",
        all="Tune the process for speed: huge pages, glibc's memory, flags of XLA, the "
        "cache of compiled programs, oneDNN (synthct_jax/runtime/environment.py). "
        "--notune leaves the process as it was started.",
    ),
)


def check(argv: Sequence[str]) -> None:
    """Raise ValueError for a flag that the mode lacks, or does not read."""
    if len(argv) > 1 and argv[1] in MODES:
        raise ValueError(f"the mode comes first: synthct {argv[1]} --NAME=VALUE ...")
    if len(argv) > 1:
        close = difflib.get_close_matches(argv[1], MODES, cutoff=0.7)
        hint = f"did you mean {close[0]}?" if close else "expected --NAME=VALUE"
        if Path(argv[1]).exists():
            mode = MODE.value if flags.FLAGS["mode"].present else "translate"
            hint = f"expected --NAME=VALUE, as in {MODES[mode].example}"
        raise ValueError(f"{argv[1]!r} is neither a mode nor a flag, {hint}")
    called, needs, reads = MODE.value, MODES[MODE.value].needs, flags_of(MODE.value)
    for flag, table in ((INPUT, WITH_INPUT), (MODEL, WITH_MODEL)):
        if flag.value is not None and MODE.value in table:
            called = f"{called} with --{flag.name}"
            needs, excluded = table[MODE.value]
            reads = [name for name in reads if name not in excluded]
            break
    names = sorted(HELP.keys() - set(COMMON))
    present = {name for name in names if flags.FLAGS[name].present}
    if empty := [name for name in sorted(present) if flags.FLAGS[name].value == ""]:
        raise ValueError(f"{join_flags(empty)}: empty, expected a value")
    if unread := [name for name in names if name in present - set(reads)]:
        raise ValueError(
            f"{called} does not read {join_flags(unread)}; it reads "
            f"{join_flags(reads)}{modes_that_read(unread, MODE.value)}"
        )
    if lacking := [name for name in names if name in set(needs) - present]:
        raise ValueError(f"{called} needs {join_flags(lacking)}")
    if MODE.value == "translate" and (INPUT.value is None) == (PATIENTS.value is None):
        raise ValueError("translate needs --input or --patients, one of them")
    if SEND.value is not None and PATIENTS.value is not None:
        raise ValueError("--send is of one patient: send each output by synthct send")
    if flags.FLAGS["step"].present and not flags.FLAGS["workdir"].present:
        raise ValueError("--step is of a checkpoint: it needs --workdir")
    for name in ("step", "views"):
        if WATCH.value and flags.FLAGS[name].present:
            raise ValueError(
                f"--watch evaluates every checkpoint: it does not read --{name}"
            )
    if flags.FLAGS["poll_seconds"].present and not WATCH.value:
        raise ValueError("evaluate reads --poll_seconds with --watch alone")
    if not TUNE.value and environment.is_tuning_allowed():
        raise ValueError("--notune is read before a --flagfile: give it as an argument")


def path(flag: flags.FlagHolder) -> Path | None:
    """Return the path in a flag, ~ expanded; None if the flag is not set."""
    return None if flag.value is None else Path(flag.value).expanduser()


def config_source() -> tuple[str, dict[str, Any]]:
    """Return the file of --config, and the fields that --config.FIELD overrides."""
    config = flags.FLAGS["config"]
    return (
        config_flags.get_config_filename(config),
        config_flags.get_override_values(config),
    )
