"""What must fit before a run starts, or goes on: each refusal names the field."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset.manifest import Prepared
from synthct_jax.checkpoint.manager import Description
from synthct_jax.evaluation import validation
from synthct_jax.model.method import Method
from synthct_jax.parallel import sharding

# What a resumed run may change. All else would make it another experiment.
_MAY_CHANGE = (
    "data.workers",
    "mesh.data",
    "mesh.fsdp",
    "mesh.space",
    "model.remat",
    "train.accumulate",
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.keep_latest",
    "train.evaluate_every",
    "train.best_metric",
    "train.watchdog_seconds",
)


def choose_mesh(
    config: ConfigDict, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """The mesh that `config.mesh` asks for, of all devices or of those given.

    A single process that was asked for no certain number of devices trains on as many
    as a small batch divides over; several processes train on all devices or not at all.

    Raises:
        ValueError: the devices, the batch or the images do not divide as asked; names
            the field.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: int(config.mesh[axis]) for axis in sharding.AXES}
    open_axes = [axis for axis, size in sizes.items() if size == -1]
    for axis, size in sizes.items():
        if size < 1 and size != -1:
            raise ValueError(f"mesh.{axis} is {size}, expected -1 or at least 1")
    if len(open_axes) > 1:
        raise ValueError(
            f"mesh.{open_axes[0]} and mesh.{open_axes[1]} are -1, expected one at most"
        )
    several = len({device.process_index for device in devices}) > 1
    asked = math.prod(size for size in sizes.values() if size != -1)
    shown = ", ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
    if len(devices) % asked if open_axes else len(devices) < asked:
        raise ValueError(
            f"{shown}: {asked} {'does not divide' if open_axes else 'are not among'} "
            f"the {len(devices)} devices"
        )
    if several and not open_axes and asked < len(devices):
        raise ValueError(
            f"{shown}: {asked} of {len(devices)} devices; several processes use all"
        )
    batch, parts = config.train.global_batch, config.train.accumulate
    if batch < 1 or parts < 1 or batch % parts:
        raise ValueError(
            f"train.global_batch is {batch} and train.accumulate {parts}, expected "
            "both above 0, and the first a multiple of the second"
        )
    for axis in open_axes:
        sizes[axis] = len(devices) // asked
    if "data" in open_axes and not several:
        sizes["data"] = _most_that_divide(batch // parts, sizes)
    images, used = sizes["data"] * sizes["fsdp"], math.prod(sizes.values())
    multiple = parts * images
    if batch % multiple:
        in_parts = f" in {parts} parts" if parts > 1 else ""
        raise ValueError(
            f"train.global_batch is {batch}{in_parts}, which does not divide over "
            f"{images} shares of a batch ({shown}): the next that does is "
            f"{(batch // multiple + 1) * multiple}"
        )
    if used < len(devices) and open_axes:
        logging.warning(
            "train.global_batch is %d: it is trained on %d of %d devices; a multiple "
            "of %d would use all",
            *(batch, used, len(devices), parts * len(devices) // sizes["space"]),
        )
    _check_rows(config, sizes["space"])
    logging.info(
        "Mesh of %d of %d device%s: %s. Of %d images a step %d at a time on each%s",
        *(used, len(devices), "s" if len(devices) > 1 else ""),
        ", ".join(f"{axis} {size}" for axis, size in sizes.items()),
        *(batch, batch // parts // images),
        f", {parts} times" if parts > 1 else "",
    )
    return sharding.make_mesh(devices[:used], fsdp=sizes["fsdp"], space=sizes["space"])


def _most_that_divide(batch: int, sizes: Mapping[str, int]) -> int:
    """The most devices along data over which the batch divides."""
    most = sizes["data"]
    return max(
        n for n in range(1, most + 1) if n == 1 or not batch % (n * sizes["fsdp"])
    )


def _check_rows(config: ConfigDict, space: int) -> None:
    """Raises ValueError where rows do not divide, or a border were a whole share."""
    size = config.data.crop or config.data.size
    halvings = max(config.model.downsamplings, config.model.discriminator_layers)
    rows, odd = divmod(size, space * 2**halvings)
    if space > 1 and (odd or rows < 2):
        raise ValueError(
            f"mesh.space is {space}, with images of {size} rows that the networks "
            f"halve {halvings} times: expected a multiple of {space * 2**halvings}, "
            "with two or more rows on each device in the end"
        )


def check_sizes(config: ConfigDict, gan: Method) -> None:
    """Raises ValueError for numbers that no network or schedule can be made of."""
    for field in ("width", "blocks", "discriminator_width", "discriminator_layers"):
        if config.model[field] < 1:
            raise ValueError(f"model.{field} is {config.model[field]}, expected >= 1")
    for field in ("size", "crop"):
        if config.data[field] % gan.stride:
            raise ValueError(
                f"data.{field} is {config.data[field]}, expected a multiple of "
                f"{gan.stride}: model.downsamplings is {config.model.downsamplings}"
            )
    if config.train.watchdog_seconds < 0:
        raise ValueError(
            f"train.watchdog_seconds is {config.train.watchdog_seconds}, expected 0 "
            "(never) or more"
        )
    if not 0 <= config.train.decay_start <= 1:
        raise ValueError(
            f"train.decay_start is {config.train.decay_start}, expected a fraction of "
            "the steps, 0 to 1"
        )


def check_validation(config: ConfigDict, prepared: Prepared, data_dir: Path) -> None:
    """Raises ValueError where validation is wanted and cannot be done as wanted."""
    if not config.train.evaluate_every:
        return
    metric = config.train.best_metric
    if metric not in validation.LOWER_IS_BETTER:
        raise ValueError(
            f"train.best_metric is {metric!r}, expected one of those of which the "
            f"lowest is best: {', '.join(validation.LOWER_IS_BETTER)}"
        )
    if metric != "frechet_haar" and "labels" not in prepared.domains:
        raise ValueError(
            f"train.best_metric is {metric!r}, which needs the true CT of MR "
            f"subjects; {data_dir} has none: set it to frechet_haar"
        )
    if not all(
        prepared.domains[domain].of_split("validation") for domain in ("mr", "ct")
    ):
        raise ValueError(
            f"{data_dir} has no MR and CT subjects to validate on: set "
            f"train.evaluate_every to 0, it is {config.train.evaluate_every}"
        )


def check_resumable(found: Description, asked: Description, workdir: Path) -> None:
    """Raises ValueError where going on would not be the same experiment.

    Only how long it lasts and what is logged and saved may change.
    """
    old, new = _flat(found.config), _flat(asked.config)
    refused = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name, "not there"), new.get(name, "not there")
        if before == now:
            continue
        if name not in _MAY_CHANGE:
            refused.append(f"{name} = {before} (now {now})")
        elif name == "train.steps":
            logging.warning(
                "train.steps was %s and is %s: the learning rate decays accordingly "
                "from here on, as it would not have in a run of %s steps",
                *(before, now, now),
            )
        else:
            logging.info("%s was %s and is %s", name, before, now)
    if refused:
        raise ValueError(
            f"{workdir} was trained with {'; '.join(refused)}: go on with its own "
            "configuration, or choose another --workdir"
        )
    for domain in ("mr", "ct"):
        before, now = (
            [
                (subject["name"], subject["slices"])
                for subject in description.prepared["domains"][domain]["subjects"]
                if subject["split"] == "train"
            ]
            for description in (found, asked)
        )
        if before != now:
            raise ValueError(
                f"{workdir} was trained on {found.data_dir} with {len(before)} "
                f"{domain} subjects and {sum(n for _, n in before)} slices; "
                f"{asked.data_dir} has {len(now)} and {sum(n for _, n in now)}"
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            # Lists and tuples of whatever depth are the same configuration.
            flat[prefix + name] = json.loads(json.dumps(value))
    return flat
