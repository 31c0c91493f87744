"""Entry point of every mode. Short on purpose: what a mode does is in its own module.

    python -m synthct_jax.main --config=configs/chaos.py --mode=prepare \\
        --raw_dir=RAW --data_dir=DATA
    python -m synthct_jax.main --config=configs/chaos.py --data_dir=DATA --workdir=RUN
    python -m synthct_jax.main --mode=evaluate --workdir=RUN [--step=N | --watch]
    python -m synthct_jax.main --mode=compare --runs=A,B
    python -m synthct_jax.main --mode=translate --workdir=RUN --input=IN --output=OUT
    python -m synthct_jax.main --mode=sweep --config=configs/phantom.py \\
        --variants=in_out,in,out --seeds=0,1,2 --workdir=SWEEP
    python -m synthct_jax.main --mode=plan --config=configs/chaos.py --topology=v5e:4x4
    python -m synthct_jax.main --mode=benchmark --config=configs/chaos.py

Exit status: 0 done; 75 (EX_TEMPFAIL) training or a sweep was stopped by SIGTERM, or by
SIGINT where it is one process, and is saved, the same command goes on; 2 the request
cannot be met, standard error says why; 1 everything else, a training that hung among
it.
"""

import os
import re
import signal
import sys
import traceback
from logging import WARNING, LogRecord
from pathlib import Path
from types import FrameType
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from synthct_jax.runtime import environment

STOPPED = os.EX_TEMPFAIL
MISTAKEN = 2

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="prepare, train, plan: FILE or FILE:VARIANT, such as "
    "configs/phantom.py:in. Any field can be overridden: --config.model.width=8. "
    "sweep: FILE. The other modes take the configuration out of the checkpoint.",
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    [
        "prepare",
        "train",
        "evaluate",
        "compare",
        "translate",
        "sweep",
        "plan",
        "benchmark",
    ],
    "What to do.",
)
_RAW_DIR = flags.DEFINE_string(
    "raw_dir", None, "prepare, sweep: the scans, in the layout of the configuration."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "prepare: where to, a new folder. train: the prepared data; the phantom draws its "
    "own there (by default in WORKDIR/data). evaluate: other data than those of the "
    "training.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "train: folder of the run; a run that is there already is resumed. evaluate, "
    "translate: the run whose generator to use. sweep: folder of all its runs.",
)
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "translate: an MR. A DICOM folder with all phases, or NIfTI files in the order of "
    "the model's channels, comma-separated.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "translate: a new folder. evaluate: WORKDIR/evaluation/STEP by default; with "
    "--watch, WORKDIR/evaluation. compare: ./comparison by default. benchmark: a JSON "
    "file, ./benchmark.json by default.",
)
_STEP = flags.DEFINE_integer(
    "step",
    None,
    "evaluate, translate: the checkpoint; by default the best that was validated, or "
    "the latest.",
    lower_bound=0,
)
_SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "evaluate: which subjects; by default test, or validation or train where there are "
    "no others.",
)
_INCEPTION = flags.DEFINE_string(
    "inception",
    None,
    "evaluate: file with the weights of Inception v3, for FID and KID; see "
    "synthct_jax/metrics/inception_weights.py.",
)
_WATCH = flags.DEFINE_boolean(
    "watch",
    False,
    "evaluate: all checkpoints of a training, each when it comes, until the last; it "
    "may run on another machine. WORKDIR/evaluation/curve.html shows the steps.",
)
_POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds",
    30.0,
    "evaluate --watch: time between two looks for new checkpoints.",
    lower_bound=0.0,
)
_RUNS = flags.DEFINE_list(
    "runs",
    None,
    "compare: two or more, comma-separated; the first is what others are compared "
    "with. Folders of evaluations, of runs, whose newest evaluation is taken, or of a "
    "variant's runs seed_0, seed_1, ...",
)
_VARIANTS = flags.DEFINE_list(
    "variants", None, "sweep: of the configuration, comma-separated."
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["0"], "sweep: each trains every variant; comma-separated."
)
_ONLY = flags.DEFINE_integer(
    "only",
    -1,
    "sweep: just this run, counted from 0 (all variants with the first seed, then with "
    "the next), without tables; -1: all, with tables.",
    lower_bound=-1,
)
_TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "plan: devices to compile the training step for, which need not be there: TPUs "
    "such as v5e:4x4 (needs libtpu: pip install -e '.[tpu]'), or cpu:8, virtual ones.",
)
_DEBUG = flags.DEFINE_boolean(
    "debug", False, "Show where in the program an error is, and what libraries log."
)

