"""Evaluates the checkpoints of a training while it goes on, each once.

Beside the trainer or on another machine with a shared folder: its checkpoints are read
and nothing of it is written or locked. What is done is what has a metrics.json, so that
a watch that was stopped goes on by the same command. Two at once do no harm, and the
same work twice.
"""

import contextlib
import time
from collections import Counter
from pathlib import Path

from absl import logging

from input_pipeline import files
from input_pipeline.dataset.manifest import read_manifest
from synthct_jax.checkpoint.manager import Checkpoints, DamagedCheckpoint
from synthct_jax.evaluation import curve, curve_page, evaluate
from synthct_jax.metrics.inception import Inception
from synthct_jax.runtime.preemption import Preemption

POLL_SECONDS = 30.0
_SLICE_SECONDS = 0.1  # of waiting, after which a signal is heard
# What looks damaged may be half removed, or half arrived over a network.
_ATTEMPTS = 2


def watch(
    workdir: Path,
    *,
    poll_seconds: float = POLL_SECONDS,
    data_dir: Path | None = None,
    split: str | None = None,
    output_dir: Path | None = None,
    inception: Inception | None = None,
) -> None:
    """Evaluates until the last step of the configuration, or until SIGINT or SIGTERM.

    An evaluation at hand is finished first; a second signal ends it. After each the
    curve over steps is written anew (`curve`, `curve_page`). Checkpoints that are gone
    or damaged when their turn comes are passed over.

    Args:
        workdir: of the run; it need not be there yet.
        poll_seconds: between two looks for new checkpoints.
        data_dir: prepared data; by default those of the training.
        split: of its subjects; by default as of `evaluate.evaluate_run`.
        output_dir: holds a folder for each evaluation; by default WORKDIR/evaluation.
        inception: the network for FID and KID.

    Raises:
        FileNotFoundError, ValueError: as of `evaluate.evaluate_run`, where nothing
            can be evaluated; or the folder has evaluations on other data.
    """
    watcher = _Watcher(
        workdir,
        output_dir or workdir / "evaluation",
        data_dir=data_dir,
        split=split,
        inception=inception,
    )
    with Preemption() as preemption:
        while (signal := preemption.reached(0)) is None:
            if watcher.evaluate_next():
                continue
            if watcher.is_complete():
                break
            watcher.say_what_is_waited_for()
            until = time.monotonic() + poll_seconds
            while time.monotonic() < until and preemption.reached(0) is None:
                time.sleep(min(_SLICE_SECONDS, poll_seconds))
            watcher.forgive()
    if signal:
        print(f"Stopped by {signal}: the same command goes on", flush=True)
    watcher.say_the_end()


_Key = tuple[int, int]
"""A step, and the inode of its checkpoint: trained again, it is another one."""


