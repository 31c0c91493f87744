import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from tiny_model import random_params, write_tiny_model
from tiny_run import tiny_config

from input_pipeline.digests import with_digest
from input_pipeline.volume import UnusableScan
from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.initial import start_from
from synthct_jax.checkpoint.model_file import UnusableModel
from synthct_jax.model import methods
from synthct_jax.model.train_state import TrainState


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    return path, write_tiny_model(path)


@pytest.fixture
def path(written, tmp_path):
    """A copy to damage."""
    for file in written[0].parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / written[0].name


def config_with(**fields):
    config = tiny_config()
    config.update_from_flattened_dict(fields)
    return config


def test_model_is_read_as_it_was_written(written):
    path, card = written
    file = model_file.read_model(str(path))
    assert file.card == json.loads(json.dumps(card))
    assert file.config == tiny_config().to_dict()
    jax.tree.map(
        lambda array, saved: np.testing.assert_array_equal(
            array, np.float32(np.float16(saved))
        ),
        file.params,
        random_params(tiny_config()),
    )


def test_existing_files_and_weights_beyond_float16_are_refused(written, tmp_path):
    path, card = written
    with pytest.raises(FileExistsError, match="tiny.safetensors exists"):
        write_tiny_model(path)
    with pytest.raises(ValueError, match="ends in .safetensors"):
        write_tiny_model(tmp_path / "model")
    large = {"stem": {"kernel": np.full(3, 1e6, np.float32)}}
    with (
        np.errstate(over="ignore"),
        pytest.raises(FloatingPointError, match="stem/kernel is not finite as float16"),
    ):
        model_file.write_model(tmp_path / "large.safetensors", large, card)
    assert not list(tmp_path.iterdir())


def change_card(path, *, sign=True, **fields):
    path = path.with_suffix(".json")
    card = json.loads(path.read_text()) | fields
    if sign:
        del card["digest"]
        card = with_digest(card)
    path.write_text(json.dumps(card))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def replace_weights(path, content):
    path.write_bytes(content)
    change_card(path, weights_sha256=model_file.hashlib.sha256(content).hexdigest())


OTHER_CONFIG = config_with(**{"model.width": 8}).to_dict()
FOREIGN = safetensors.numpy.save({"encoder.weight": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (flip_a_bit, UnusableModel, "tiny.safetensors is damaged, or is not the model"),
        (lambda p: change_card(p, sign=False, licence="mine"), UnusableModel, "edited"),
        (lambda p: change_card(p, format_version=2), UnusableModel, "version 2; synth"),
        (
            lambda p: p.with_suffix(".json").write_text('{"model_type": "bert"}'),
            UnusableModel,
            "tiny.json is not the card of a model: `format` is None",
        ),
        (lambda p: p.with_suffix(".json").write_text("{"), UnusableModel, "no JSON"),
        (lambda p: p.with_suffix(".json").unlink(), FileNotFoundError, "tiny.json: no"),
        (lambda p: replace_weights(p, b"PK"), UnusableModel, "no safetensors file"),
        (
            lambda p: replace_weights(p, FOREIGN),
            UnusableModel,
            r"blocks/conv_0/kernel is not there, expected \(1, 3, 3, 8, 8\)",
        ),
        (
            lambda p: change_card(p, config=OTHER_CONFIG),
            UnusableModel,
            r"kernel is \(1, 3, 3, 8, 8\), expected \(1, 3, 3, 16, 16\)",
        ),
        (
            lambda p: change_card(p, config={}),
            UnusableModel,
            "lacks data.channel_dropout, data.crop, data.ct",
        ),
    ],
)
def test_damaged_and_foreign_models_are_refused(path, damage, error, message):
    damage(path)
    with pytest.raises(error, match=message):
        model_file.read_model(str(path))


