"""Training, read from the top: mesh, data, state, step, loop.

In the loop a step is dispatched before the losses of the one before are fetched, so
that reading numbers never makes the device wait. A checkpoint holds all that the next
step depends on, and the position in the data is the step: a run that was stopped or
killed goes on as if nothing had happened, bit for bit.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
from absl import logging
from clu import parameter_overview
from ml_collections import ConfigDict

from input_pipeline.dataset import stream
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import FILE, load_prepared
from input_pipeline.preparation import prepare
from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints, Description
from synthct_jax.checkpoint.metadata import check_resumable
from synthct_jax.evaluation import validation
from synthct_jax.inference.samples import make_sampler
from synthct_jax.model import methods
from synthct_jax.model.optim import constant_then_linear
from synthct_jax.model.step import check_sizes, compiled, make_init, make_step
from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.runtime import environment, metric_writer
from synthct_jax.runtime.goodput import Goodput
from synthct_jax.runtime.metric_writer import MetricWriter
from synthct_jax.runtime.preemption import Preemption
from synthct_jax.runtime.progress import Progress
from synthct_jax.runtime.watchdog import Watchdog


def train(config: ConfigDict, *, workdir: Path, data_dir: Path | None = None) -> bool:
    """Trains in `workdir` up to `config.train.steps`, from where it was left.

    Args:
        config: see configs/default.py.
        workdir: of the run; made when it does not exist.
        data_dir: prepared data. The phantom draws its own there when there are none,
            by default into `workdir`/data.

    Returns:
        Whether all steps are done; False: stopped by a signal, at a checkpoint.

    Raises:
        ValueError: the configuration does not fit the data, or the run's own.
        FileNotFoundError: there are no prepared data.
        FloatingPointError: a loss is not finite any more; that step is not saved.
    """
    mesh = choose_mesh(config)
    gan = methods.from_config(config, mesh=mesh)
    check_sizes(config, gan)
    primary = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        if primary:
            stack.enter_context(_only_run_in(workdir))
        goodput = stack.enter_context(Goodput(workdir if primary else None))

        # Data.
        data_dir = find_data(config, workdir=workdir, data_dir=data_dir)
        prepared = load_prepared(data_dir)
        stream.check_request(prepared, config.data)
        validation.check_validation(config, Dataset.open(data_dir))
        description = Description(
            config=config.to_dict(),
            prepared=json.loads((data_dir / FILE).read_text()),
            data_dir=str(data_dir.resolve()),
            versions=manager.versions(),
            metrics={},
        )

        # State: born on its devices, or read back from the run's last checkpoint.
        init, abstract = make_init(gan, config, mesh)
        validates = config.train.evaluate_every > 0
        # Entered first and left last: a second signal must not end the last save.
        preemption = stack.enter_context(Preemption())
        watchdog = stack.enter_context(Watchdog(config.train.watchdog_seconds))
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir,
                keep_latest=config.train.keep_latest,
                best_metric=config.train.best_metric if validates else None,
            )
        )
        start = checkpoints.latest_step or 0
        if start:
            check_resumable(checkpoints.describe(start), description, workdir)
            with goodput.measure("restore"):
                state = jax.block_until_ready(checkpoints.restore(abstract, start))
            logging.info("Goes on after step %d", start)
        else:
            state = init(jax.random.key(config.seed))
        del init  # with its program, 0.1 GiB at full size on a CPU
        logging.info(
            "%d parameters in the generators, %d in the discriminators",
            parameter_overview.count_parameters(state.generators),
            parameter_overview.count_parameters(state.discriminators),
        )
        if start >= config.train.steps:
            logging.info("All %d steps are done already", config.train.steps)
            return True
        goodput.begin(resumed=start)

        share, shares = sharding.share_of_process(mesh)
        batches = stack.enter_context(
            contextlib.closing(
                stream.make_stream(
                    data_dir,
                    config.data,
                    seed=config.seed,
                    global_batch=config.train.global_batch,
                    paired=config.method == "supervised",
                    start_step=start,
                    process_index=share,
                    process_count=shares,
                )
            )
        )
        writer = metric_writer.create(workdir, resumed_at=start, primary=primary)
        stack.enter_context(contextlib.closing(writer))
        writer.write_hparams(config.to_dict())
        progress = Progress(config.train.steps, start=start, shown=primary)
        stack.callback(progress.finish)
        losses = _Losses(config, writer, progress)
        validate = validation.make_validator(
            methods.from_config(config), config.data, Dataset.open(data_dir)
        )
        sample = make_sampler(gan, config, data_dir) if primary else None
        whole = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))

        # The step, compiled once, for the shapes of a batch.
        goodput.enter("input_wait")
        batch = sharding.to_global(next(batches), mesh)
        goodput.enter("compile")
        train_step = compiled(make_step(gan, mesh, abstract), state, batch)
        environment.wait_for_others("the step is compiled")
        preemption.listen(start)

        # The loop.
        stops: set[str] = set()
        for step in range(start + 1, config.train.steps + 1):
            goodput.enter("step")
            # Nothing is copied that is not meant: a batch there, losses back.
            with jax.transfer_guard("disallow"):
                state, metrics = train_step(state, batch)
                # While the devices compute, the next batch goes to them, and only then
                # are the numbers of the step before waited for.
                goodput.enter("input_wait")
                batch = sharding.to_global(next(batches), mesh)
                goodput.enter("step")
                logged = losses.dispatched(step, metrics)
            watchdog.alive()
            reason = preemption.reached(step)
            validate_now = validates and step % config.train.evaluate_every == 0
            last = step == config.train.steps
            if not (
                reason or validate_now or last or step % config.train.save_every == 0
            ):
                if logged:
                    goodput.write(resumed=start, step=step - 1)
                continue
            # Losses first: a state that came with a NaN is never saved.
            losses.fetch()
            stop = "validation" if validate_now else "save"
            if stop not in stops:
                watchdog.sleep()  # what validates, saves or draws is compiled now
            found, weights = {}, None
            if validate_now or not reason:
                weights = whole(state.translator)
            began = time.monotonic()
            if validate_now:
                with goodput.measure("evaluate"):
                    found = validate(weights)
                writer.write_scalars(
                    step, {f"validation_{k}": v for k, v in found.items()}
                )
                progress.note(f"step {step}  validation  {_listed(found)}")
            goodput.enter("save")
            checkpoints.save(state, dataclasses.replace(description, metrics=found))
            if reason or last:
                checkpoints.wait()
                seconds = time.monotonic() - began
                validated = "validated and " if validate_now else ""
                logging.info("Step %d was %ssaved in %.2f s", step, validated, seconds)
            if sample and not reason:
                writer.write_images(step, {"step": sample(weights)})
            del weights  # of all networks, on every device
            stops.add(stop)
            watchdog.alive()
            goodput.write(resumed=start, step=step)
            if reason and not last:
                progress.note(
                    f"Stopped by {reason} after step {step}, which is saved: the same "
                    "command goes on"
                )
                return False
            progress.pause()
    return True


# --- what fits to what ----------------------------------------------------------------


def find_data(config: ConfigDict, *, workdir: Path, data_dir: Path | None) -> Path:
    """The prepared data; the phantom's are drawn when there are none.

    Raises:
        FileNotFoundError: there are none, and they cannot be drawn.
        ValueError: no folder was named.
    """
    phantom = config.data.source == "phantom"
    if data_dir is None:
        if not phantom:
            raise ValueError("--data_dir is missing: the folder of the prepared data")
        data_dir = workdir / "data"
    empty = not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir()))
    if empty and not phantom:
        raise FileNotFoundError(
            f"--data_dir: there are no data in {data_dir}, prepare them with "
            f"--mode=prepare --raw_dir=RAW --data_dir={data_dir}"
        )
    if empty and jax.process_index() == 0:
        logging.info("Drawing the phantom's data into %s", data_dir)
        prepare.prepare(config, None, data_dir)
    environment.wait_for_others("the data are there")
    return data_dir


@contextlib.contextmanager
def _only_run_in(workdir: Path) -> Iterator[None]:
    """Holds the folder: two runs in one would overwrite each other's checkpoints."""
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another run is training in {workdir}") from error
        yield


