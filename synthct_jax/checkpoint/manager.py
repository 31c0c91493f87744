"""Checkpoints of a run, by Orbax: RUN/checkpoints/STEP/{generator,state,config}.

`generator` holds the weights that translate MR to CT and can be read without the rest;
`state` holds all that the next step depends on; `config` is JSON: the configuration,
the facts of the data set, versions, and a digest of every array. Orbax checks no
contents, a flipped bit would load as other weights: the digests are compared on load.
"""

import dataclasses
import importlib.metadata
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint import checkpoint_managers

from synthct_jax.model.train_state import Params, TrainState

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class DamagedCheckpoint(ValueError):
    """What was read is not what was saved; the message names the step and the array."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """What a checkpoint says about itself, in JSON.

    Attributes:
        config: the configuration it was trained with, `ConfigDict.to_dict` of it.
        prepared: prepared.json of the data it was trained on.
        data_dir: where those data were.
        versions: of this package and the libraries that wrote it.
        metrics: of the validation at this step, if there was one.
    """

    config: dict[str, Any]
    prepared: dict[str, Any]
    data_dir: str
    versions: dict[str, str]
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run: the latest few, and the best by a metric.

    Saving happens in the background: the state may be donated to the next step as soon
    as `save` returns, and `close` (or leaving the `with` block) waits for it.
    """

    def __init__(
        self, workdir: Path, *, keep_latest: int = 3, best_metric: str | None = None
    ):
        """Opens the checkpoints of `workdir` to save and to restore."""
        options = dict(preservation_policy=checkpoint_managers.LatestN(keep_latest))
        if best_metric is not None:

            def metric(metrics: Mapping[str, float] | None) -> float:
                value = (metrics or {}).get(best_metric)
                return math.inf if value is None or math.isnan(value) else value

            best = checkpoint_managers.BestN(get_metric_fn=metric, reverse=True, n=1)
            options = dict(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [options["preservation_policy"], best]
                ),
                best_fn=metric,
                best_mode="min",
            )
        self._open(
            workdir,
            ocp.CheckpointManagerOptions(
                cleanup_tmp_directories=True,
                # All go on from the same step, however old a host's view of it is.
                single_host_load_and_broadcast=jax.process_count() > 1,
                **options,
            ),
        )
        self._tracks_metrics = best_metric is not None

    @classmethod
    def of_run(cls, workdir: Path) -> "Checkpoints":
        """Opens the checkpoints of an existing run to read only.

        Raises:
            FileNotFoundError: there are none.
        """
        folder = workdir / "checkpoints"
        if not workdir.is_dir():
            raise FileNotFoundError(f"--workdir: there is no folder {workdir}")
        self = cls.__new__(cls)
        if folder.is_dir():
            self._open(workdir, ocp.CheckpointManagerOptions(create=False))
        if not folder.is_dir() or not self.steps:
            raise FileNotFoundError(
                f"{workdir} holds no checkpoint, expected {folder}/STEP: train first "
                "(--mode=train), or name the run's folder"
            )
        return self

    def _open(self, workdir: Path, options: ocp.CheckpointManagerOptions) -> None:
        self._folder = workdir.resolve() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=options,
            item_handlers={
                "generator": ocp.StandardCheckpointHandler(),
                "state": ocp.StandardCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # Closing waits for the other processes, which know nothing of an error of ours.
        if error is None or jax.process_count() == 1:
            self.close()

    @property
    def steps(self) -> list[int]:
        """The steps that are there, ascending."""
        # What was sent from host to host is an array.
        return sorted(int(step) for step in self._manager.all_steps())

    @property
    def latest_step(self) -> int | None:
        step = self._manager.latest_step()
        return None if step is None else int(step)

    def save(self, state: TrainState, description: Description) -> bool:
        """Saves a state under its own step; False: it was there already.

        Raises:
            FloatingPointError: an array is not finite. Nothing is saved, so that the
                latest checkpoint is always one to go on from.
        """
        step = int(jax.device_get(state.step))
        if step in self._manager.all_steps():
            return False
        items = {
            "generator": state.translator["to_ct"],
            "state": _to_arrays(state),
        }
        digests = {}
        for name, tree in items.items():
            digests[name], broken = _digests(tree)
            if broken:
                raise FloatingPointError(
                    f"step {step} is not saved: {broken[0]} is not finite, nor are "
                    f"{len(broken) - 1} other arrays"
                )
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},
                config=ocp.args.JsonSave(
                    {
                        "step": step,
                        **_to_json(dataclasses.asdict(description)),
                        "digests": digests,
                    }
                ),
            ),
            metrics=description.metrics if self._tracks_metrics else None,
        )
        return True

    def restore(self, abstract: TrainState, step: int) -> TrainState:
        """The state saved at `step`.

        Args:
            abstract: `jax.ShapeDtypeStruct`s with the shardings to restore onto, which
                need not be those that the state was saved from.

        Raises:
            FileNotFoundError: no such checkpoint.
            DamagedCheckpoint: it cannot be read, or its contents have changed.
        """
        return _from_arrays(self._read(step, "state", _to_arrays(abstract)), abstract)

    def restore_generator(self, step: int) -> Params:
        """The weights that translate MR to CT, on the first device of this process.

        Raises:
            FileNotFoundError: no such checkpoint.
            DamagedCheckpoint: it cannot be read, or its contents have changed.
        """
        self._require(step)
        return self._read(step, "generator", self._on_one_device(step, "generator"))

    def restore_way_back(self, step: int) -> Params | None:
        """The weights that translate CT to MR, out of the state; None without any.

        They are read with all of the state: it is one item, and its digests are
        compared. Errors as of `restore_generator`.
        """
        self._require(step)
        target = self._on_one_device(step, "state")
        names = [f"{kind}/to_mr/" for kind in ("ema", "generators")]
        # The moving average where there is one, as for the way there.
        prefix = next((n for n in names if any(k.startswith(n) for k in target)), None)
        if prefix is None:
            return None
        arrays = self._read(step, "state", target)
        return flax.traverse_util.unflatten_dict(
            {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            },
            sep="/",
        )

    def describe(self, step: int) -> Description:
        """What the checkpoint of `step` says about itself.

        Raises:
            FileNotFoundError: no such checkpoint.
            DamagedCheckpoint: it cannot be read.
        """
        stored = self._json(step)
        return Description(
            config=_from_json(stored["config"]),
            prepared=stored["prepared"],
            data_dir=stored["data_dir"],
            versions=stored["versions"],
            metrics=stored["metrics"],
        )

    def choose(self, step: int | None) -> int:
        """The step asked for, or by default the best validated one, or the latest.

        Raises:
            FileNotFoundError: no such checkpoint.
        """
        if step is not None:
            self._require(step)
            return step
        latest = self._manager.latest_step()
        metric = self.describe(latest).config["train"]["best_metric"]
        return best_step({s: self.describe(s).metrics.get(metric) for s in self.steps})

    def wait(self) -> None:
        """Returns when all that was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _require(self, step: int) -> None:
        if step not in self._manager.all_steps():
            raise FileNotFoundError(
                f"{self._folder} holds no checkpoint of step {step}, it has: "
                f"{', '.join(map(str, self.steps)) or 'none'}"
            )

    def _json(self, step: int) -> dict[str, Any]:
        self._require(step)
        try:
            return self._manager.restore(
                step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
            )["config"]
        except Exception as error:  # whatever a damaged file makes of the reader
            raise self._damaged(step, "config", error) from error

    def _read(self, step: int, item: str, target: Any) -> Any:
        expected = self._json(step)["digests"][item]
        try:
            tree = self._manager.restore(
                step,
                args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target)}),
            )[item]
        except Exception as error:
            raise self._damaged(step, item, error) from error
        found, _ = _digests(tree)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise DamagedCheckpoint(
                    f"{self._folder / str(step) / item} is damaged: {name} is not what "
                    f"was saved (digest {found.get(name)}, expected "
                    f"{expected.get(name)}); remove {self._folder / str(step)} to go "
                    "on from an earlier step"
                )
        logging.info("Read %s of step %d, digests agree", item, step)
        return tree

    def _on_one_device(self, step: int, item: str) -> Params:
        """Shapes of an item as it was saved, to be restored here and now."""
        try:
            metadata = self._manager.item_metadata(step)[item]
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            return jax.tree.map(
                lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=sharding),
                dict(metadata),
            )
        except Exception as error:
            raise self._damaged(step, item, error) from error

    def _damaged(self, step: int, item: str, error: Exception) -> DamagedCheckpoint:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return DamagedCheckpoint(
            f"{self._folder / str(step) / item} cannot be read: {reason[:300]}; remove "
            f"{self._folder / str(step)} to go on from an earlier step"
        )


def best_step(values: Mapping[int, float | None]) -> int:
    """The step of the lowest value, the later of equal ones; without any the latest.

    Args:
        values: of each step the validated metric, None where there was no validation.
    """
    validated = [step for step in sorted(values) if values[step] is not None]
    return min(reversed(validated), key=values.__getitem__, default=max(values))


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that decide about its numbers."""
    found = {}
    for name in ("synthct_jax", *_LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"  # run from its folder
    return found


# --- arrays ---------------------------------------------------------------------------


def _to_arrays(state: TrainState) -> dict[str, Any]:
    """All arrays of a state by name, such as generators/to_ct/...; the key as bits."""
    if isinstance(state.rng, jax.ShapeDtypeStruct):
        bits = jax.eval_shape(jax.random.key_data, state.rng)
        bits = jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=state.rng.sharding)
    else:
        bits = jax.random.key_data(state.rng)
    return _named(state.replace(rng=bits))


