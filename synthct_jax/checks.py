"""What must fit before a run starts, or goes on: each refusal names the field."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from input_pipeline.prepared import Prepared
from synthct_jax.checkpoint import Description
from synthct_jax.evaluation import validation
from synthct_jax.method import Method

# What a resumed run may change. All else would make it another experiment.
_MAY_CHANGE = (
    "data.workers",
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.keep_latest",
    "train.evaluate_every",
    "train.best_metric",
)


def usable_devices(global_batch: int) -> list[jax.Device]:
    """All devices; in a single process, as many as a small batch divides over.

    Raises:
        ValueError: several processes, and the batch does not divide over all devices.
    """
    devices = jax.devices()
    count = len(devices)
    if global_batch % count == 0 and global_batch > 0:
        return devices
    if jax.process_count() > 1 or global_batch < 1:
        raise ValueError(
            f"train.global_batch is {global_batch}, which does not divide over "
            f"{count} devices: the next that does is "
            f"{(max(global_batch, 0) // count + 1) * count}"
        )
    used = max(n for n in range(1, count + 1) if global_batch % n == 0)
    logging.warning(
        "train.global_batch is %d: it is trained on %d of %d devices; a multiple of %d "
        "would use all",
        *(global_batch, used, count, count),
    )
    return devices[:used]


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
