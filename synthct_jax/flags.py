"""Flags of the command line, and the modes that need and read each of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from synthct_jax.metrics import tissues
from synthct_jax.runtime import environment


@dataclasses.dataclass(frozen=True)
class Mode:
    """The flags that a mode cannot do without, and those that it reads besides."""

    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()


MODES = {
    "prepare": Mode(("config", "data_dir"), ("raw_dir",)),
    "train": Mode(("config", "workdir"), ("data_dir", "anatomies_dir")),
    "evaluate": Mode(
        ("workdir",),
        (
            *("data_dir", "output", "step", "views", "split", "inception"),
            *("watch", "poll_seconds"),
        ),
    ),
    "compare": Mode(("runs",), ("output",)),
    "export": Mode(("workdir", "output"), ("step", "card")),
    "translate": Mode(("input", "output"), ("workdir", "step", "views")),
    "organs": Mode(("input", "masks"), ("organs", "contrast", "data_dir", "output")),
    "sweep": Mode(("config", "workdir", "variants"), ("seeds", "raw_dir", "only")),
    "plan": Mode(("config", "topology")),
    "benchmark": Mode(("config",), ("output",)),
}
# With a model file in place of a run.
WITH_MODEL = {
    "evaluate": Mode(("model", "data_dir", "output"), ("views", "split", "inception")),
    "translate": Mode(("model", "input", "output"), ("views",)),
}

CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="prepare, train, plan, benchmark: FILE or FILE:VARIANT, such as "
    "configs/phantom.py:in. Any field can be overridden: --config.model.width=8. "
    "sweep: FILE. The other modes read the configuration from the checkpoint.",
)
MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")
RAW_DIR = flags.DEFINE_string(
    "raw_dir", None, "prepare, sweep: the scans, in the layout of the configuration."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "prepare: the folder to write, which must be new. train: the prepared data; the "
    "phantom draws its own there (by default in WORKDIR/data). evaluate: other data "
    "than those of the training. organs: --input is MR, and measured is a CT by two "
    "thresholds of brightness, chosen on the validation subjects of these data.",
)
ANATOMIES_DIR = flags.DEFINE_string(
    "anatomies_dir",
    None,
    "train: label maps of drawn people, for simulated pairs (phantom.anatomies); drawn "
    "there if missing, by default in WORKDIR/anatomies. Runs of a seed share them.",
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "train: folder of the run; an existing run is resumed. evaluate, export, "
    "translate: the run whose generator to use. sweep: folder of all its runs.",
)
MODEL = flags.DEFINE_string(
    "model",
    None,
    "evaluate, translate: in place of --workdir, a model file, FILE.safetensors, or "
    "the name of a model that ships. By default translate takes the shipped model that "
    "fits the channels of the input, for CT without contrast medium.",
)
CARD = flags.DEFINE_string(
    "card",
    None,
    "export: a JSON file with what the card is to state and the checkpoint does not "
    "know: trained_on, command, contrast_medium, licence, numbers.",
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    "translate: an MR. A DICOM folder with all phases, or NIfTI files in the order of "
    "the model's channels, comma-separated; without --workdir and --model their names "
    "say in_phase, out_of_phase or t2. organs: synthetic CT, comma-separated: outputs "
    "of translate, NIfTI files or DICOM folders.",
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "translate: a new folder. export: a new file, NAME.safetensors; NAME.json appears "
    "beside it. evaluate: WORKDIR/evaluation/STEP by default; with "
    "--watch, WORKDIR/evaluation. compare: ./comparison by default. benchmark: a JSON "
    "file, ./benchmark.json by default. organs: a CSV file, by default none.",
)
STEP = flags.DEFINE_integer(
    "step",
    None,
    "evaluate, export, translate: the checkpoint; by default the best validated one, "
    "or the latest.",
    lower_bound=0,
)
VIEWS = flags.DEFINE_integer(
    "views",
    None,
    "evaluate, translate: flips and small shifts of each slice to average over, 1, 2, "
    "4 or 8, in place of config.translate.views; translate then writes their spread.",
)
SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "evaluate: the subjects; by default test, or validation or train if there are no "
    "others.",
)
INCEPTION = flags.DEFINE_string(
    "inception",
    None,
    "evaluate: file with the weights of Inception v3, for FID and KID; see "
    "synthct_jax/metrics/inception_weights.py.",
)
WATCH = flags.DEFINE_boolean(
    "watch",
    False,
    "evaluate: every checkpoint of a training, as soon as it is saved, until the last; "
    "may run on another machine. WORKDIR/evaluation/curve.html shows the steps.",
)
POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds",
    30.0,
    "evaluate --watch: time between two looks for new checkpoints.",
    lower_bound=0.0,
)
RUNS = flags.DEFINE_list(
    "runs",
    None,
    "compare: two or more, comma-separated; the others are compared with the first. "
    "Folders of evaluations, of runs, whose newest evaluation is taken, or of a "
    "variant's runs seed_0, seed_1, ...",
)
MASKS = flags.DEFINE_list(
    "masks",
    None,
    "organs: for each CT, or one for all, a NIfTI file of labels or a JSON file of "
    "regions (synthct_jax/evaluation/organs.py), on the grid of the MR.",
)
ORGANS = flags.DEFINE_list(
    "organs", [], "organs: organs of NIfTI labels, such as 1:liver,2:kidney,3:kidney."
)
CONTRAST = flags.DEFINE_enum(
    "contrast",
    tissues.CONTRASTS[0],
    tissues.CONTRASTS,
    "organs: contrast medium of the CT, for the ranges.",
)
VARIANTS = flags.DEFINE_list(
    "variants", None, "sweep: variants of the configuration, comma-separated."
)
SEEDS = flags.DEFINE_list(
    "seeds", ["0"], "sweep: each trains every variant; comma-separated."
)
ONLY = flags.DEFINE_integer(
    "only",
    -1,
    "sweep: just this run, counted from 0 (all variants with the first seed, then with "
    "the next), without tables; -1: all, with tables.",
    lower_bound=-1,
)
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "plan: devices to compile the training step for, which need not be present: TPUs "
    "such as v5e:4x4 (needs libtpu: pip install -e '.[tpu]'), or cpu:8, virtual ones.",
)
DEBUG = flags.DEFINE_boolean(
    "debug", False, "Show the traceback of an error, and what libraries log."
)
TUNE = flags.DEFINE_boolean(
    "tune",
    True,
    "Tune the process for speed: huge pages, glibc's memory, flags of XLA, the cache "
    "of compiled programs, oneDNN (synthct_jax/runtime/environment.py). --notune "
    "leaves the process as it was started.",
)


def check(argv: Sequence[str]) -> None:
    """Raise ValueError for a flag that the mode lacks, or does not read."""
    if len(argv) > 1:
        raise ValueError(f"{argv[1]!r} is not a flag, expected --NAME=VALUE")
    mode, called = MODES[MODE.value], f"--mode={MODE.value}"
    if MODEL.value is not None and MODE.value in WITH_MODEL:
        mode, called = WITH_MODEL[MODE.value], f"{called} with --model"
    every = [*MODES.values(), *WITH_MODEL.values()]
    for name in sorted({n for m in every for n in m.needs + m.reads}):
        present = flags.FLAGS[name].present
        if name in mode.needs and not present:
            raise ValueError(f"{called} needs --{name}")
        if present and name not in mode.needs + mode.reads:
            names = ", ".join(f"--{n}" for n in mode.needs + mode.reads)
            raise ValueError(f"{called} does not read --{name}; it reads {names}")
    if flags.FLAGS["step"].present and not flags.FLAGS["workdir"].present:
        raise ValueError("--step is of a checkpoint: it needs --workdir")
    for name in ("step", "views"):
        if WATCH.value and flags.FLAGS[name].present:
            raise ValueError(
                f"--watch evaluates every checkpoint: it does not read --{name}"
            )
    if flags.FLAGS["poll_seconds"].present and not WATCH.value:
        raise ValueError("--mode=evaluate reads --poll_seconds with --watch alone")
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
