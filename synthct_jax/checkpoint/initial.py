"""Start of a training from the weights of a model file."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.digest import name_leaves
from synthct_jax.checkpoint.metadata import flatten, list_steps
from synthct_jax.checkpoint.model_file import ModelFile, UnusableModel
from synthct_jax.model.train_state import Params, TrainState

# Fields that say what the weights mean, and what arrays do not show of the network.
_SAME = ("data.ct_knots", "model.upsample", "model.antialias", "model.skips")
_SIMILAR = ("data.spacing_mm", "data.mask_outside_body")
_SIMILAR += ("data.mr_percentile", "data.mr_exponent")


def check_start(config: ConfigDict, workdir: Path) -> None:
    """Raise FileNotFoundError if a new run's `train.init_from` model does not exist."""
    if config.train.init_from and not list_steps(workdir):
        model_file.find_model(config.train.init_from)


def start_from(state: TrainState, config: ConfigDict) -> TrainState:
    """Return a new state with the weights of `config.train.init_from` in `to_ct`.

    The model may take other MR channels, see `_with_channels`. The moving average of
    the weights starts there as well, and so do all members of an ensemble. All else
    stays: `to_mr` and the discriminators, which a model file does not have, are random.

    Raises:
        FileNotFoundError: there is no such model.
        UnusableModel: it is damaged, or is not of this configuration's network; names
            the field, or the array and both shapes.
    """
    file = model_file.read_model(config.train.init_from)
    theirs, ours = flatten(file.config), flatten(config.to_dict())
    if theirs["mesh.seeds"] > 1:
        raise UnusableModel(
            f"train.init_from: {file.path} is an ensemble of {theirs['mesh.seeds']} "
            "networks, expected a single one"
        )
    for field in _SAME + _SIMILAR:
        was, now = theirs[field], ours[field]
        if was == now:
            continue
        message = f"{file.path}: {field} is {was}, and {now} in this training"
        if field in _SAME:
            raise UnusableModel(f"train.init_from: {message}; expected the same")
        logging.warning("%s", message)
    weights = _with_channels(file, config.data.mr_channels)
    arrays = name_leaves(weights)
    now = name_leaves(state.generators["to_ct"])
    members = int(config.mesh.seeds > 1)  # axes in front; all members start alike
    model_file.check_shapes(
        file.path,
        {name: array.shape for name, array in arrays.items()},
        {name: array.shape[members:] for name, array in now.items()},
    )

    def take(params: dict[str, Params]) -> dict[str, Params]:
        # Copies: the step gives the memory of its state away, each array once.
        to_ct = jax.tree.map(
            lambda array, new: jax.make_array_from_callback(
                array.shape,
                array.sharding,
                np.broadcast_to(new, array.shape).__getitem__,
            ),
            params["to_ct"],
            weights,
        )
        return params | {"to_ct": to_ct}

    logging.info(
        "to_ct starts from %s: %d weights in %d arrays (digest %s); all other networks "
        "are new",
        file.path,
        sum(array.size for array in arrays.values()),
        len(arrays),
        file.card["digest"],
    )
    ema = None if state.ema is None else take(state.ema)
    return state.replace(generators=take(state.generators), ema=ema)


def _with_channels(file: ModelFile, channels: Sequence[str]) -> Params:
    """Return a model's weights for these MR channels, in this order.

    Without some of its own it is the model as it would be with constant images there:
    those do not pass the norm behind the first layer. A channel that it has never seen
    gets the mean of the others' weights: a start, since edges of one are edges of all.
    """
    theirs = list(file.config["data"]["mr_channels"])
    if unseen := [name for name in channels if name not in theirs]:
        logging.warning(
            "%s has not seen %s: its weights start from the mean of %s",
            *(file.path, ", ".join(unseen), ", ".join(theirs)),
        )
    if "in_phase" in set(theirs) - set(channels) and "out_of_phase" in channels:
        logging.warning(
            "%s saw out_of_phase on the scale of in_phase, which this training lacks",
            file.path,
        )
    stem = file.params["stem"]
    kernels = dict(zip(theirs, np.moveaxis(stem["kernel"], 2, 0), strict=True))
    mean = np.mean(stem["kernel"], axis=2)
    kernel = np.stack([kernels.get(name, mean) for name in channels], axis=2)
    return file.params | {"stem": stem | {"kernel": kernel}}
