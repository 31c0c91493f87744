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
from typing import Any

from absl import logging

from input_pipeline import files
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax.checkpoint.metadata import (
    DamagedCheckpoint,
    list_steps,
    read_metadata,
)
from synthct_jax.evaluation import curve, curve_page, evaluate, results
from synthct_jax.evaluation.report.formatting import format_interval, format_number
from synthct_jax.runtime.preemption import Preemption

_SIGNAL_SECONDS = 0.1  # a signal ends waiting after at most this time
# A checkpoint that looks damaged may be half removed, or half copied over a network.
_ATTEMPTS = 2


def watch(
    workdir: Path,
    *,
    poll_seconds: float,
    data_dir: Path | None = None,
    split: str | None = None,
    output_dir: Path | None = None,
    **options: Any,
) -> bool:
    """Evaluate until the last step of the configuration, or until SIGINT or SIGTERM.

    A signal lets the current evaluation finish; a second one ends it. After each
    evaluation curve.html, or curve_SPLIT.html, is written again. Checkpoints that
    vanish or are damaged are skipped.

    Args:
        workdir: of the run; it need not exist yet.
        poll_seconds: time between two looks for new checkpoints.
        output_dir: holds a folder for each evaluation; by default WORKDIR/evaluation.
        data_dir, split, options: as of `evaluate.evaluate_run`.

    Returns:
        Whether the last step was reached: False after a signal.

    Raises:
        FileNotFoundError, ValueError: as of `evaluate.evaluate_run`, if nothing can be
            evaluated; or the folder has evaluations on other data.
    """
    folder = output_dir or workdir / "evaluation"
    options |= {"data_dir": data_dir, "split": split}
    watcher = _Watcher(workdir, folder, split, options)
    if data_dir is not None:
        watcher.check_data(data_dir)
    watcher.write_curve()  # an earlier watch may have been stopped before
    waiting_for = ""
    with Preemption() as preemption:
        preemption.listen(0)
        while (signal := preemption.reached(0)) is None:
            pending = watcher.pending()
            if pending and not watcher.attempts[pending[0]]:
                watcher.evaluate(pending[0])
                continue
            if not pending and watcher.is_complete():
                break
            missing = "new checkpoints" if list_steps(workdir) else "a checkpoint"
            if missing != waiting_for:
                waiting_for = missing
                print(f"Waiting for {missing} in {workdir}", flush=True)
            _sleep(poll_seconds, preemption)
            if pending and preemption.reached(0) is None:
                watcher.evaluate(pending[0])  # once more
    if signal:
        print(f"Stopped by {signal}: the same command resumes", flush=True)
    watcher.print_best()
    return signal is None


def _sleep(seconds: float, preemption: Preemption) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and preemption.reached(0) is None:
        time.sleep(min(_SIGNAL_SECONDS, seconds))


