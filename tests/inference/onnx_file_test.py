"""ONNX files of models: the HU of our own network, by onnxruntime, and what they state.

They are written for every model that ships, and for every variant of `config.model`.
"""

import functools
import json

import jax
import numpy as np
import onnx
import pytest
from ml_collections import ConfigDict
from onnx_session import open_onnx
from tiny_model import write_tiny_model
from tiny_run import tiny_config

from input_pipeline.intensity import (
    MR_ONE,
    mr_scale,
    mr_to_int16,
    mr_to_unit,
    unit_to_hu,
)
from input_pipeline.phantom import draw_subject
from input_pipeline.volume import MR_CHANNELS
from synthct_jax.checkpoint import model_file
from synthct_jax.inference.loaded_model import load_model_file
from synthct_jax.inference.onnx_file import export_onnx
from synthct_jax.model import methods

SHIPPED = sorted(path.stem for path in model_file.SHIPPED.glob("*.safetensors"))
# Changes of `config.model`, and the number of MR channels.
VARIANTS = {
    "plain": ({}, 1),
    "resize": ({"upsample": "resize"}, 2),
    "antialias": ({"antialias": True}, 3),
    "skips": ({"skips": True}, 1),
    "deep": ({"downsamplings": 3, "antialias": True, "skips": True}, 2),
    "all": ({"upsample": "resize", "antialias": True, "skips": True, "blocks": 3}, 3),
}


@functools.cache
def patient() -> np.ndarray:
    """A slice of all channels, 192 x 256 pixels of 2 mm, as translation stores it."""
    subject = draw_subject(2**32 + 7, size=192, spacing_mm=2.0, slices=1, slice_mm=6.0)
    body = subject.labels > 0
    scale = mr_scale(subject.mr, body, channels=MR_CHANNELS, percentile=99.5)
    stored = mr_to_int16(np.where(body[..., None], subject.mr, 0), scale)
    return np.pad(stored, [(0, 0), (0, 0), (32, 32), (0, 0)])


def hu_of_both(model: str, path, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Translate stored MR by our network, and by its ONNX file written to `path`.

    Our layers are those of their definition: Winograd's convolutions, which CPUs
    translate by, differ from them by a HU where fat borders on air.
    """
    loaded = load_model_file(model)
    method = methods.from_config(ConfigDict(loaded.config), platform="any")
    mr = mr_to_unit(stored, loaded.data["mr_exponent"])
    ct = jax.jit(method.translate)(loaded.params, mr)
    export_onnx(model, path)
    share = (stored / np.float32(MR_ONE)).transpose(0, 3, 1, 2)
    (hu,) = open_onnx(path).run(["hu"], {"mr": share})
    return unit_to_hu(np.asarray(ct)[..., 0], loaded.data["ct_knots"]), hu[:, 0]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_gives_the_same_hu(name, tmp_path):
    channels = model_file.read_model(name).config["data"]["mr_channels"]
    stored = patient()[..., [MR_CHANNELS.index(channel) for channel in channels]]
    ours, theirs = hu_of_both(name, tmp_path / f"{name}.onnx", stored)
    assert ours.std() > 100
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=0.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_network_gives_the_same_hu(variant, tmp_path):
    config = tiny_config()
    changes, channels = VARIANTS[variant]
    config.model.update(changes)
    config.data.mr_channels = MR_CHANNELS[:channels]
    config.data.mr_exponent = 0.5
    write_tiny_model(tmp_path / "tiny.safetensors", config)
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 1.9 * MR_ONE, (2, 24, 40, channels), np.int16)
    ours, theirs = hu_of_both(
        str(tmp_path / "tiny.safetensors"), tmp_path / "tiny.onnx", stored
    )
    assert ours.std() > 100
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=0.5)


def test_file_states_what_a_caller_needs(tmp_path):
    path = tmp_path / "new_folder" / "in_out.onnx"
    export_onnx("in_out_noncontrast", path)
    card = model_file.read_model("in_out_noncontrast").card
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert facts["model"] == "in_out_noncontrast"
    assert facts["digest"] == card["digest"]
    assert facts["intended_use"] == "research, not for clinical use"
    assert "percentile 99.5" in facts["mr_scaling"]
    assert "out_of_phase has the scale of in_phase" in facts["mr_scaling"]
    assert facts["size_multiple"] == "4"
    assert json.loads(facts["data"])["spacing_mm"] == card["spacing_mm"]


def test_ensemble_is_refused(tmp_path):
    config = tiny_config()
    write_tiny_model(tmp_path / "one.safetensors", config)
    config.mesh.seeds = 3
    path = tmp_path / "three.safetensors"
    weights = model_file.read_model(str(tmp_path / "one.safetensors")).params
    stacked = jax.tree.map(lambda x: np.stack([x] * 3), weights)
    card = model_file.read_card(tmp_path / "one.safetensors")
    fields = {k: v for k, v in card.items() if k != "digest"}
    model_file.write_model(path, stacked, fields | {"config": config.to_dict()})
    with pytest.raises(ValueError, match="an ensemble of 3 networks, expected one"):
        export_onnx(str(path), tmp_path / "three.onnx")
    assert not (tmp_path / "three.onnx").exists()


def test_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "in.onnx"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="in.onnx exists"):
        export_onnx("in_noncontrast", path)
    assert path.read_text() == "mine"
