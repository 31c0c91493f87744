"""A network on data of other pixels than those of its training."""

import numpy as np
import pytest
from tiny_run import STEPS, tiny_run

from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation import ct_methods
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.inference.translator import Translator


@pytest.mark.parametrize("spacing_mm", [6.0, 12.0, 24.0])
def test_slices_are_resampled_to_the_networks_pixels_and_back(spacing_mm, monkeypatch):
    """A network that works pixel by pixel gives the same at any pixel size."""
    loaded, seen = load_model(tiny_run().workdir, STEPS, inverse=True), []

    def pixel_by_pixel(self, params, stored):
        seen.append(stored.shape)
        return stored[..., 0].astype(np.float32) / 10

    monkeypatch.setattr(Translator, "__call__", pixel_by_pixel)
    loaded.config["data"]["spacing_mm"] = spacing_mm
    dataset = Dataset.open(tiny_run().data_dir)  # 32 x 32 of 12 mm
    model = ct_methods.model_of_generator(loaded, dataset)
    smooth = np.outer(*2 * [np.sin(np.linspace(0, np.pi, 32)) ** 2])[None, ..., None]
    stored = np.round(1e4 * smooth).astype(np.int16).repeat(2, axis=-1)
    hu = model.translate(stored)
    assert seen[0][:3] == (1, *2 * [int(32 * 12 / spacing_mm)])
    np.testing.assert_allclose(hu[0], stored[0, ..., 0] / 10, atol=40)
    _, warnings = ct_methods.baselines_by_name(model, dataset)
    resampled = [text for text in warnings if "were resampled" in text]
    assert len(resampled) == (model.cycle is None) == (spacing_mm != 12.0)


def test_compilation_is_announced_once_for_a_size_of_slices(caplog):
    loaded = load_model(tiny_run().workdir, STEPS, inverse=True)
    dataset = Dataset.open(tiny_run().data_dir)
    model = ct_methods.model_of_generator(loaded, dataset)
    volume = next(dataset.subjects("mr", "test"))
    with caplog.at_level("INFO", logger="absl"):
        model.cycle(model.translate(volume.stored))
        assert caplog.messages == [
            "Compiling the network, or reading it from the cache"
        ]
        larger = np.pad(volume.stored, ((0, 0), (0, 2), (0, 2), (0, 0)))
        model.translate(larger)
    assert len(caplog.messages) == 2