# --- numbers on the way ---------------------------------------------------------------


class _Losses:
    """Fetches losses one step late, checks them, and logs their means."""

    def __init__(self, config: ConfigDict, writer: MetricWriter, progress: Progress):
        self._every, self._steps = config.train.log_every, config.train.steps
        self._rate = constant_then_linear(
            config.train.learning_rate, config.train.steps, config.train.decay_start
        )
        self._writer, self._progress = writer, progress
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._sums: dict[str, float] = {}
        self._count = 0

    def dispatched(self, step: int, metrics: dict[str, jax.Array]) -> bool:
        """Step `step` is on its way; the one before it has ended or soon will.

        Returns whether that one was logged.
        """
        logged = self.fetch()
        self._pending = (step, metrics)
        return logged

    def fetch(self) -> bool:
        """Waits for the last step that was dispatched; whether it was logged.

        Raises:
            FloatingPointError: one of its losses is not finite.
        """
        if self._pending is None:
            return False
        (step, metrics), self._pending = self._pending, None
        values = {name: float(v) for name, v in jax.device_get(metrics).items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(
                f"training diverged: at step {step} the losses are {_listed(values)}. "
                "This step is not saved; a lower train.learning_rate may help"
            )
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        logged = step % self._every == 0 or step == self._steps
        if logged:
            means = {name: total / self._count for name, total in self._sums.items()}
            values, self._sums, self._count = means, {}, 0
        self._progress.step(step, values, logged=logged)
        if logged:
            with jax.transfer_guard("allow"):
                extra = {"learning_rate": float(self._rate(step - 1))}  # what it used
            if self._progress.steps_per_second:
                extra["steps_per_second"] = self._progress.steps_per_second
            self._writer.write_scalars(step, values | extra)
        return logged


def _listed(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
