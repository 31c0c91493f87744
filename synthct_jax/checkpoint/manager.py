"""Saving and restoring the checkpoints of a run, by Orbax.

RUN/checkpoints/STEP/generator          weights that translate MR to CT
RUN/checkpoints/STEP/inverse_generator  the inverse, if there is one
RUN/checkpoints/STEP/state              everything that the next step depends on
RUN/checkpoints/STEP/config             JSON: `metadata.CheckpointMetadata`

Both generators are the moving averages, if the run keeps any. Orbax does not check
contents: with a flipped bit it would restore other weights. So a digest of every array
is saved in the JSON, and compared when the array is restored.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from input_pipeline.digests import with_digest
from synthct_jax.checkpoint import metadata
from synthct_jax.checkpoint.digest import array_digests, name_leaves
from synthct_jax.checkpoint.metadata import CheckpointMetadata, DamagedCheckpoint
from synthct_jax.model.train_state import Params, TrainState

_ARRAY_ITEMS = ("generator", "inverse_generator", "state")


@dataclasses.dataclass(frozen=True)
class _LatestGood(checkpoint_managers.PreservationPolicy):
    """Keep the latest checkpoint whose metrics meet a condition."""

    is_good: Callable[[Mapping[str, float]], bool]

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        good = [self.is_good(checkpoint.metrics or {}) for checkpoint in checkpoints]
        return [is_good and not any(good[i + 1 :]) for i, is_good in enumerate(good)]


class Checkpoints:
    """The checkpoints of one run: the latest few, and the best by a metric.

    Saving happens in the background: the state may be donated to the next step as soon
    as `save` returns. `close`, or leaving the `with` block, waits for it.

    Whatever reads a step raises FileNotFoundError if there is no such checkpoint, and
    DamagedCheckpoint if it cannot be read or its contents have changed.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep_latest: int = 3,
        best_metric: str | None = None,
        keep_good: Callable[[Mapping[str, float]], bool] | None = None,
        read_only: bool = False,
    ):
        """Open the checkpoints of `workdir`.

        Args:
            keep_latest: how many of the latest are kept.
            best_metric: also keep the one with the lowest value of this metric.
            keep_good: with `best_metric`, also keep the latest whose metrics meet this.
            read_only: change nothing: another process may be saving.
        """
        self._workdir = workdir.resolve()
        self._folder = metadata.checkpoints_folder(self._workdir)
        self._tracks_metrics = best_metric is not None
        several = jax.process_count() > 1
        policy, best = checkpoint_managers.LatestN(keep_latest), {}
        if best_metric is not None:

            def metric(metrics: Mapping[str, float] | None) -> float:
                value = (metrics or {}).get(best_metric)
                return math.inf if value is None or math.isnan(value) else value

            policies = [
                policy,
                checkpoint_managers.BestN(get_metric_fn=metric, reverse=True, n=1),
            ]
            if keep_good is not None:
                policies.append(_LatestGood(keep_good))
            policy = checkpoint_managers.AnyPreservationPolicy(policies)
            best = dict(best_fn=metric, best_mode="min")
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                # All processes resume from the same step, however old a host's view of
                # the folder is.
                single_host_load_and_broadcast=several and not read_only,
                preservation_policy=policy,
                **best,
            ),
            item_handlers={
                "config": ocp.JsonCheckpointHandler(),
                **{name: ocp.StandardCheckpointHandler() for name in _ARRAY_ITEMS},
            },
        )

    @classmethod
    def of_run(cls, workdir: Path) -> "Checkpoints":
        """Open the checkpoints of an existing run, only to restore."""
        metadata.require_checkpoints(workdir)
        for step in metadata.list_steps(workdir):
            # A training that goes on removes old steps at any time.
            with contextlib.suppress(FileNotFoundError):
                metadata.check_descriptions(workdir, step)
        return cls(workdir, read_only=True)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # Closing waits for the other processes, which may not have this error.
        if error is None or jax.process_count() == 1:
            self.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the latest checkpoint, None if there is none."""
        step = self._manager.latest_step()
        return None if step is None else int(step)

    def save(self, state: TrainState, description: CheckpointMetadata) -> bool:
        """Save a state under its own step; return False if that step exists already.

        With an array that is not finite it raises FloatingPointError and saves nothing:
        one can always resume from the latest checkpoint.
        """
        step = int(jax.device_get(state.step))
        if step in self._manager.all_steps():
            return False
        items = {
            "generator": state.inference_params["to_ct"],
            "state": state_to_arrays(state),
        }
        if "to_mr" in state.inference_params:
            items["inverse_generator"] = state.inference_params["to_mr"]
        digests = {}
        for name, tree in items.items():
            digests[name], not_finite = array_digests(tree)
            if not_finite:
                raise FloatingPointError(
                    f"step {step} is not saved: {len(not_finite)} of its arrays hold "
                    f"NaN or infinity, the first is {not_finite[0]}"
                )
        description = dataclasses.replace(description, digests=digests)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},
                config=ocp.args.JsonSave(
                    with_digest({"step": step, **description.to_json()})
                ),
            ),
            metrics=description.metrics if self._tracks_metrics else None,
        )
        return True

    def restore(self, abstract: TrainState, step: int) -> TrainState:
        """Return the state saved at `step`.

        The shardings of `abstract` may differ from those of the saved state.
        """
        arrays = self._read(step, "state", state_to_arrays(abstract))
        leaves = [arrays[name] for name in name_leaves(abstract)]
        state = jax.tree.unflatten(jax.tree.structure(abstract), leaves)
        return state.replace(rng=jax.random.wrap_key_data(state.rng))

    def restore_generator(self, step: int) -> Params:
        """Return the weights that translate MR to CT, on one device of this process."""
        return self._read_on_one_device(step, "generator")

    def restore_inverse_generator(self, step: int) -> Params | None:
        """Return the weights that translate CT to MR, None for a supervised network."""
        digests = metadata.read_metadata(self._workdir, step).digests
        if "inverse_generator" in digests:
            return self._read_on_one_device(step, "inverse_generator")
        return None

    def set_aside(self, step: int) -> Path:
        """Hide a damaged checkpoint by another name; return its new path."""
        self.wait()
        aside = metadata.set_aside(self._workdir, step)
        self._manager.reload()
        return aside

    def remove_after(self, step: int) -> None:
        """Remove the checkpoints of later steps, the latest first."""
        self.wait()
        for later in sorted(self._manager.all_steps(), reverse=True):
            if later > step:
                self._manager.delete(later)

    def wait(self) -> None:
        """Wait until everything that was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait until everything that was saved is on disk, and stop the threads."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _read(self, step: int, item: str, target: Any) -> Any:
        """Restore an item into the shapes and shardings of `target`, and check it."""
        saved = metadata.read_metadata(self._workdir, step).digests
        folder = self._folder / str(step) / item
        with metadata.damaged_on_error(folder):
            expected = saved[item]
            tree = self._manager.restore(
                step,
                args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target)}),
            )[item]
        digests, _ = array_digests(tree)
        for name in sorted(expected.keys() | digests.keys()):
            if expected.get(name) != digests.get(name):
                raise DamagedCheckpoint(
                    f"{folder} is damaged: {name} is not what was saved (digest "
                    f"{digests.get(name)}, expected {expected.get(name)})"
                )
        logging.info("Read %s of step %d, digests agree", item, step)
        return tree

    def _read_on_one_device(self, step: int, item: str) -> dict[str, Any]:
        """Restore an item with the shapes that were saved, onto a device of ours."""
        metadata.choose_step(self._workdir, step)  # raises if there is none
        with metadata.damaged_on_error(self._folder / str(step) / item):
            saved = self._manager.item_metadata(step)[item]
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            target = jax.tree.map(
                lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=sharding),
                dict(saved),
            )
        return self._read(step, item, target)


def state_to_arrays(state: TrainState) -> dict[str, Any]:
    """Return all arrays of a state by name, such as generators/to_ct/stem/kernel.

    The random key becomes its bits. Works on abstract states too.
    """
    if isinstance(state.rng, jax.ShapeDtypeStruct):
        bits = jax.eval_shape(jax.random.key_data, state.rng)
        bits = jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=state.rng.sharding)
    else:
        bits = jax.random.key_data(state.rng)
    return name_leaves(state.replace(rng=bits))