class _Watcher:
    """What is there, what is done and what has failed."""

    def __init__(
        self,
        workdir: Path,
        folder: Path,
        *,
        data_dir: Path | None,
        split: str | None,
        inception: Inception | None,
    ):
        self._workdir, self._folder = workdir, folder
        self._data_dir, self._split, self._inception = data_dir, split, inception
        self._reader = curve.Reader(folder, split)
        self._over: set[_Key] = set()  # evaluated, or given up
        self._failures: Counter[_Key] = Counter()
        self._postponed: set[_Key] = set()
        self._total: tuple[int, int | None] = (-1, None)  # as of which step
        self._said = ""
        self._check_data()
        self._write_curve()  # a watch before may have ended between the two

    def evaluate_next(self) -> bool:
        """Evaluates the earliest that is not done: it is removed first. False: none."""
        done = {row.step for row in self._reader.rows()}
        for key in self._checkpoints():
            if key[0] not in done and key not in self._over | self._postponed:
                self._evaluate(key)
                return True
        return False

    def forgive(self) -> None:
        """What has failed once may be tried again."""
        self._postponed.clear()

    def is_complete(self) -> bool:
        """Whether the last step of the training is there, and nothing left to try."""
        keys = self._checkpoints()
        if not keys or self._postponed:
            return False
        newest = keys[-1][0]
        if self._total[0] != newest:
            self._total = newest, self._steps_of_training([step for step, _ in keys])
        return self._total[1] is not None and newest >= self._total[1]

    def say_what_is_waited_for(self) -> None:
        """A line, once."""
        what = "new checkpoints" if self._checkpoints() else "the first checkpoint"
        if what != self._said:
            self._said = what
            print(f"Waiting for {what} in {self._workdir}", flush=True)

    def say_the_end(self) -> None:
        found = self._reader.curve()
        if (best := found.best) is not None:
            print(f"Best: step {best.step}, {_text(best, found.best_by)}")
            print(f"Curve: {self._folder / curve.file_name(self._split, 'html')}")

    def _evaluate(self, key: _Key) -> None:
        step = key[0]
        name = evaluate.default_folder(self._workdir, step, self._split).name
        try:
            evaluate.evaluate_run(
                self._workdir,
                step=step,
                data_dir=self._data_dir,
                split=self._split,
                output_dir=self._folder / name,
                inception=self._inception,
            )
        except (OSError, ValueError) as error:
            self._failed(key, error)
            return
        self._over.add(key)
        self._write_curve()
        self._say(step)

    def _failed(self, key: _Key, error: Exception) -> None:
        """Raises what would come again and again."""
        step, rows = key[0], self._reader.rows()
        if key not in self._checkpoints():
            logging.warning(
                "Step %d was removed by the training before it could be evaluated", step
            )
        elif any(row.step == step for row in rows):
            logging.warning("Step %d was evaluated by another watch meanwhile", step)
            self._write_curve()
        elif isinstance(error, DamagedCheckpoint):
            self._failures[key] += 1
            if self._failures[key] < _ATTEMPTS:
                self._postponed.add(key)
                logging.warning("Step %d, to be tried once more: %s", step, error)
            else:
                self._over.add(key)
                logging.error("Step %d is passed over: %s", step, error)
        elif isinstance(error, ValueError) and rows:
            # Others could be: this one is not to end a watch, now or after a restart.
            self._over.add(key)
            logging.error("Step %d is passed over: %s", step, error)
        else:
            raise error

    def _checkpoints(self) -> list[_Key]:
        """Steps that are there, ascending, with inodes.

        Orbax gives a checkpoint this name when it is whole, a temporary one before.
        """
        found = []
        for path in (self._workdir / "checkpoints").glob("*"):
            if path.name.isdecimal():
                with contextlib.suppress(FileNotFoundError):  # just removed
                    found.append((int(path.name), path.stat().st_ino))
        return sorted(found)

    def _steps_of_training(self, steps: list[int]) -> int | None:
        for step in reversed(steps):
            try:
                with Checkpoints.of_run(self._workdir) as checkpoints:
                    return checkpoints.describe(step).config["train"]["steps"]
            except (OSError, ValueError):
                continue  # removed, or damaged: another says the same
        return None

    def _check_data(self) -> None:
        if self._data_dir is None:
            return
        prepared = read_manifest(self._data_dir)
        split = self._split or prepared.domains["mr"].held_out
        names = [subject.name for subject in prepared.domains["mr"].of_split(split)]
        asked = (prepared.source, prepared.size, split, names)
        for row in self._reader.rows():
            has = tuple(row.data[n] for n in ("source", "size", "split"))
            has = (*has, list(row.data["mr_subjects"]))
            if has != asked:
                raise ValueError(
                    f"{self._folder / row.folder} is on other data than "
                    f"{self._data_dir}: name another folder by --output"
                )

    def _write_curve(self) -> None:
        found = self._reader.curve()
        if found.rows:
            pages = {"json": curve.to_json(found), "html": curve_page.render(found)}
            for kind, text in pages.items():
                files.write_file(
                    self._folder / curve.file_name(self._split, kind), text
                )

    def _say(self, step: int) -> None:
        found = self._reader.curve()
        row = next((row for row in found.rows if row.step == step), None)
        if row is None:  # another watch is just replacing it
            return
        known = [n for n in curve.BEST_BY if row.value(n) is not None]
        parts = [_text(row, name) for name in known]
        if row.compared:
            parts.append(
                f"{row.value(curve.OUTSIDE):.0f} of {row.compared} distances larger "
                "than between real CT"
            )
        best = ", the best so far" if found.best is row else ""
        report = self._folder / row.folder / "report.html"
        print(f"Step {step}{best}: {'; '.join(parts)}: {report}", flush=True)


def _text(row: curve.Row, metric: str) -> str:
    about, entry = curve.about(metric), row.metrics[metric]
    form = ".3g" if about.digits is None else f".{about.digits}f"
    interval = (
        ""
        if entry["low"] is None
        else f" ({entry['low']:{form}} to {entry['high']:{form}})"
    )
    unit = f" {about.unit}" if about.unit else ""
    return f"{about.title} {entry['value']:{form}}{unit}{interval}"
