"""Model files: the weights of a generator from MR to CT, and a card that describes it.

NAME.safetensors   weights of to_ct, float16
NAME.json          the card: use, inputs, configuration, origin, measured numbers

Neither can hold code. The card has the SHA-256 of the weights and a digest of itself,
and both are checked whenever a model is read. `synthct_jax/models` has those that ship.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors.numpy
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.digests import check_digest, with_digest
from input_pipeline.volume import MR_CHANNELS, UnusableScan
from synthct_jax.checkpoint.digest import name_leaves
from synthct_jax.checkpoint.metadata import (
    complete_config,
    library_versions,
)
from synthct_jax.model import methods
from synthct_jax.model.train_state import Params

SHIPPED = Path(__file__).parents[1] / "models"
SUFFIX = ".safetensors"
FORMAT = "synthct_jax generator"
FORMAT_VERSION = 1
NO_CONTRAST_MEDIUM = "non_contrast"

# Fields that readers use.
_FIELDS = ("intended_use", "inputs", "contrast_medium", "config", "trained_on")
_FIELDS += ("training_mr", "versions", "weights_sha256")


class UnusableModel(ValueError):
    """A model file is damaged, foreign, or does not fit; names the file and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A generator as read from its two files, all checks passed.

    Attributes:
        path: of the weights.
        card: content of NAME.json.
        config: of the training, as a checkpoint has it.
        params: weights of to_ct, float32.
    """

    path: Path
    card: dict[str, Any]
    config: dict[str, Any]
    params: Params


def write_model(path: Path, params: Params, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write NAME.safetensors and NAME.json beside it, and return the complete card.

    Args:
        card: the fields that say what the model is; format, digests and storage are
            added.

    Raises:
        ValueError: the name does not end in .safetensors.
        FileExistsError: one of the two files exists.
        FloatingPointError: a weight is not finite as float16.
    """
    check_new(path)
    arrays = {
        name: np.asarray(array).astype(np.float16)
        for name, array in name_leaves(params).items()
    }
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FloatingPointError(f"{path}: {name} is not finite as float16")
    weights = safetensors.numpy.save(arrays)
    card = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **card,
        "parameters": sum(array.size for array in arrays.values()),
        "storage": "float16, computed in the type that config.model.dtype names",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    return _write(path, weights, card)


def copy_model(model: str, path: Path, **fields: Any) -> dict[str, Any]:
    """Write the weights of a model again, with more fields or others in its card.

    Args:
        model: a path or a shipped name, see `read_model`.
        path, fields: as for `write_model`.

    Returns:
        The complete card.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as for `write_model` and
            `read_model`.
    """
    check_new(path)
    source = read_model(model)
    card = {name: value for name, value in source.card.items() if name != "digest"}
    return _write(path, source.path.read_bytes(), card | fields)


def _write(path: Path, weights: bytes, card: Mapping[str, Any]) -> dict[str, Any]:
    card = with_digest(card)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The weights get their name last: a card alone is no model.
    with files.atomic_file(path) as new:
        new.write_bytes(weights)
        files.write_file(_card_path(path), json.dumps(card, indent=1) + "\n")
    return card


def check_new(path: Path) -> None:
    """Raise ValueError or FileExistsError unless a model can be written there."""
    check_output(path, SUFFIX, _card_path(path))


def check_output(path: Path, suffix: str, *beside: Path) -> None:
    """Raise ValueError for another suffix, FileExistsError for a file that exists."""
    if path.suffix != suffix:
        raise ValueError(f"--output is {path}, expected a name that ends in {suffix}")
    for file in (path, *beside):
        if file.exists():
            raise FileExistsError(
                f"{file} exists: a model is not overwritten, name another or remove it"
            )