_ROOT = Path(__file__).parent.parent
_OURS = (_ROOT / "synthct_jax", _ROOT / "input_pipeline")

# Of each mode: the flags it cannot do without, and all others that it reads.
_READS = {
    "prepare": (("config", "data_dir"), ("raw_dir",)),
    "train": (("config", "workdir"), ("data_dir",)),
    "evaluate": (
        ("workdir",),
        ("data_dir", "output", "step", "split", "inception", "watch", "poll_seconds"),
    ),
    "compare": (("runs",), ("output",)),
    "translate": (("workdir", "input", "output"), ("step",)),
    "sweep": (("config", "workdir", "variants"), ("seeds", "raw_dir", "only")),
    "plan": (("config", "topology"), ()),
    "benchmark": (("config",), ("output",)),
}

_STOP_BETWEEN_STEPS = ("train", "sweep")  # hear of signals themselves


def main(argv: list[str]) -> int:
    """Runs the mode; returns the exit status."""
    if _MODE.value not in _STOP_BETWEEN_STEPS:
        signal.signal(signal.SIGTERM, _end)
    try:
        status = _run(argv)
    except Exception:
        if environment.has_joined_others():
            traceback.print_exc()
            environment.leave_others(1)
        raise
    if status not in (0, STOPPED) and environment.has_joined_others():
        environment.leave_others(status)
    return status


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM removes what is half done, as Ctrl-C does."""
    del frame
    sys.exit(128 + number)


def _run(argv: list[str]) -> int:
    handler = logging.get_absl_handler()
    if not _DEBUG.value:
        handler.setFormatter(None)  # the message alone
        handler.addFilter(_is_for_the_user)
    try:
        _check_flags(argv)
        match _MODE.value:
            case "prepare":
                from input_pipeline.preparation import prepare

                raw_dir = _path(_RAW_DIR)
                prepare.prepare(_CONFIG.value, raw_dir, _path(_DATA_DIR))
            case "train":
                environment.join_other_processes()
                from synthct_jax import train

                done = train.train(
                    _CONFIG.value, workdir=_path(_WORKDIR), data_dir=_path(_DATA_DIR)
                )
                return 0 if done else STOPPED
            case "evaluate":
                _evaluate(_path(_WORKDIR))
            case "compare":
                from synthct_jax.evaluation.comparison import documents

                output = _path(_OUTPUT) or documents.FOLDER
                runs = [Path(run).expanduser() for run in _RUNS.value]
                documents.compare_runs(runs, output)
                print(f"Comparison: {output / 'compare.html'}")
            case "translate":
                from synthct_jax import translate

                translate.translate(
                    _path(_WORKDIR), _INPUT.value, _path(_OUTPUT), step=_STEP.value
                )
                print(f"Synthetic CT, preview and report: {_OUTPUT.value}")
            case "sweep":
                return _sweep(_path(_WORKDIR))
            case "plan":
                from synthct_jax.performance.plan import chips, report, step_plan

                devices = chips.make_devices(_TOPOLOGY.value)
                plan = step_plan.plan_step(_CONFIG.value, devices)
                print(report.format_report(plan))
            case "benchmark":
                from synthct_jax.performance.benchmark import suite

                output = _path(_OUTPUT) or Path(suite.OUTPUT)
                print(suite.format_table(suite.run_benchmark(_CONFIG.value, output)))
    except (ValueError, OSError, FloatingPointError) as error:
        if _DEBUG.value:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, FloatingPointError) else MISTAKEN
    return 0


def _evaluate(workdir: Path) -> None:
    from synthct_jax.evaluation import evaluate
    from synthct_jax.metrics.inception import load_inception

    weights = _path(_INCEPTION)
    asked = {
        "data_dir": _path(_DATA_DIR),
        "split": _SPLIT.value,
        "output_dir": _path(_OUTPUT),
        "inception": None if weights is None else load_inception(weights),
    }
    if _WATCH.value:
        from synthct_jax.evaluation import watch

        watch.watch(workdir, poll_seconds=_POLL_SECONDS.value, **asked)
        return
    done = evaluate.evaluate_run(workdir, step=_STEP.value, **asked)
    print(f"Report: {done.report}")


def _sweep(folder: Path) -> int:
    from synthct_jax.sweep import plan_file, runner

    config = flags.FLAGS["config"]
    plan = plan_file.make_plan(
        config_flags.get_config_filename(config),
        config_flags.get_override_values(config),
        _VARIANTS.value,
        _SEEDS.value,
    )
    only = None if _ONLY.value < 0 else _ONLY.value
    return runner.run_sweep(plan, folder=folder, raw_dir=_path(_RAW_DIR), only=only)


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, with every mistake as one line and its exit status."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # A configuration file that raises comes with its traceback: the last line says
        # what it said.
        message = str(error)
        if "Traceback" in message:
            message = f"--config: {message.strip().splitlines()[-1]}"
    except (AttributeError, KeyError) as error:  # ml_collections: no such field
        message = _no_such_field(argv, str(error.args[0]))
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKEN)


def _no_such_field(argv: list[str], reason: str) -> str:
    """Names the override as it was written, and the field that was perhaps meant."""
    name = re.search(r"\w+", reason)
    written = [
        argument.split("=")[0]
        for argument in argv
        if name and name[0] in argument.split("=")[0].split(".")
    ]
    meant = re.search(r'Did you mean "(\w+)"', reason)
    return (
        f"{written[0] if written else '--config'}: the configuration has no field "
        f"{name[0] if name else reason!r}"
        f"{f', did you mean {meant[1]}?' if meant else ''}"
    )


def _check_flags(argv: list[str]) -> None:
    """Raises ValueError for flags that the mode needs and has not, or does not read."""
    if len(argv) > 1:
        raise ValueError(f"{argv[1]!r} is no flag, expected --NAME=VALUE")
    needed, optional = _READS[_MODE.value]
    every = {name for group in _READS.values() for names in group for name in names}
    for name in sorted(every):
        present = flags.FLAGS[name].present
        if name in needed and not present:
            raise ValueError(f"--mode={_MODE.value} needs --{name}")
        if present and name not in needed + optional:
            hint = ": it takes the configuration out of the checkpoint"
            raise ValueError(
                f"--mode={_MODE.value} does not read --{name}"
                f"{hint if name == 'config' else ''}"
            )
    if _WATCH.value and flags.FLAGS["step"].present:
        raise ValueError("--watch evaluates every checkpoint: it does not read --step")
    if flags.FLAGS["poll_seconds"].present and not _WATCH.value:
        raise ValueError("--mode=evaluate reads --poll_seconds with --watch alone")


def _is_for_the_user(record: LogRecord) -> bool:
    """Warnings, and what we say ourselves; libraries tell how they work inside."""
    own = any(folder in Path(record.pathname).parents for folder in _OURS)
    return own or record.levelno >= WARNING


def _path(flag: flags.FlagHolder) -> Path | None:
    return None if flag.value is None else Path(flag.value).expanduser()


if __name__ == "__main__":
    environment.use_huge_pages()
    # Before anything imports jax, which a configuration file may do: it reads these
    # variables when it starts. The modes import their modules for the same reason.
    environment.prepare_environment()
    app.run(main, flags_parser=parse_flags)
