"""Whether a run may go on from what a checkpoint says about itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from synthct_jax.checkpoint.manager import Description

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


def check_resumable(found: Description, asked: Description, workdir: Path) -> None:
    """Raises ValueError where going on would not be the same experiment.

    Only how long it lasts and what is logged and saved may change.
    """
    old, new = flatten(found.config), flatten(asked.config)
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


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            # Lists and tuples of whatever depth are the same configuration.
            flat[prefix + name] = json.loads(json.dumps(value))
    return flat
