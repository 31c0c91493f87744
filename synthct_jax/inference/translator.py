"""Translation of stored slices in batches, on all devices of this process."""

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import PartitionSpec

from input_pipeline.intensity import hu_to_unit, mr_to_unit, unit_to_hu
from synthct_jax.inference import views
from synthct_jax.model.ensemble import Trainable
from synthct_jax.model.train_state import Params
from synthct_jax.parallel import sharding

Network = Callable[[Params, jax.Array], jax.Array]

# Slices at a time on each device. Those larger than 256 x 256 are fewer: a network of
# full width holds 2 GB for 8 such slices.
BATCH = 8
_PIXELS_OF_SLICE = 256**2


class Translator:
    """Generators applied to slices, compiled once for a size of slices."""

    def __init__(
        self,
        method: Trainable,
        data: Mapping[str, Any],
        *,
        stored_channels: Sequence[str],
        batch: int = BATCH,
        view_count: int = 1,
        log_compilation: bool = False,
    ):
        """Take those of `stored_channels` that are `data.mr_channels`, in their order.

        Args:
            data: `config.data`.
            stored_channels: names of the channels of stored MR.
            batch: slices of 256 x 256 that a device takes at a time, at most.
            view_count: views of each slice to average over, see `views_of`.
            log_compilation: whether to log that the network is compiled, for each size
                of slices.

        Raises:
            ValueError: one of the channels is not stored, or there are no so many
                views.
        """
        missing = [name for name in data["mr_channels"] if name not in stored_channels]
        if missing:
            raise ValueError(
                f"no MR channel {', '.join(missing)} among {', '.join(stored_channels)}"
            )
        self._channels = [list(stored_channels).index(n) for n in data["mr_channels"]]
        self._knots = data["ct_knots"]
        self._mr_exponent = data["mr_exponent"]
        self._batch = batch
        self._views = views.views_of(view_count, method.size_multiple)
        # The devices of this process alone: other processes may do something else.
        mesh = sharding.make_mesh(jax.local_devices())
        self._split = sharding.batch_sharding(mesh)
        self._replicated = sharding.replicated(mesh)
        self._devices = mesh.size
        # A batch is fetched while the next one is computed. On a CPU both would be
        # computed, and hold memory, at the same time.
        self._ahead = 0 if mesh.devices.flat[0].platform == "cpu" else 1
        self._log_compilation, self._sizes = log_compilation, set()
        self._to_ct = self._compile(method.translate)
        self._to_mr = self._compile(method.translate_back)

    def __call__(self, params: Params, stored: np.ndarray) -> np.ndarray:
        """Translate stored MR by weights of `to_ct`.

        Args:
            stored: int16 (slices, rows, columns, stored channels).

        Returns:
            HU, float32 (slices, rows, columns).
        """
        return self.with_spread(params, stored)[0]

    def with_spread(
        self, params: Params, stored: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Translate stored MR to HU and their standard deviation, see `stream`."""
        hus, spreads = zip(*self.stream(params, stored), strict=True)
        return np.concatenate(hus), np.concatenate(spreads)

    def stream(
        self, params: Params, stored: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield what a call returns, and a standard deviation beside it.

        Both are over the views of a slice, and over the networks of an ensemble.

        In batches of slices, each while the next one is computed; both in HU, float32
        (n, rows, columns).
        """
        translated = self._in_batches(
            self._to_ct, params, stored, self.network_input, self._views
        )
        for cts in zip(*[translated] * len(self._views), strict=True):
            members = range(cts[0].shape[-1])
            hus = [unit_to_hu(ct[..., i], self._knots) for ct in cts for i in members]
            each = [view for view in self._views for _ in members]
            yield views.average(hus, each)

    def network_input(self, stored: np.ndarray) -> np.ndarray:
        """Return the channels of stored MR that the network takes, in [-1, 1]."""
        return mr_to_unit(stored[..., self._channels], self._mr_exponent)

    def translate_input(self, params: Params, mr: np.ndarray) -> np.ndarray:
        """Return HU (slices, rows, columns) of MR like that of `network_input`."""
        batches = self._in_batches(self._to_ct, params, mr, lambda batch: batch)
        return unit_to_hu(np.concatenate(list(batches)), self._knots).mean(axis=-1)

    def translate_back(self, params: Params, hu: np.ndarray) -> np.ndarray:
        """Return MR like that of `network_input` of HU, by weights of `to_mr`.

        Args:
            hu: (slices, rows, columns).
        """

        def to_input(hu: np.ndarray) -> np.ndarray:
            return hu_to_unit(hu, self._knots)[..., None]

        return np.concatenate(list(self._in_batches(self._to_mr, params, hu, to_input)))

    def _compile(self, network: Network) -> Network:
        """Give each device its own slices; the compiler moves none of them."""
        if self._devices == 1:
            return jax.jit(network)
        split = self._split.spec
        return jax.jit(
            jax.shard_map(
                network,
                mesh=self._split.mesh,
                in_specs=(PartitionSpec(), split),
                out_specs=split,
                check_vma=False,
            )
        )

    def _in_batches(
        self,
        network: Network,
        params: Params,
        images: np.ndarray,
        to_input: Callable[[np.ndarray], np.ndarray],
        each: Sequence[views.View] = views.views_of(1, 1),
    ) -> Iterator[np.ndarray]:
        """Yield each view of the first batch, then of the next."""
        params = jax.device_put(params, self._replicated)
        slices = self._batch * _PIXELS_OF_SLICE // math.prod(images.shape[1:3])
        size = self._devices * max(1, min(self._batch, slices))
        if self._log_compilation and images.shape[1:3] not in self._sizes:
            self._sizes.add(images.shape[1:3])
            logging.info("Compiling the network, or reading it from the cache")
        computing = collections.deque()
        for start in range(0, len(images), size):
            batch = to_input(images[start : start + size])
            # The last batch is filled up, or it would be compiled on its own.
            padding = [(0, size - len(batch))] + [(0, 0)] * 3
            padded = np.pad(batch, padding, mode="edge")
            for view in each:
                seen = jax.device_put(view.of(padded), self._split)
                computing.append((network(params, seen), len(batch)))
                if len(computing) > self._ahead:
                    translated, count = computing.popleft()
                    yield jax.device_get(translated)[:count]
        for translated, count in computing:
            yield jax.device_get(translated)[:count]
