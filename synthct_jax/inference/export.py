"""Export of a checkpoint's generator as a model file with its card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from input_pipeline.intensity import optional_channels
from input_pipeline.phantom.ct import CONTRASTS
from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.metadata import (
    CheckpointMetadata,
    choose_step,
    read_metadata,
)
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.parallel.batches import simulates_pairs

INTENDED_USE = "research, not for clinical use"
UNKNOWN = "not stated"

# Fields of the card that a user may state, and their types.
STATED = {
    "trained_on": str,
    "command": str,
    "contrast_medium": str,
    "licence": str,
    "numbers": dict,
}


def export(
    workdir: Path, output: Path, *, step: int | None = None, card: Path | None = None
) -> dict[str, Any]:
    """Write the generator that `translate` would use as a model file.

    Args:
        output: NAME.safetensors; NAME.json appears beside it. Neither may exist.
        step: of the checkpoint, see `load_model`.
        card: a JSON file with fields of `STATED`, which the checkpoint does not know.

    Returns:
        The card.

    Raises:
        FileExistsError: one of the files exists.
        FileNotFoundError, ValueError: as for `load_model`; or `card` has a field that
            cannot be stated.
    """
    model_file.check_new(output)
    stated = {} if card is None else _read_stated(card)
    step = choose_step(workdir, step)
    metadata = read_metadata(workdir, step)
    params = load_model(workdir, step).params
    facts = _facts(metadata, step)
    stated["numbers"] = facts["numbers"] | stated.get("numbers", {})
    written = model_file.write_model(output, params, facts | stated)
    size = output.stat().st_size / 1e6
    logging.info("%d weights, %.2f MB: %s", written["parameters"], size, output)
    for name in STATED:
        if written[name] in (UNKNOWN, {}):
            logging.warning("The card does not state %s: see --card", name)
    return written


def _facts(metadata: CheckpointMetadata, step: int) -> dict[str, Any]:
    """Return the fields of the model card that the checkpoint metadata determine.

    Fields that only the user can supply, such as the licence, are UNKNOWN.
    """
    saved = metadata.to_json()
    config, domains = saved["config"], saved["prepared"]["domains"]
    data, versions = config["data"], dict(saved["versions"])
    medium = UNKNOWN
    if data["source"] == "phantom":
        medium = config["phantom"]["contrast"]
    return {
        "intended_use": INTENDED_USE,
        "licence": UNKNOWN,
        "inputs": data["mr_channels"],
        "optional_inputs": list(optional_channels(data)),
        "intensity": {
            "percentile_of_the_body": data["mr_percentile"],
            "mask_outside_body": data["mask_outside_body"],
            "scale": "of each volume; in_phase gives that of out_of_phase",
            "exponent": data["mr_exponent"],
            "range": "0 to -1, the percentile to 1",
        },
        "output": "CT, HU",
        "contrast_medium": medium,
        "ct_knots": data["ct_knots"],
        "spacing_mm": data["spacing_mm"],
        "size": data["size"],
        "trained_on": _training_data(config, domains),
        "command": UNKNOWN,
        "commit": versions.pop("commit", UNKNOWN),
        "step": step,
        "numbers": {"validation during training": saved["metrics"]}
        if saved["metrics"]
        else {},
        "training_mr": metadata.training_mr,
        "config": config,
        "versions": versions,
    }


def _training_data(config: Mapping[str, Any], domains: Mapping[str, Any]) -> str:
    subjects = {
        name: sum(s["split"] == "train" for s in domains[name]["subjects"])
        for name in ("mr", "ct")
    }
    own = "{}: MR of {mr}, CT of {ct} subjects"
    if config["method"] == "distilled":
        own = "{}: MR of {mr} subjects"
    own = own.format(config["data"]["source"], **subjects)
    if config["loss"]["paired"]:
        own += ", some of them pairs"
    sources = [own]
    if simulates_pairs(ConfigDict(config)):
        drawn = f"simulated scans of {config['phantom']['anatomies']} drawn people"
        sources = [drawn] if config["method"] == "supervised" else [own, drawn]
    if teacher := config["train"]["distil_from"]:
        sources.append(f"the CT that {Path(teacher).stem} makes of these MR")
    if start := config["train"]["init_from"]:
        sources.append(f"from the weights of {Path(start).stem} on")
    return "; ".join(sources)


def _read_stated(path: Path) -> dict[str, Any]:
    """Read --card; raise ValueError for a field that cannot be stated."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(stated, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"--card: {path} is no JSON: {error}") from error
    if not isinstance(stated, dict):
        raise ValueError(f"--card: {path} holds no fields, expected an object")
    for name, value in stated.items():
        if name not in STATED:
            raise ValueError(
                f"--card: {path} has the field {name!r}, expected {', '.join(STATED)}"
            )
        if not isinstance(value, STATED[name]):
            raise ValueError(
                f"--card: {name} of {path} is {value!r}, expected "
                f"{'an object' if STATED[name] is dict else 'a text'}"
            )
    medium = stated.get("contrast_medium", CONTRASTS[0])
    if medium not in CONTRASTS:
        raise ValueError(
            f"--card: contrast_medium of {path} is {medium!r}, expected one of: "
            f"{', '.join(CONTRASTS)}"
        )
    return stated
