"""Ranges of the numbers in a configuration, also against each other."""

from ml_collections import ConfigDict

from input_pipeline.ranges import (
    BELOW_ONE,
    DATA_RANGES,
    ONE_OR_MORE,
    ZERO_OR_MORE,
    ZERO_TO_ONE,
    check_choice,
    check_numbers,
)

GUARDS = ("log", "stop", "roll_back")
"""Policies of `train.guard`."""

# `choose_mesh` checks the numbers of the mesh, `views_of` that of the views, and
# `load_teacher` that of the teacher's.
RANGES = DATA_RANGES | {
    "model.width": ONE_OR_MORE,
    "model.blocks": ONE_OR_MORE,
    "model.downsamplings": ZERO_OR_MORE,
    "model.discriminator_width": ONE_OR_MORE,
    "model.discriminator_layers": ONE_OR_MORE,
    "loss.cycle_mr": ZERO_OR_MORE,
    "loss.cycle_ct": ZERO_OR_MORE,
    "loss.identity": ZERO_OR_MORE,
    "loss.tissue_ranges": ZERO_OR_MORE,
    "loss.fat_threshold": ZERO_TO_ONE,
    "loss.noise_ct": ZERO_OR_MORE,
    "loss.noise_mr": ZERO_OR_MORE,
    "loss.simulated": ZERO_OR_MORE,
    "loss.paired": ZERO_OR_MORE,
    "loss.supervised_adversarial": ZERO_OR_MORE,
    "train.steps": ONE_OR_MORE,
    "train.global_batch": ONE_OR_MORE,
    "train.accumulate": ONE_OR_MORE,
    "train.learning_rate": ZERO_OR_MORE,
    "train.discriminator_learning_rate_ratio": ZERO_OR_MORE,
    "train.beta1": BELOW_ONE,
    "train.beta2": BELOW_ONE,
    "train.decay_start": ZERO_TO_ONE,
    "train.pool_size": ZERO_OR_MORE,
    "train.ema_decay": BELOW_ONE,
    "train.log_every": ONE_OR_MORE,
    "train.save_every": ONE_OR_MORE,
    "train.keep_latest": ONE_OR_MORE,
    "train.watchdog_seconds": ZERO_OR_MORE,
    "train.evaluate_every": ZERO_OR_MORE,
    "train.guard_after": ZERO_TO_ONE,
    "train.roll_backs": ZERO_OR_MORE,
}


def check_ranges(config: ConfigDict) -> None:
    """Refuse a configuration with a number outside its range.

    Raises:
        ValueError: names the field, its value and the range.
    """
    check_numbers(config, RANGES)


def check_relations(config: ConfigDict, *, size_multiple: int) -> None:
    """Check sizes against the network, and weights of losses against the method.

    Args:
        size_multiple: see `Method`.

    Raises:
        ValueError: no batch can be made of them, or nothing reads a weight.
    """
    for name in ("size", "crop"):
        if config.data[name] % size_multiple:
            raise ValueError(
                f"data.{name} is {config.data[name]}, expected a multiple of "
                f"{size_multiple}: model.downsamplings is {config.model.downsamplings}"
            )
    readers = {
        "simulated": ("cyclegan",),
        "paired": ("cyclegan",),
        "tissue_ranges": ("cyclegan",),
        "noise_ct": ("cyclegan",),
        "noise_mr": ("cyclegan", "distilled"),
        "supervised_adversarial": ("supervised",),
    }
    for name, methods in readers.items():
        if config.loss[name] and config.method not in methods:
            raise ValueError(
                f"loss.{name} is {config.loss[name]}, expected 0: method is "
                f"{config.method}, only {' or '.join(methods)} reads it"
            )
    if (config.method == "distilled") != bool(config.train.distil_from):
        raise ValueError(
            f"method is {config.method} and train.distil_from "
            f"{config.train.distil_from!r}, expected distilled with a run or a model, "
            "or another method without"
        )
    check_choice("train.guard", config.train.guard, GUARDS)
    if config.train.guard != "log" and not config.train.evaluate_every:
        raise ValueError(
            f"train.guard is {config.train.guard}, expected log: train.evaluate_every "
            "is 0, so nothing is judged"
        )
    if config.loss.tissue_ranges and "t2" in config.data.mr_channels:
        raise ValueError(
            f"loss.tissue_ranges is {config.loss.tissue_ranges}, expected 0: the "
            "brightness of tissues is known of T1-weighted MR, and data.mr_channels "
            f"is {', '.join(config.data.mr_channels)}"
        )
    phantom = config.get("phantom", {})
    if config.loss.simulated and not phantom.get("anatomies", 0):
        raise ValueError(
            f"loss.simulated is {config.loss.simulated}, and phantom.anatomies 0 or "
            "not there: there are no simulated pairs"
        )
    if config.loss.paired and config.data.source == "phantom" and not phantom.pairs:
        raise ValueError(
            f"loss.paired is {config.loss.paired}, and phantom.pairs 0: there are no "
            "pairs"
        )
