"""A generator that translates, from a checkpoint or from a model file."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from input_pipeline.intensity import optional_channels
from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.metadata import (
    DamagedCheckpoint,
    choose_step,
    library_versions,
    list_steps,
    read_metadata,
)
from synthct_jax.inference.translator import Translator
from synthct_jax.model import methods
from synthct_jax.model.absent_channels import take_inputs, take_outputs
from synthct_jax.model.ensemble import Trainable
from synthct_jax.model.train_state import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A generator, ready to translate, with what is known of it.

    Attributes:
        source: its folder and step, or its file; for messages.
        identity: which generator it is, for reports: JSON.
        params: weights of to_ct.
        config: of the training.
        trained_on: folder of the data, or a description of them.
        training_mr: see `CheckpointMetadata`.
        versions: of this package and its libraries, at the training.
        inverse_params: weights of to_mr; None if not requested or not there.
        quality: limits of features, of a calibrated model file; else None.
    """

    source: str
    identity: Mapping[str, Any]
    method: Trainable
    params: Params
    config: Mapping[str, Any]
    trained_on: str
    training_mr: Mapping[str, Any]
    versions: Mapping[str, str]
    inverse_params: Params | None = None
    quality: Mapping[str, Any] | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """`config.data` of the training."""
        return self.config["data"]

    @property
    def views(self) -> int:
        """Number of views to average over, see `views_of`."""
        return self.config["translate"]["views"]

    @property
    def has_spread(self) -> bool:
        """Return whether several views or networks translate each slice."""
        return self.views > 1 or self.config["mesh"]["seeds"] > 1

    def with_views(self, count: int | None) -> "LoadedModel":
        """Return the generator with another number of views; None for its own."""
        if count in (None, self.views):
            return self
        translate = {"views": count}
        return dataclasses.replace(self, config={**self.config, "translate": translate})

    @property
    def channel_needs(self) -> str:
        """Return which MR channels the training had, and which may be missing."""
        names = self.data["mr_channels"]
        text = f"the model was trained on {len(names)} MR channel"
        if len(names) == 1:
            return f"{text}: {names[0]}"
        needs = "always with all of them"
        if optional_channels(self.data):
            needs = "of which one may be missing"
        return f"{text}s: {', '.join(names)}, {needs}"

    def with_channels(self, channels: Collection[str]) -> "LoadedModel":
        """Return the generator for MR that have these channels.

        Without one of its own it has no limits of features: they are of complete MR.

        Raises:
            ValueError: it needs a channel that is not there; names it.
        """
        names = self.data["mr_channels"]
        missing = [name for name in names if name not in channels]
        if not missing:
            return self
        if len(missing) > 1 or missing[0] not in optional_channels(self.data):
            raise ValueError(
                f"no MR channel {', '.join(missing)} among {', '.join(channels)} "
                f"({self.channel_needs})"
            )
        return self._without[missing[0]]

    @functools.cached_property
    def _without(self) -> dict[str, "LoadedModel"]:
        """Return the generator without each channel that may be missing, by its name.

        They are made once, so that each is compiled once for many patients.
        """
        return {name: self._leave_out(name) for name in optional_channels(self.data)}

    def _leave_out(self, channel: str) -> "LoadedModel":
        names = self.data["mr_channels"]
        kept = [index for index, name in enumerate(names) if name != channel]
        data = {**self.data, "mr_channels": tuple(names[index] for index in kept)}
        config = {**self.config, "data": data}
        inverse = self.inverse_params
        return dataclasses.replace(
            self,
            method=methods.from_config(ConfigDict(config)),
            params=take_inputs(self.params, kept),
            config=config,
            inverse_params=None if inverse is None else take_outputs(inverse, kept),
            quality=None,
        )

    @functools.cached_property
    def translator(self) -> Translator:
        """Return what applies the generator to slices with the channels it takes.

        It keeps its compiled programs: one for each size of slices.
        """
        return self.translator_of(self.data["mr_channels"])

    def translator_of(self, stored_channels: Sequence[str]) -> Translator:
        """Return what applies the generator to slices that have these channels."""
        return Translator(
            self.method,
            self.data,
            stored_channels=stored_channels,
            view_count=self.views,
            log_compilation=True,
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Return what made a result, for reports: JSON."""
        return {
            **self.identity,
            "trained_on": self.trained_on,
            "config": self.config,
            "versions": library_versions(),
            "trained_with_versions": self.versions,
        }


def load_model(
    workdir: Path, step: int | None = None, *, inverse: bool = False
) -> LoadedModel:
    """Read the generator and the configuration of a checkpoint, and nothing else.

    Args:
        step: of the checkpoint; by default the best validated, or the latest.
        inverse: whether to read the generator from CT to MR as well.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        DamagedCheckpoint: it differs from what was saved.
    """
    # Orbax takes a while to import, and model files do without.
    from synthct_jax.checkpoint.manager import Checkpoints

    with Checkpoints.of_run(workdir) as checkpoints:
        step = choose_step(workdir, step)
        metadata = read_metadata(workdir, step)
        try:
            params = checkpoints.restore_generator(step)
            inverse_params = (
                checkpoints.restore_inverse_generator(step) if inverse else None
            )
        except DamagedCheckpoint as error:
            steps = [str(other) for other in list_steps(workdir) if other != step]
            choice = f"--step: {', '.join(steps)}" if steps else "there is none"
            raise DamagedCheckpoint(
                f"{error}; take another checkpoint of the run ({choice})"
            ) from error
    logging.info("Checkpoint of step %d in %s", step, workdir)
    return LoadedModel(
        source=f"{workdir}, step {step}",
        identity={
            "workdir": str(workdir.resolve()),
            "step": step,
            "roll_backs": metadata.roll_backs,
        },
        method=methods.from_config(ConfigDict(metadata.config)),
        params=params,
        config=metadata.config,
        trained_on=metadata.data_dir,
        training_mr=metadata.training_mr,
        versions=metadata.versions,
        inverse_params=inverse_params,
    )


def load_model_file(model: str) -> LoadedModel:
    """Read a model, given the path of its .safetensors file or a shipped name.

    Raises:
        FileNotFoundError, UnusableModel: as for `model_file.read_model`.
    """
    file = model_file.read_model(model)
    card = file.card
    logging.info("Model %s (%s)", file.path.stem, card["intended_use"])
    return LoadedModel(
        source=str(file.path),
        identity={
            "model": file.path.stem,
            "digest": card["digest"],
            "intended_use": card["intended_use"],
        },
        method=methods.from_config(ConfigDict(file.config)),
        params=file.params,
        config=file.config,
        trained_on=card["trained_on"],
        training_mr=card["training_mr"],
        versions=card["versions"],
        quality=card.get("quality"),
    )
