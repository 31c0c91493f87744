"""The generator of a checkpoint, with what the checkpoint says about it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.checkpoint.metadata import (
    CheckpointMetadata,
    choose_step,
    library_versions,
    read_metadata,
)
from synthct_jax.model import methods
from synthct_jax.model.methods import Method
from synthct_jax.model.train_state import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """The generator of a checkpoint, ready to translate.

    Attributes:
        params: weights of to_ct.
        inverse_params: weights of to_mr; None if not requested or not there.
    """

    workdir: Path
    method: Method
    params: Params
    step: int
    metadata: CheckpointMetadata
    inverse_params: Params | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """`config.data` of the training."""
        return self.metadata.config["data"]

    @property
    def provenance(self) -> dict[str, Any]:
        """Return what made a result, for reports: JSON."""
        return {
            "workdir": str(self.workdir.resolve()),
            "step": self.step,
            "trained_on": self.metadata.data_dir,
            "config": self.metadata.config,
            "versions": library_versions(),
            "trained_with_versions": self.metadata.versions,
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
    with Checkpoints.of_run(workdir) as checkpoints:
        step = choose_step(workdir, step)
        metadata = read_metadata(workdir, step)
        params = checkpoints.restore_generator(step)
        inverse_params = (
            checkpoints.restore_inverse_generator(step) if inverse else None
        )
    logging.info("Checkpoint of step %d in %s", step, workdir)
    return LoadedModel(
        workdir=workdir,
        method=methods.from_config(ConfigDict(metadata.config)),
        params=params,
        step=step,
        metadata=metadata,
        inverse_params=inverse_params,
    )
