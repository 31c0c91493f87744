"""Evaluation of each checkpoint of a training once, while the training goes on.

It runs beside the trainer, or on another machine with a shared folder: checkpoints are
read, and nothing of the trainer's is written or locked. An evaluation is done when its
metrics.json exists, so the same command resumes a watch that was stopped. Two watches
at once do no harm, but do the same work twice.
"""

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from input_pipeline import files
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax.checkpoint.metadata import DamagedCheckpoint, read_metadata
from synthct_jax.evaluation import curve, curve_page, evaluate
from synthct_jax.runtime.preemption import Preemption

POLL_SECONDS = 30.0
_SIGNAL_SECONDS = 0.1  # a signal ends waiting after at most this time
# A checkpoint that looks damaged may be half removed, or half copied over a network.
_ATTEMPTS = 2


def watch(
    workdir: Path,
    *,
    poll_seconds: float = POLL_SECONDS,
    data_dir: Path | None = None,
    split: str | None = None,
    output_dir: Path | None = None,
    **options: Any,
) -> None:
    """Evaluate until the last step of the configuration, or until SIGINT or SIGTERM.

    A signal lets the current evaluation finish; a second one ends it. After each
    evaluation the curve over steps is written again (`curve`, `curve_page`).
    Checkpoints that vanish or are damaged are skipped.

    Args:
        workdir: of the run; it need not exist yet.
        poll_seconds: time between two looks for new checkpoints.
        data_dir: prepared data; by default those of the training.
        split: of its subjects; by default as for `evaluate.evaluate_run`.
        output_dir: holds a folder for each evaluation; by default WORKDIR/evaluation.
        options: others of `evaluate.evaluate_run`.

    Raises:
        FileNotFoundError, ValueError: as of `evaluate.evaluate_run`, if nothing can be
            evaluated; or the folder has evaluations on other data.
    """
    folder = output_dir or workdir / "evaluation"
    options |= {"data_dir": data_dir, "split": split}
    watcher = _Watcher(workdir, folder, split, options)
    watcher.check_data(data_dir)
    watcher.write_curve()  # an earlier watch may have been stopped before
    waiting_for = ""
    with Preemption() as preemption:
        while (signal := preemption.reached(0)) is None:
            pending = watcher.pending()
            if pending and not watcher.attempts[pending[0]]:
                watcher.evaluate(pending[0])
                continue
            if not pending and watcher.is_complete():
                break
            missing = "new checkpoints" if watcher.checkpoints() else "a checkpoint"
            if missing != waiting_for:
                waiting_for = missing
                print(f"Waiting for {missing} in {workdir}", flush=True)
            _sleep(poll_seconds, preemption)
            if pending and preemption.reached(0) is None:
                watcher.evaluate(pending[0])  # once more
    if signal:
        print(f"Stopped by {signal}: the same command resumes", flush=True)
    watcher.print_best()


def _sleep(seconds: float, preemption: Preemption) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and preemption.reached(0) is None:
        time.sleep(min(_SIGNAL_SECONDS, seconds))


class _Checkpoint(NamedTuple):
    """A step, and the inode of its folder: trained again, it is another one."""

    step: int
    inode: int


