"""Training, read from the top: mesh, data, state, step, loop.

In the loop a step is dispatched before the losses of the step before are fetched, so
that reading numbers never makes the devices wait. A checkpoint holds everything that
the next step depends on, and the position in the data is the step: a run that was
stopped goes on from there, a killed one from its last checkpoint, on the same devices
bit for bit (GPUs: see launch/README.md).
"""

import dataclasses
from pathlib import Path

import jax
from absl import logging
from clu import parameter_overview
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.dataset.brightness import fat_threshold
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.preparation import prepare
from input_pipeline.ranges import check_choice
from synthct_jax.checkpoint.initial import check_start, start_from
from synthct_jax.checkpoint.metadata import (
    CheckpointMetadata,
    library_versions,
    source_commit,
)
from synthct_jax.evaluation import validation
from synthct_jax.evaluation.guard import RollBack
from synthct_jax.inference.samples import make_sampler
from synthct_jax.inference.teacher import TEACHER_CT, load_teacher, write_targets
from synthct_jax.inference.views import VIEWS
from synthct_jax.model import methods
from synthct_jax.model.ranges import check_ranges, check_relations
from synthct_jax.model.step import compile_step, make_init, make_step
from synthct_jax.model.train_state import Batch, TrainState
from synthct_jax.parallel import sharding
from synthct_jax.parallel.batches import Batches, draw_anatomies, open_batches
from synthct_jax.parallel.mesh import choose_mesh
from synthct_jax.run import Run
from synthct_jax.runtime import processes


