"""Everything that a training needs besides training, behind one `with` block."""

import contextlib
import dataclasses
import fcntl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import (
    FIRED,
    CheckpointMetadata,
    DamagedCheckpoint,
    check_descriptions,
    check_resumable,
    checkpoints_folder,
    list_steps,
    read_metadata,
    set_aside,
)
from synthct_jax.evaluation.guard import Guard, RollBack, StoppedByGuard
from synthct_jax.evaluation.validation import Validator
from synthct_jax.model.optim import schedule
from synthct_jax.model.train_state import Params, TrainState
from synthct_jax.runtime import cpu_memory, processes
from synthct_jax.runtime.goodput import Goodput
from synthct_jax.runtime.loss_log import LossLog, format_values
from synthct_jax.runtime.metric_writer import MetricWriter
from synthct_jax.runtime.preemption import Preemption
from synthct_jax.runtime.progress import Progress
from synthct_jax.runtime.watchdog import Watchdog


class Due(NamedTuple):
    """The tasks due between two steps, besides a save."""

    validation: bool
    signal: str | None  # why the run stops here; None: it goes on
    last: bool  # this was the last step


class Run(contextlib.ExitStack):
    """A training run in its folder: lock, clock, signals, watchdog, logs, checkpoints.

    Call in this order: `find_start`, `restore`, `open_logs`, `start_loop`; then for
    each step `log` and `due`, and if something is due `fetch_losses`, `validate`,
    `save` and `finish`; after a RollBack from any of these, `roll_back`. What is
    entered by `enter_context` is left with the run.

    Attributes:
        primary: this process writes the files; one of several does.
        start: the step that the run went on from, 0 for a new run.
        goodput: the clock.
    """

    def __init__(self, config: ConfigDict, workdir: Path):
        super().__init__()
        self._config, self._train, self._workdir = config, config.train, workdir
        # Pauses with and without validation: the first of each may compile.
        self._pauses_done: set[bool] = set()
        self._logged = False
        self.primary = jax.process_index() == 0
        self.start = 0
        self._judge = Guard(config)
        if self._judge.policy == "roll_back" and jax.process_count() > 1:
            raise ValueError(
                "train.guard is roll_back, expected log or stop: there are "
                f"{jax.process_count()} processes"
            )

    def __enter__(self) -> "Run":
        with contextlib.ExitStack() as entered:  # left again if one cannot be entered
            if self.primary:
                entered.enter_context(_lock(self._workdir))
            self.goodput = entered.enter_context(Goodput(self._folder))
            self.push(entered.pop_all())
        return self

    @property
    def _folder(self) -> Path | None:
        """The folder to write to, None in all processes but one."""
        return self._workdir if self.primary else None

    def find_start(self) -> None:
        """Find where to resume, and protect the state that there will be from now on.

        A checkpoint whose description is damaged is renamed, unless all are.

        Signals are remembered from `start_loop` on, and the watchdog waits for its
        first sign of life.
        """
        # Entered first and left last: a second signal must not end the last save.
        self._preemption = self.enter_context(Preemption())
        self._watchdog = self.enter_context(Watchdog(self._train.watchdog_seconds))
        _set_damaged_descriptions_aside(self._workdir)
        validates = self._train.evaluate_every > 0
        self._checkpoints = self.enter_context(
            Checkpoints(
                self._workdir,
                keep_latest=self._train.keep_latest,
                best_metric=self._train.best_metric if validates else None,
                keep_good=_is_good if self._train.guard == "roll_back" else None,
            )
        )
        self.start = self._checkpoints.latest_step or 0

    def restore(
        self, abstract: TrainState, metadata: CheckpointMetadata
    ) -> TrainState | None:
        """Return the state of the latest checkpoint, None if there is none.

        A checkpoint whose arrays are damaged is renamed once an earlier one has been
        restored.

        Raises:
            ValueError: the checkpoint is of another experiment than `metadata`.
            StoppedByGuard: it is where a guard has stopped the run, and `train.guard`
                is not `log`.
            DamagedCheckpoint: none can be restored; or the latest cannot, and there
                are several processes, of which some may have seen no damage.
        """
        steps = [self.start] if self.start else []
        if jax.process_count() == 1:
            steps = list_steps(self._workdir)
        damage: dict[int, str] = {}  # no errors: their tracebacks hold a state
        for step in reversed(steps):
            try:
                state = self._restore(step, abstract, metadata)
            except DamagedCheckpoint as error:
                damage[step] = str(error)
                continue
            for damaged_step, reason in damage.items():
                aside = self._checkpoints.set_aside(damaged_step)
                logging.warning("%s. It was renamed to %s", reason, aside)
            logging.info("Goes on after step %d", step)
            self.start = step
            return state
        if damage:
            raise _cannot_go_on(damage, self._workdir)
        return None

    def _restore(
        self, step: int, abstract: TrainState, metadata: CheckpointMetadata
    ) -> TrainState:
        saved = read_metadata(self._workdir, step)
        check_resumable(saved, metadata, self._workdir)
        judge = Guard(self._config, saved.guard)
        if judge.stopped and judge.policy != "log":
            raise StoppedByGuard(judge.stopped)
        judge.stopped = ""
        self._judge = judge
        with self.goodput.measure("restore"):
            state = self._checkpoints.restore(abstract, step)
            return jax.block_until_ready(state)

    def open_logs(self) -> None:
        """Open the logs, now that there is a state and steps are left to do."""
        self.goodput.write(resumed=self.start, step=self.start)
        self.callback(lambda: self.writer.close())
        self._progress = Progress(
            self._train.steps, start=self.start, shown=self.primary
        )
        self.callback(self._progress.finish)
        self._open_metrics()

    def _open_metrics(self) -> None:
        """Open the logs of numbers after step `start`, whose rows will come again."""
        self.writer = MetricWriter(self._folder, resumed_at=self.start)
        self.writer.write_hparams(self._config.to_dict())
        self._losses = LossLog(
            self.writer,
            self._progress,
            every=self._train.log_every,
            last_step=self._train.steps,
            learning_rate=schedule(self._train),
            observe=lambda losses: self._judge.add(losses),
        )

    def start_loop(self) -> None:
        """Wait for the other processes, now that the step is compiled."""
        self.goodput.enter("compile")
        cpu_memory.keep_freed_memory()
        processes.barrier("the step is compiled")
        self._preemption.listen(self.start)
        self.goodput.enter("step")

    def log(self, step: int, losses: dict[str, jax.Array]) -> None:
        """Keep the losses of a dispatched step; check and log the ones before.

        This, `fetch_losses`, `validate` and `save` raise FloatingPointError, RollBack
        or StoppedByGuard if something is not finite, by `train.guard`.
        """
        self._step = step
        with self._guarded():
            self._logged = self._losses.add(step, losses)

    def due(self, step: int) -> Due | None:
        """Return what has to be done after step `step`, None if nothing has."""
        self._watchdog.alive()
        every = self._train.evaluate_every
        due = Due(
            validation=every > 0 and step % every == 0,
            signal=self._preemption.reached(step),
            last=step == self._train.steps,
        )
        if any(due) or step % self._train.save_every == 0:
            return due
        if self._logged:
            self.goodput.write(resumed=self.start, step=step - 1)
        return None

    def fetch_losses(self, due: Due) -> None:
        """Wait for the losses of the last step: a state with a NaN is never saved.

        The watchdog guards this wait, and sleeps through the first pause of its kind.
        """
        with self._guarded():
            self._losses.fetch()
        self._pause_began = time.monotonic()
        if due.validation not in self._pauses_done:
            self._watchdog.disarm()  # this may compile, which can take long
            self._pauses_done.add(due.validation)

    def validate(
        self, step: int, validate: Validator, weights: dict[str, Params]
    ) -> dict[str, float]:
        """Return the metrics of a validation of these weights, log and judge them.

        Raises:
            RollBack: a detector fired, and the configuration asks for it.
        """
        with self._guarded(), self.goodput.measure("evaluate"):
            metrics, signs = validate(weights)
        judged = self._judge.judge(step, signs)
        self.writer.write_scalars(
            step, {f"validation_{k}": v for k, v in (metrics | judged).items()}
        )
        self._progress.note(f"step {step}  validation  {format_values(metrics)}")
        for fault in self._judge.faults:
            logging.warning("Step %d: %s", step, fault)
        if self._judge.faults and self._judge.policy != "log":
            reason = f"at step {step} {'; '.join(self._judge.faults)}"
            if self._may_roll_back():
                raise RollBack(reason)
            self._judge.stopped = self._judge.report(reason)
        return metrics | judged

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn FloatingPointError into what `train.guard` asks for."""
        try:
            yield
        except FloatingPointError as error:
            if self._judge.policy == "log":
                raise
            if self._may_roll_back():
                raise RollBack(str(error)) from error
            raise StoppedByGuard(self._judge.report(str(error))) from error

    def _may_roll_back(self) -> bool:
        return self._judge.may_roll_back and self._last_good_step() is not None

    def _last_good_step(self) -> int | None:
        """Return the last saved step at whose validation no detector fired."""
        self._checkpoints.wait()
        for step in reversed(list_steps(self._workdir)):
            if _is_good(read_metadata(self._workdir, step).metrics):
                return step
        return None

    def roll_back(
        self, abstract: TrainState, metadata: CheckpointMetadata, why: str
    ) -> TrainState:
        """Return the state of the last good checkpoint; remove all that came after it.

        A run that is killed before its next checkpoint repeats the roll-back.
        """
        self.goodput.write(resumed=self.start, step=self._step)
        self._watchdog.disarm()
        self._progress.pause()
        good = self._last_good_step()
        roll_back = {"step": self._step, "to": good, "reason": why}
        roll_backs = [*self._judge.roll_backs, roll_back]
        state = self._restore(good, abstract, metadata)  # before others are removed
        self._checkpoints.remove_after(good)
        self._judge.roll_backs = roll_backs
        self.start = good
        self.writer.close()
        self._open_metrics()
        self.goodput.write(resumed=good, step=good)
        self._progress.note(
            f"Rolled back from step {self._step} to {good}, for another order of the "
            f"data ({len(roll_backs)} of {self._train.roll_backs}): {why}"
        )
        self.goodput.enter("step")
        return state

    @property
    def roll_backs(self) -> int:
        """Number of roll-backs of the run, which decides the order of the data."""
        return len(self._judge.roll_backs)

    def save(self, state: TrainState, metadata: CheckpointMetadata, due: Due) -> None:
        """Save the state asynchronously; wait for the write if this step ends the run.

        A run ends after its last step, or by a signal.
        """
        self.goodput.enter("save")
        description = dataclasses.replace(metadata, guard=self._judge.to_json())
        with self._guarded():
            self._checkpoints.save(state, description)
        if due.signal or due.last or self._judge.stopped:
            self._checkpoints.wait()
            logging.info(
                "Step %d was %ssaved in %.2f s",
                self._checkpoints.latest_step,
                "validated and " if due.validation else "",
                time.monotonic() - self._pause_began,
            )

    def finish(self, step: int, due: Due) -> bool:
        """End a step; return whether a signal stops the run here.

        Raises:
            StoppedByGuard: a detector fired. The run has been saved, and stops here.
        """
        self._watchdog.alive()
        self.goodput.write(resumed=self.start, step=step)
        if self._judge.stopped:
            raise StoppedByGuard(self._judge.stopped)
        if due.signal and not due.last:
            self._progress.note(
                f"Stopped by {due.signal} after step {step}, which is saved: the same "
                "command goes on"
            )
            return True
        self._progress.pause()
        if not due.last:
            self.goodput.enter("step")
        return False


def _is_good(metrics: Mapping[str, float]) -> bool:
    """Return whether no detector fired at the validation of a checkpoint."""
    return metrics.get(FIRED) == 0


def _set_damaged_descriptions_aside(workdir: Path) -> None:
    """Rename checkpoints whose descriptions are damaged.

    Raises:
        DamagedCheckpoint: all of them are, or there are several processes.
    """
    damage: dict[int, str] = {}
    steps = list_steps(workdir)
    for step in steps:
        try:
            check_descriptions(workdir, step)
        except DamagedCheckpoint as error:
            damage[step] = str(error)
    if damage and (jax.process_count() > 1 or len(damage) == len(steps)):
        raise _cannot_go_on(damage, workdir)
    for step, reason in damage.items():
        logging.warning("%s. It was renamed to %s", reason, set_aside(workdir, step))


def _cannot_go_on(damage: Mapping[int, str], workdir: Path) -> DamagedCheckpoint:
    """Return the error for checkpoints that are damaged, with the reason by step."""
    step = max(damage)
    remedy = "no other checkpoint of the run can be restored"
    if jax.process_count() > 1:  # some of which may have seen no damage
        folder = checkpoints_folder(workdir) / str(step)
        remedy = f"rename or remove {folder} to go on from an earlier step"
    return DamagedCheckpoint(f"{damage[step]}; {remedy}")


@contextlib.contextmanager
def _lock(workdir: Path) -> Iterator[None]:
    """Lock the folder: two runs in it would overwrite each other's checkpoints."""
    if workdir.exists() and not workdir.is_dir():
        raise FileExistsError(f"{workdir} is a file, expected a folder or none")
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another run is training in {workdir}") from error
        yield