class _Watcher:
    """The checkpoints of a run and their evaluations.

    Attributes:
        attempts: failed evaluations of each checkpoint; _ATTEMPTS: it is skipped.
    """

    def __init__(
        self, workdir: Path, folder: Path, split: str | None, options: dict[str, Any]
    ):
        self._workdir, self._folder, self._split = workdir, folder, split
        self._options = options
        self._reader = curve.Reader(folder, split)
        self.attempts: Counter[_Checkpoint] = Counter()

    def checkpoints(self) -> list[_Checkpoint]:
        """Return the complete checkpoints, ascending.

        Orbax gives a checkpoint this name when it is whole, a temporary one before.
        """
        checkpoints = []
        for path in (self._workdir / "checkpoints").glob("*"):
            if path.name.isdecimal():
                with contextlib.suppress(FileNotFoundError):  # just removed
                    inode = path.stat().st_ino
                    checkpoints.append(_Checkpoint(int(path.name), inode))
        return sorted(checkpoints)

    def pending(self) -> list[_Checkpoint]:
        """Return what is to be evaluated: new ones first, the earliest goes first."""
        done = {row.step for row in self._reader.rows()}
        pending = [
            one
            for one in self.checkpoints()
            if one.step not in done and self.attempts[one] < _ATTEMPTS
        ]
        return sorted(pending, key=lambda one: (self.attempts[one], one))

    def is_complete(self) -> bool:
        """Tell whether the last step of the training has a checkpoint."""
        for checkpoint in reversed(self.checkpoints()):
            with contextlib.suppress(OSError, ValueError):  # removed, or damaged
                config = read_metadata(self._workdir, checkpoint.step).config
                return self.checkpoints()[-1].step >= config["train"]["steps"]
        return False

    def evaluate(self, checkpoint: _Checkpoint) -> None:
        step = checkpoint.step
        name = evaluate.default_folder(self._workdir, step, self._split).name
        output_dir = self._folder / name
        try:
            evaluate.evaluate_run(
                self._workdir, step=step, output_dir=output_dir, **self._options
            )
        except (OSError, ValueError) as error:
            self._handle(checkpoint, error)
            return
        self.attempts[checkpoint] = _ATTEMPTS
        self.write_curve()
        self._print_step(step)

    def _handle(self, checkpoint: _Checkpoint, error: Exception) -> None:
        """Skip or postpone a checkpoint, or raise what would happen with any other."""
        step, rows = checkpoint.step, self._reader.rows()
        self.attempts[checkpoint] += 1
        if checkpoint not in self.checkpoints():
            logging.warning(
                "Step %d was removed by the training before it could be evaluated", step
            )
        elif any(row.step == step for row in rows):
            logging.warning("Step %d was evaluated by another watch meanwhile", step)
            self.write_curve()
        elif not isinstance(error, ValueError):
            raise error
        elif not isinstance(error, DamagedCheckpoint) and not rows:
            raise error
        elif (
            isinstance(error, DamagedCheckpoint)
            and self.attempts[checkpoint] < _ATTEMPTS
        ):
            logging.warning("Step %d will be tried once more: %s", step, error)
        else:
            # Others could be evaluated: this one must not end the watch.
            self.attempts[checkpoint] = _ATTEMPTS
            logging.error("Step %d is skipped: %s", step, error)

    def check_data(self, data_dir: Path | None) -> None:
        """Raise ValueError if the folder has evaluations on other data."""
        if data_dir is None:
            return
        manifest = read_manifest(data_dir)
        split = self._split or manifest.domains["mr"].held_out
        names = [subject.name for subject in manifest.domains["mr"].of_split(split)]
        expected = (manifest.source, manifest.size, split, names)
        for row in self._reader.rows():
            data = row.data
            if expected != (
                *(data[name] for name in ("source", "size", "split")),
                list(data["mr_subjects"]),
            ):
                raise ValueError(
                    f"{self._folder / row.folder} is on other data than {data_dir}: "
                    "name another folder by --output"
                )

    def write_curve(self) -> None:
        steps = self._reader.curve()
        if steps.rows:
            pages = {"json": curve.to_json(steps), "html": curve_page.render(steps)}
            for suffix, text in pages.items():
                files.write_file(
                    self._folder / curve.file_name(self._split, suffix), text
                )

    def _print_step(self, step: int) -> None:
        steps = self._reader.curve()
        row = next((row for row in steps.rows if row.step == step), None)
        if row is None:  # another watch is just replacing it
            return
        parts = [_text(row, name) for name in curve.BEST_BY if name in row.metrics]
        if outside := row.metrics.get(curve.OUTSIDE):
            parts.append(
                f"{outside.value:.0f} of {outside.n} distribution metrics are worse "
                "than between real CT"
            )
        best = ", the best so far" if steps.best is row else ""
        report = self._folder / row.folder / "report.html"
        print(f"Step {step}{best}: {'; '.join(parts)}: {report}", flush=True)

    def print_best(self) -> None:
        steps = self._reader.curve()
        if (best := steps.best) is not None:
            print(f"Best: step {best.step}, {_text(best, steps.best_by)}")
            print(f"Curve: {self._folder / curve.file_name(self._split, 'html')}")


def _text(row: curve.Row, metric: str) -> str:
    definition, interval = curve.named(metric), row.metrics[metric]
    digits = definition.digits
    form = ".3g" if digits is None else f".{digits}f"
    ends = (
        ""
        if interval.low is None
        else f" ({interval.low:{form}} to {interval.high:{form}})"
    )
    return (
        f"{definition.title} {interval.value:{form}} {definition.unit}".strip() + ends
    )