def train(
    config: ConfigDict,
    *,
    workdir: Path,
    data_dir: Path | None = None,
    anatomies_dir: Path | None = None,
) -> bool:
    """Train in `workdir` up to `config.train.steps`, from the latest checkpoint on.

    Args:
        data_dir: prepared data. With `data.source` phantom they are drawn there if
            missing, by default in `workdir`/data.
        anatomies_dir: label maps for simulated pairs, if the configuration has any.
            They are drawn there if missing, by default in `workdir`/anatomies.

    Returns:
        True when all steps are done; False when stopped by a signal, at a checkpoint.

    Raises:
        ValueError: the configuration does not fit the data, that of the run, or the
            model to start from.
        FileNotFoundError: there are no prepared data.
        FloatingPointError: a loss is not finite; that step is not saved.
        StoppedByGuard: a guard fired, and `train.guard` stops the training.
    """
    check_ranges(config)
    check_relations(config, size_multiple=methods.from_config(config).size_multiple)
    check_choice("translate.views", config.translate.views, VIEWS)
    check_start(config, workdir)
    teacher = load_teacher(config, workdir)
    config = config.copy_and_resolve_references()  # completed below
    mesh = choose_mesh(config)
    method = methods.from_config(config, mesh=mesh)
    with Run(config, workdir) as run:
        # Data.
        data_dir = find_data(config, workdir=workdir, data_dir=data_dir)
        anatomies_dir = anatomies_dir or workdir / "anatomies"
        draw_anatomies(config, anatomies_dir)
        processes.barrier("the anatomies are there")
        dataset = Dataset.open(data_dir)
        dataset.check_trainable(
            config.data,
            paired=config.method == "supervised",
            own_pairs=config.loss.paired > 0,
        )
        validation.check_validation(config, dataset)
        if config.loss.tissue_ranges and not config.loss.fat_threshold:
            config.loss.fat_threshold = fat_threshold(dataset, config.data)
            method = methods.from_config(config, mesh=mesh)
        metadata = CheckpointMetadata(
            config=config.to_dict(),
            prepared=dataset.manifest.to_json(),
            data_dir=str(data_dir.resolve()),
            versions=library_versions() | source_commit(),
        )

        # State: from the run's latest checkpoint, or new; made where it stays.
        run.find_start()
        init, abstract = make_init(method, config, mesh)
        state = run.restore(abstract, metadata)
        if state is None:
            state = init(method.initial_key(config.seed))
            if config.train.init_from:
                state = start_from(state, config)
            if teacher and run.primary:
                write_targets(teacher, dataset, workdir)
        processes.barrier("the teacher's CT are there")
        del init, teacher  # with a program, 0.1 GiB at full size on a CPU
        logging.info(
            "%d parameters in the generators, %d in the discriminators",
            parameter_overview.count_parameters(state.generators),
            parameter_overview.count_parameters(state.discriminators),
        )
        if run.start >= config.train.steps:
            logging.info("All %d steps are done already", config.train.steps)
            return True
        run.open_logs()

        # The step, compiled once, for the shapes of a batch.
        def open_after_start() -> Batches:
            return open_batches(
                config,
                dataset,
                mesh,
                anatomies_dir=anatomies_dir,
                targets=workdir / TEACHER_CT if config.train.distil_from else None,
                start_step=run.start,
                roll_backs=run.roll_backs,
            )

        batches = open_after_start()
        run.callback(lambda: batches.close())
        validate = validation.make_validator(
            methods.from_config(config), config, dataset
        )
        sample = make_sampler(method, config, dataset) if run.primary else None
        gather = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))
        with run.goodput.measure("input_wait"):
            batch = sharding.to_global(next(batches), mesh)
        logging.info("Compiling the training step")
        with run.goodput.measure("compile"):
            train_step = compile_step(make_step(method, mesh, abstract), state, batch)
        run.start_loop()

        def train_steps(state: TrainState, batch: Batch) -> bool:
            """Do the steps after `run.start`; return False if a signal stops them."""
            for step in range(run.start + 1, config.train.steps + 1):
                # Forbids implicit copies between host and devices.
                with jax.transfer_guard("disallow"):
                    state, losses = train_step(state, batch)
                    # While the devices compute, the next batch is copied to them; then
                    # the losses of the step before are waited for.
                    if step < config.train.steps:
                        with run.goodput.measure("input_wait"):
                            batch = sharding.to_global(next(batches), mesh)
                    run.log(step, losses)
                if (due := run.due(step)) is not None:
                    run.fetch_losses(due)
                    metrics, weights = {}, None
                    if due.validation or not due.signal:
                        weights = gather(state.inference_params)
                    if due.validation:
                        metrics = run.validate(step, validate, weights)
                    run.save(state, dataclasses.replace(metadata, metrics=metrics), due)
                    if sample and not due.signal:
                        run.writer.write_images(step, {"step": sample(weights)})
                    del weights  # the generators, whole on every device
                    if run.finish(step, due):
                        return False
            return True

        # The loop: once, and again after each roll-back.
        while True:
            try:
                return train_steps(state, batch)
            except RollBack as roll_back:  # its frames hold a state: not in here
                why = str(roll_back)
            batches.close()
            state = run.roll_back(abstract, metadata, why)
            batches = open_after_start()
            with run.goodput.measure("input_wait"):
                batch = sharding.to_global(next(batches), mesh)


def find_data(config: ConfigDict, *, workdir: Path, data_dir: Path | None) -> Path:
    """Return the folder of the prepared data; draw the phantom's if there are none."""
    phantom = config.data.source == "phantom"
    if data_dir is None:
        if not phantom:
            raise ValueError("--data_dir is missing: the folder of the prepared data")
        data_dir = workdir / "data"
    empty = files.is_vacant(data_dir)
    if empty and not phantom:
        raise FileNotFoundError(
            f"--data_dir: there are no data in {data_dir}, prepare them with "
            f"--mode=prepare --raw_dir=RAW --data_dir={data_dir}"
        )
    if empty and jax.process_index() == 0:
        logging.info("Drawing the phantom's data into %s", data_dir)
        prepare.prepare(config, None, data_dir)
    processes.barrier("the data are there")
    return data_dir
