"""Values that the fields of a configuration may have, also beside each other."""

from ml_collections import ConfigDict

from input_pipeline.intensity import PHASES, check_knots, optional_channels
from input_pipeline.preparation.ranges import DATA_RANGES
from input_pipeline.preparation.split import check_lesions
from input_pipeline.ranges import (
    BELOW_ONE,
    ONE_OR_MORE,
    ZERO_OR_MORE,
    ZERO_TO_ONE,
    check_values,
    one_of,
)
from input_pipeline.simulation.stream import check_fields
from synthct_jax.model.build import DTYPES, UPSAMPLE
from synthct_jax.model.losses import ADVERSARIAL
from synthct_jax.model.methods import METHODS
from synthct_jax.parallel.batches import simulates_pairs

GUARDS = ("log", "stop", "roll_back")
"""Policies of `train.guard`."""

LOWER_IS_BETTER = ("mae", "rmse", "frechet_haar")
"""Metrics of a validation that can choose the best checkpoint."""

# `choose_mesh` checks the numbers of the mesh, training and `load_teacher` those of
# views.
RANGES = DATA_RANGES | {
    "method": one_of(METHODS),
    "model.upsample": one_of(UPSAMPLE),
    "model.dtype": one_of(DTYPES),
    "model.width": ONE_OR_MORE,
    "model.blocks": ONE_OR_MORE,
    "model.downsamplings": ZERO_OR_MORE,
    "model.discriminator_width": ONE_OR_MORE,
    "model.discriminator_layers": ONE_OR_MORE,
    "loss.adversarial": one_of(ADVERSARIAL),
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
    "train.best_metric": one_of(LOWER_IS_BETTER),
    "train.guard": one_of(GUARDS),
    "train.guard_after": ZERO_TO_ONE,
    "train.roll_backs": ZERO_OR_MORE,
}


def check_ranges(config: ConfigDict) -> None:
    """Refuse a configuration with a value outside its range.

    Raises:
        ValueError: names the field, its value and the range.
    """
    check_values(config, RANGES)


def check_relations(config: ConfigDict, *, size_multiple: int) -> None:
    """Check fields against each other, such as sizes against the network.

    Args:
        size_multiple: see `Method`.

    Raises:
        ValueError: no data or batch can be made of them, or nothing reads a weight.
    """
    check_knots(config.data.ct_knots)
    if config.data.crop > config.data.size:
        raise ValueError(
            f"data.crop is {config.data.crop}, expected 0 to {config.data.size}, "
            "the size of the slices"
        )
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
    if config.data.channel_dropout and not optional_channels(config.data):
        raise ValueError(
            f"data.channel_dropout is {config.data.channel_dropout}, expected 0: "
            f"data.mr_channels is {', '.join(config.data.mr_channels)}, only one of "
            f"{' and '.join(PHASES)} can be left out"
        )
    phantom = config.get("phantom", {})
    if config.data.source == "phantom":
        if not phantom:
            raise ValueError(
                "data.source is phantom, and the configuration has no field phantom: "
                "start from --config=phantom"
            )
        check_lesions(phantom, paired=config.method == "supervised")
    if simulates_pairs(config):
        check_fields(config)
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