def test_shipped_model_is_found_by_name_and_chosen_by_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "SHIPPED", tmp_path)
    with pytest.raises(UnusableScan, match="none ships"):
        model_file.choose_model(["t2"])
    for name, channels, medium in (
        ("in_out", ("in_phase", "out_of_phase"), "non_contrast"),
        ("a_portal_venous", ("in_phase", "out_of_phase"), "portal_venous"),
        ("in", ("in_phase",), "non_contrast"),
        ("a_t2", ("t2",), "non_contrast"),
    ):
        config = config_with(**{"data.mr_channels": channels})
        path = tmp_path / f"{name}.safetensors"
        write_tiny_model(path, config, contrast_medium=medium)
    for channels, name in (
        (("in_phase", "out_of_phase", "t2"), "in_out"),
        (("t2", "in_phase"), "in"),
        (("t2",), "a_t2"),
    ):
        assert model_file.choose_model(channels).stem == name
    with pytest.raises(UnusableScan, match="out_of_phase: a_t2 takes t2; in takes"):
        model_file.choose_model(["out_of_phase"])
    assert model_file.find_model("in") == tmp_path / "in.safetensors"
    with pytest.raises(FileNotFoundError, match="'inn', expected .* a_t2, in, in_out"):
        model_file.find_model("inn")


# --- training that starts from a model ------------------------------------------------


@pytest.fixture(scope="module")
def state():
    """Generators alone, all zeros."""
    to_ct = jax.tree.map(jnp.zeros_like, random_params(tiny_config()))
    generators = {"to_ct": to_ct, "to_mr": {"head": jnp.zeros(3)}}
    rest = dict.fromkeys(("discriminators", "generator_opt", "discriminator_opt"))
    return TrainState(
        step=0, generators=generators, ema=generators, **rest, pools={}, rng=None
    )


def test_training_starts_from_the_weights_of_a_model(written, state, caplog):
    path, _ = written
    config = config_with(**{"train.init_from": str(path), "data.spacing_mm": 6.0})
    new = start_from(state, config)
    params = model_file.read_model(str(path)).params
    for networks in (new.generators, new.ema):
        jax.tree.map(np.testing.assert_array_equal, networks["to_ct"], params)
        assert networks["to_mr"] is state.generators["to_mr"]
    assert "data.spacing_mm is 12.0, and 6.0 in this training" in caplog.text


def start_with_channels(path, *channels):
    """Return the weights that a training with these MR channels starts from."""
    config = config_with(**{"train.init_from": str(path)})
    config.data.mr_channels = channels
    to_ct = jax.tree.map(jnp.zeros_like, random_params(config))
    rest = dict.fromkeys(("discriminators", "generator_opt", "discriminator_opt"))
    new = TrainState(
        step=0, generators={"to_ct": to_ct}, ema=None, **rest, pools={}, rng=None
    )
    return config, start_from(new, config).generators["to_ct"]


def test_channel_that_a_model_lacks_starts_from_the_mean_of_its_channels(written):
    kernel = model_file.read_model(str(written[0])).params["stem"]["kernel"]
    _, to_ct = start_with_channels(written[0], "t2", "in_phase")
    np.testing.assert_allclose(to_ct["stem"]["kernel"][:, :, 0], kernel.mean(axis=2))
    np.testing.assert_array_equal(to_ct["stem"]["kernel"][:, :, 1], kernel[:, :, 0])


def test_training_with_fewer_channels_starts_from_their_weights(written):
    path, _ = written
    config, to_ct = start_with_channels(path, "out_of_phase")
    both = model_file.read_model(str(path))
    mr = np.random.default_rng(0).standard_normal((1, 32, 32, 2)).astype(np.float32)
    mr[..., 0] = 0.3  # in phase
    np.testing.assert_allclose(
        methods.from_config(config).translate(to_ct, mr[..., 1:]),
        methods.from_config(tiny_config()).translate(both.params, mr),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.upsample": "resize"}, "model.upsample is transposed, and resize"),
        ({}, r"head/bias is \(1,\), expected \(2,\) by the network"),
    ],
)
def test_model_that_does_not_fit_the_training_is_refused(
    written, state, fields, message
):
    config = config_with(**{"train.init_from": str(written[0])} | fields)
    to_ct = state.generators["to_ct"] | {
        "head": {
            "bias": jnp.zeros(2),
            "kernel": state.generators["to_ct"]["head"]["kernel"],
        }
    }
    with pytest.raises(UnusableModel, match=message):
        start_from(state.replace(generators={"to_ct": to_ct}), config)