def read_model(model: str) -> ModelFile:
    """Read a model and check it.

    Args:
        model: the path of its weights, FILE.safetensors, or the name of a shipped one.

    Raises:
        FileNotFoundError: there is no such model, or its card is missing.
        UnusableModel: a file is damaged or foreign, or the weights are not those of
            the network of the card.
    """
    path = find_model(model)
    card = read_card(path)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != card["weights_sha256"]:
        raise UnusableModel(
            f"{path} is damaged, or is not the model of its card: its SHA-256 is "
            f"{sha256}, expected {card['weights_sha256']}"
        )
    try:
        arrays = safetensors.numpy.load(content)
    except Exception as error:  # of any kind: another program has written both files
        raise UnusableModel(f"{path} is no safetensors file: {error}") from error
    try:
        config = complete_config(card["config"])
        expected = _generator_shapes(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnusableModel(
            f"{_card_path(path)}: `config` gives no generator: {error}"
        ) from error
    check_shapes(path, {name: array.shape for name, array in arrays.items()}, expected)
    params = {name: array.astype(np.float32) for name, array in arrays.items()}
    params = flax.traverse_util.unflatten_dict(params, sep="/")
    return ModelFile(path=path, card=card, config=config, params=params)


def read_card(path: Path) -> dict[str, Any]:
    """Return the card beside the weights at `path`, checked against its digest.

    Raises:
        FileNotFoundError: there is none.
        UnusableModel: it is damaged, of another program, or of a newer version.
    """
    path = _card_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; a model is two files, NAME{SUFFIX} and its card "
            "NAME.json"
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnusableModel(f"{path} is damaged: no JSON, {error}") from error
    kind = card.get("format") if isinstance(card, dict) else type(card).__name__
    if kind != FORMAT:
        raise UnusableModel(
            f"{path} is not the card of a model: `format` is {kind!r}, expected "
            f"{FORMAT!r}"
        )
    if card.get("format_version") != FORMAT_VERSION:
        raise UnusableModel(
            f"{path} has format version {card.get('format_version')}; synthct_jax "
            f"{library_versions()['synthct_jax']} reads {FORMAT_VERSION}"
        )
    try:
        check_digest(card)
    except ValueError as error:
        raise UnusableModel(
            f"{path} is damaged or was edited: {error}; cards are written by "
            "--mode=export"
        ) from error
    if missing := [name for name in _FIELDS if name not in card]:
        raise UnusableModel(f"{path} lacks {', '.join(missing)}")
    return card


def find_model(model: str) -> Path:
    """Return the path of a model's weights; `model` is a path or a shipped name.

    Raises:
        FileNotFoundError: there is no such model; names the shipped ones.
    """
    is_file = model.endswith(SUFFIX)
    path = Path(model).expanduser() if is_file else SHIPPED / f"{model}{SUFFIX}"
    if not path.is_file():
        names = ", ".join(p.stem for p in _shipped()) or "none"
        raise FileNotFoundError(
            f"{path}: no such file"
            if is_file
            else f"there is no model {model!r}, expected one of those that ship "
            f"({names}), or a path that ends in {SUFFIX}"
        )
    return path


def choose_model(channels: Collection[str]) -> Path:
    """Return the shipped model for CT without contrast medium that uses most channels.

    Ties are broken by the order of MR_CHANNELS.

    Args:
        channels: those that the scan has.

    Raises:
        UnusableScan: no model fits them; names the models considered.
        UnusableModel: a shipped card is damaged.
    """
    inputs = {}
    for path in _shipped():
        card = read_card(path)
        if card["contrast_medium"] == NO_CONTRAST_MEDIUM:
            inputs[path] = card["inputs"]
    fitting = [path for path in inputs if set(inputs[path]) <= set(channels)]
    if not fitting:
        takes = [f"{path.stem} takes {', '.join(inputs[path])}" for path in inputs]
        raise UnusableScan(
            f"--input: no shipped model fits the channels {', '.join(channels)}: "
            f"{'; '.join(takes) or 'none ships'}. --model names another, --workdir a "
            "run"
        )
    return min(
        fitting,
        key=lambda p: (-len(inputs[p]), [MR_CHANNELS.index(c) for c in inputs[p]]),
    )


def check_shapes(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise UnusableModel for an array by name that is missing, unknown or unfit."""
    for name in sorted(shapes.keys() | expected.keys()):
        if shapes.get(name) != expected.get(name):
            raise UnusableModel(
                f"{path}: {name} is {shapes.get(name, 'not there')}, expected "
                f"{expected.get(name, 'no such array')} by the network"
            )


def _generator_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    config = ConfigDict(config)
    seeds, config.mesh.seeds = config.mesh.seeds, 1
    method = methods.from_config(config)
    size = 4 * method.size_multiple  # any will do
    mr = jax.ShapeDtypeStruct((1, size, size, method.mr_channels), np.float32)
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(method.to_ct.init, key, mr)["params"]
    members = (seeds,) if seeds > 1 else ()
    return {
        name: (*members, *array.shape) for name, array in name_leaves(params).items()
    }


def _shipped() -> list[Path]:
    return sorted(SHIPPED.glob(f"*{SUFFIX}"))


def _card_path(path: Path) -> Path:
    return path.with_suffix(".json")