def _from_arrays(arrays: Mapping[str, jax.Array], abstract: TrainState) -> TrainState:
    """Inverse of `_to_arrays`, in the shape of `abstract`."""
    names = _named(abstract).keys()
    leaves = [arrays[name] for name in names]
    state = jax.tree.unflatten(jax.tree.structure(abstract), leaves)
    return state.replace(rng=jax.random.wrap_key_data(state.rng))


def _named(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def _digests(tree: Any) -> tuple[dict[str, int], list[str]]:
    """A number for each array that changes with any of its bits; which are not finite.

    Computed where the arrays are, and independent of how they are sharded.
    """
    named = _named(tree)
    sharding = next(iter(named.values())).sharding
    if isinstance(sharding, NamedSharding):  # every process reads the result
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    sums, finite = jax.device_get(
        jax.jit(_weighted_sums, out_shardings=sharding)(list(named.values()))
    )
    digests = {name: int(s) for name, s in zip(named, sums, strict=True)}
    broken = [name for name, ok in zip(named, finite, strict=True) if not ok]
    return digests, broken


def _weighted_sums(arrays: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Sums modulo 2^32 of bit patterns times odd weights that differ by position."""
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}

    def digest(x: jax.Array) -> jax.Array:
        if x.dtype == jnp.bool_:
            x = x.astype(jnp.uint8)
        bits = jax.lax.bitcast_convert_type(x, unsigned[x.dtype.itemsize])
        weight, stride = jnp.ones(x.shape, jnp.uint32), 2
        for axis in reversed(range(x.ndim)):
            position = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
            weight, stride = (
                weight + position * jnp.uint32(stride % 2**32),
                (stride * x.shape[axis]),
            )
        return jnp.sum(bits.astype(jnp.uint32) * weight, dtype=jnp.uint32)

    finite = [jnp.all(jnp.isfinite(x)) for x in arrays]
    return jnp.stack([digest(x) for x in arrays]), jnp.stack(finite)


# --- JSON -----------------------------------------------------------------------------


def _to_json(value: Any) -> Any:
    """Plain JSON, without NaN, which it does not have."""
    if isinstance(value, Mapping):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _from_json(value: Any) -> Any:
    """A configuration's values: its sequences are tuples."""
    if isinstance(value, dict):
        return {k: _from_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_from_json(v) for v in value)
    return value
