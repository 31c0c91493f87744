"""Evaluation of a checkpoint of a run: RUN/evaluation/STEP."""

from pathlib import Path

from ml_collections import ConfigDict

from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import Prepared, load_prepared
from synthct_jax.evaluation import evaluate
from synthct_jax.evaluation.evaluate import Evaluation, Model
from synthct_jax.inference import translator
from synthct_jax.inference.translator import LoadedModel, Translator
from synthct_jax.metrics.inception import Inception
from synthct_jax.runtime import metric_writer


def evaluate_run(
    workdir: Path,
    *,
    step: int | None = None,
    data_dir: Path | None = None,
    split: str | None = None,
    output_dir: Path | None = None,
    inception: Inception | None = None,
) -> Evaluation:
    """Evaluates a checkpoint, by itself: the configuration is in it.

    Args:
        workdir: of the run.
        step: the checkpoint; by default the best that was validated, or the latest.
        data_dir: prepared data; by default those of the training.
        split: of its subjects; by default test, or validation or train where there are
            no others.
        output_dir: by default `folder_of`.
        inception: the network for FID and KID.

    Raises:
        FileNotFoundError, ValueError: as of `evaluate.evaluate` and `load_model`; or
            the data are not what the network takes.
    """
    loaded = translator.load_model(workdir, step, way_back=True)
    data_dir = data_dir or Path(loaded.description.data_dir)
    prepared = load_prepared(data_dir)
    stream.check_compatible(prepared, ConfigDict(loaded.data))
    asked = split
    split = split or prepared.domains["mr"].held_out
    return evaluate.evaluate(
        of_checkpoint(loaded, prepared),
        data_dir=data_dir,
        split=split,
        output_dir=output_dir or folder_of(workdir, loaded.step, asked),
        provenance=loaded.provenance,
        curves=metric_writer.read_rows(workdir / "metrics.jsonl"),
        inception=inception,
    )


def folder_of(workdir: Path, step: int, split: str | None = None) -> Path:
    """RUN/evaluation/STEP, or STEP_SPLIT where a split was asked for by name."""
    return workdir / "evaluation" / (f"{step:06d}" + (f"_{split}" if split else ""))


def of_checkpoint(loaded: LoadedModel, prepared: Prepared) -> Model:
    """A checkpoint as what `evaluate` takes."""
    translator = Translator(
        loaded.gan, loaded.data, stored_channels=prepared.domains["mr"].channels
    )
    return Model(
        translate=lambda mr: translator(loaded.params, mr),
        seen=translator.seen,
        channels=tuple(loaded.data["mr_channels"]),
        cycle=None
        if loaded.params_back is None
        else lambda hu: translator.back(loaded.params_back, hu),
    )
