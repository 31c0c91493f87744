"""Generators at work: out of a checkpoint, or in the middle of training."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from input_pipeline.intensity import hu_to_unit, mr_to_unit, unit_to_hu
from synthct_jax.checkpoint import manager
from synthct_jax.checkpoint.manager import Checkpoints, Description
from synthct_jax.model import method
from synthct_jax.model.cyclegan import CycleGan
from synthct_jax.model.method import Method
from synthct_jax.model.train_state import Params
from synthct_jax.parallel import sharding

Translation = Callable[[Params, jax.Array], jax.Array]

_BATCH = 8  # slices on each device, or fewer, so that there are at most so many
_PIXELS = _BATCH * 256**2  # pixels: what a network of full width holds for them is 2 GB


class Translator:
    """Stored MR slices to HU, by whatever weights: compiled once for a slice's size."""

    def __init__(
        self, gan: Method, data: Mapping[str, Any], *, stored_channels: Sequence[str]
    ):
        """Takes out of `stored_channels` those of `data.mr_channels`, in their order.

        Raises:
            ValueError: one of them is not stored.
        """
        missing = [name for name in data["mr_channels"] if name not in stored_channels]
        if missing:
            raise ValueError(
                f"no MR channel {', '.join(missing)} among {', '.join(stored_channels)}"
            )
        self._channels = [list(stored_channels).index(n) for n in data["mr_channels"]]
        self._knots = data["ct_knots"]
        # The devices of this process: others may be at something else.
        mesh = sharding.make_mesh(jax.local_devices())
        self._split = sharding.batch_sharding(mesh)
        self._everywhere = sharding.replicated(mesh)
        self._devices = mesh.size
        # A batch is fetched while the next one is at work. On a CPU both would compute,
        # and hold their memory, at the same time.
        self._ahead = 0 if mesh.devices.flat[0].platform == "cpu" else 1
        self._translate = self._compiled(gan.translate)
        self._translate_back = (
            self._compiled(gan.translate_back) if isinstance(gan, CycleGan) else None
        )

    def __call__(self, params: Params, stored: np.ndarray) -> np.ndarray:
        """HU (slices, rows, columns) float32 of int16 MR (slices, rows, columns, c)."""
        return np.concatenate(list(self.stream(params, stored)))

    def stream(self, params: Params, stored: np.ndarray) -> Iterator[np.ndarray]:
        """The same in batches of slices, each while the devices have the next one."""
        for ct in self._in_batches(self._translate, params, stored, self.seen):
            yield unit_to_hu(ct[..., 0], self._knots)

    def seen(self, stored: np.ndarray) -> np.ndarray:
        """What the network sees of stored MR: its channels, float32 in [-1, 1]."""
        return mr_to_unit(stored[..., self._channels])

    def back(self, params: Params, hu: np.ndarray) -> np.ndarray:
        """MR like `seen` of HU (slices, rows, columns), by the weights of to_mr.

        Raises:
            ValueError: a supervised network has no way back.
        """
        if self._translate_back is None:
            raise ValueError("method=supervised has no generator from CT to MR")

        def to_unit(part: np.ndarray) -> np.ndarray:
            return hu_to_unit(part, self._knots)[..., None]

        found = self._in_batches(self._translate_back, params, hu, to_unit)
        return np.concatenate(list(found))

    def _compiled(self, function: Translation) -> Translation:
        """Each device has its own slices, of which the compiler is to move none."""
        if self._devices == 1:
            return jax.jit(function)
        split = self._split.spec
        return jax.jit(
            jax.shard_map(
                function,
                mesh=self._split.mesh,
                in_specs=(PartitionSpec(), split),
                out_specs=split,
                check_vma=False,
            )
        )

    def _in_batches(
        self,
        function: Translation,
        params: Params,
        images: np.ndarray,
        to_unit: Callable[[np.ndarray], np.ndarray],
    ) -> Iterator[np.ndarray]:
        params = jax.device_put(params, self._everywhere)
        pixels = math.prod(images.shape[1:3])
        size = self._devices * max(1, min(_BATCH, _PIXELS // pixels))
        running = collections.deque()
        for start in range(0, len(images), size):
            part = to_unit(images[start : start + size])
            # The last batch is filled up, or it would be compiled on its own.
            padding = [(0, size - len(part))] + [(0, 0)] * 3
            batch = jax.device_put(np.pad(part, padding, mode="edge"), self._split)
            running.append((function(params, batch), len(part)))
            if len(running) > self._ahead:
                found, count = running.popleft()
                yield jax.device_get(found)[:count]
        for found, count in running:
            yield jax.device_get(found)[:count]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A generator out of a checkpoint, ready to translate.

    Attributes:
        workdir: of the run.
        gan: the networks.
        params: weights of to_ct.
        params_back: weights of to_mr, where they were asked for and there are any.
        step: of the checkpoint.
        description: what the checkpoint says about itself.
    """

    workdir: Path
    gan: Method
    params: Params
    step: int
    description: Description
    params_back: Params | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """`config.data` of the training."""
        return self.description.config["data"]

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the result, for reports: JSON."""
        return {
            "workdir": str(self.workdir.resolve()),
            "step": self.step,
            "trained_on": self.description.data_dir,
            "config": self.description.config,
            "versions": manager.versions(),
            "trained_with_versions": self.description.versions,
        }


def load_model(
    workdir: Path, step: int | None = None, *, way_back: bool = False
) -> LoadedModel:
    """Reads the generator and the configuration of a checkpoint, and nothing else.

    Args:
        workdir: of the run.
        step: the checkpoint; by default the best that was validated, or the latest.
        way_back: read the generator from CT to MR as well.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        DamagedCheckpoint: it is not what was saved.
    """
    with Checkpoints.of_run(workdir) as checkpoints:
        step = checkpoints.choose(step)
        description = checkpoints.describe(step)
        params = checkpoints.restore_generator(step)
        params_back = checkpoints.restore_way_back(step) if way_back else None
    logging.info("Checkpoint of step %d in %s", step, workdir)
    return LoadedModel(
        workdir=workdir,
        gan=method.from_config(ConfigDict(description.config)),
        params=params,
        step=step,
        description=description,
        params_back=params_back,
    )