class _Watcher:
    """The checkpoints of a run and their evaluations.

    Attributes:
        attempts: failed evaluations of each step in a row; _ATTEMPTS: it is skipped.
    """

    def __init__(
        self, workdir: Path, folder: Path, split: str | None, options: dict[str, Any]
    ):
        self._workdir, self._folder, self._split = workdir, folder, split
        self._options = options
        self._is_chosen = folder != workdir / "evaluation"
        self._page = folder / f"curve{f'_{split}' if split else ''}.html"
        self.attempts: Counter[int] = Counter()

    def _rows(self) -> list[curve.Row]:
        return curve.read_rows(self._folder, self._split)

    def _curve(self) -> curve.Curve:
        return curve.read_curve(self._folder, self._split)

    def pending(self) -> list[int]:
        """Return the steps to evaluate: new ones first, the earliest goes first."""
        done = self._done()
        steps = list_steps(self._workdir)
        for step in self.attempts.keys() - set(steps):
            del self.attempts[step]  # it may be trained again
        pending = [
            step
            for step in steps
            if step not in done and self.attempts[step] < _ATTEMPTS
        ]
        return sorted(pending, key=lambda step: (self.attempts[step], step))

    def _done(self) -> set[int]:
        """Return the evaluated steps, without those that were trained again since."""
        return {row.step for row in self._rows() if not self._is_outdated(row)}

    def _is_outdated(self, row: curve.Row) -> bool:
        """Return whether a roll-back has trained the step again since."""
        with contextlib.suppress(OSError, ValueError):  # removed, or damaged
            roll_backs = read_metadata(self._workdir, row.step).roll_backs
            return roll_backs != row.results.provenance.get("roll_backs", 0)
        return False

    def is_complete(self) -> bool:
        """Return whether the last step has a checkpoint, or a guard has stopped it."""
        steps = list_steps(self._workdir)
        for step in reversed(steps):
            with contextlib.suppress(OSError, ValueError):  # removed, or damaged
                metadata = read_metadata(self._workdir, step)
                last = metadata.config["train"]["steps"]
                return steps[-1] >= last or bool(metadata.guard.get("stopped"))
        return False

    def evaluate(self, step: int) -> None:
        """Evaluate a step and write the curve, or handle the error."""
        name = results.default_folder(self._workdir, step, self._split).name
        try:
            evaluate.evaluate_run(
                self._workdir,
                step=step,
                output_dir=self._folder / name if self._is_chosen else None,
                **self._options,
            )
        except (OSError, ValueError) as error:
            self._handle(step, error)
            return
        if step in self._done():
            del self.attempts[step]  # it may be trained again
        else:
            self.attempts[step] = _ATTEMPTS
        self.write_curve()
        self._print_step(step)

    def _handle(self, step: int, error: Exception) -> None:
        """Skip or postpone a checkpoint, or raise what would happen with any other."""
        done = self._done()
        is_damaged = isinstance(error, DamagedCheckpoint)
        self.attempts[step] += 1
        if step not in list_steps(self._workdir):
            logging.warning(
                "Step %d was removed by the training before it could be evaluated", step
            )
        elif step in done:
            logging.warning("Step %d was evaluated by another watch meanwhile", step)
            self.write_curve()
        elif not isinstance(error, ValueError) or not (is_damaged or done):
            raise error
        elif is_damaged and self.attempts[step] < _ATTEMPTS:
            logging.warning("Step %d will be tried once more: %s", step, error)
        else:
            # Others could be evaluated: this one must not end the watch.
            self.attempts[step] = _ATTEMPTS
            logging.error("Step %d is skipped: %s", step, error)

    def check_data(self, data_dir: Path) -> None:
        """Raise ValueError if the folder has evaluations on other data."""
        manifest = read_manifest(data_dir)
        split = self._split or manifest.domains["mr"].held_out
        names = [subject.name for subject in manifest.domains["mr"].of_split(split)]
        channels = list(manifest.domains["mr"].channels)
        for row in self._rows():
            data = row.data
            if (
                (data["source"], data["size"]) != (manifest.source, manifest.size)
                or data["split"] != split
                or list(data["mr_subjects"]) != names
                or row.results.data["stored_mr_channels"] != channels
            ):
                raise ValueError(
                    f"{self._folder / row.folder} is on other data than {data_dir}: "
                    "name another folder by --output"
                )

    def write_curve(self) -> None:
        """Write the page, if there is an evaluation to show."""
        steps = self._curve()
        if steps.rows:
            files.write_file(self._page, curve_page.render(steps))

    def _print_step(self, step: int) -> None:
        steps = self._curve()
        row = next((row for row in steps.rows if row.step == step), None)
        if row is None:  # another watch is just replacing it
            return
        facts = [_text(row, name) for name in curve.BEST_BY if name in row.metrics]
        if outside := row.metrics.get(curve.OUTSIDE):
            facts.append(
                f"{outside.value:.0f} of {outside.n} distribution metrics are worse "
                "than between real CT"
            )
        best = ", the best so far" if steps.best is row else ""
        report = self._folder / row.folder / "report.html"
        print(f"Step {step}{best}: {'; '.join(facts)}: {report}", flush=True)

    def print_best(self) -> None:
        """Print the best step and where the page is."""
        steps = self._curve()
        if (best := steps.best) is not None:
            print(f"Best: step {best.step}, {_text(best, steps.best_by)}")
            print(f"Curve: {self._page}")


def _text(row: curve.Row, metric: str) -> str:
    definition, interval = curve.named(metric), row.metrics[metric]
    value = format_number(interval.value, definition.digits)
    ends = format_interval(interval, definition.digits)
    text = f"{definition.title} {value} {definition.unit}".strip()
    return f"{text} ({ends})" if ends else text
