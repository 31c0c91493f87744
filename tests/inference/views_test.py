"""Averages over flips and small shifts of slices."""

import numpy as np
import pytest
from tiny_run import STEPS, tiny_run

from synthct_jax.inference.loaded_model import load_model
from synthct_jax.inference.translator import Translator
from synthct_jax.inference.views import VIEWS, average, views_of


@pytest.mark.parametrize("stride", [2, 4])
def test_views_are_undone_exactly(stride):
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 1)).astype(np.float32)
    for count in VIEWS:
        views = views_of(count, stride)
        assert len({*views}) == count
        assert sum(view.flip for view in views) == count // 2
        seen = [view.of(images) for view in views]
        assert all(view.dtype == np.float32 for view in seen)
        mean, spread = average([view[..., 0] for view in seen], views)
        np.testing.assert_allclose(mean, images[..., 0], rtol=1e-6)
        np.testing.assert_allclose(spread, 0, atol=1e-6)
    moved = views[-1]
    assert moved.of(images)[0, 0, 0] == -1  # air
    np.testing.assert_array_equal(moved.undo(moved.of(images)[..., 0])[:, -1], 0)


def test_mean_and_spread_are_those_of_single_translations():
    model = load_model(tiny_run().workdir, STEPS)
    channels = model.data["mr_channels"]
    stored = np.random.default_rng(0).integers(0, 16384, (3, 32, 32, 2), np.int16)
    single, eightfold = (
        Translator(model.method, model.data, stored_channels=channels, view_count=count)
        for count in (1, 8)
    )
    mr = single.network_input(stored)
    views = views_of(8, 2)
    hus = [single.translate_input(model.params, view.of(mr)) for view in views]
    hus = [view.undo(hu)[:, :-1, 1:-1] for view, hu in zip(views, hus, strict=True)]
    ((hu, spread),) = eightfold.stream(model.params, stored)
    np.testing.assert_allclose(hu[:, :-1, 1:-1], np.mean(hus, 0), atol=0.1)
    np.testing.assert_allclose(spread[:, :-1, 1:-1], np.std(hus, 0), atol=0.1)
    assert spread.mean() > 1 and eightfold._to_ct._cache_size() == 1
    ((hu, spread),) = single.stream(model.params, stored)
    np.testing.assert_array_equal(hu, single.translate_input(model.params, mr))
    assert not spread.any()


def test_other_numbers_of_views_are_refused():
    with pytest.raises(ValueError, match="views is 3, expected one of: 1, 2, 4, 8"):
        views_of(3, 2)
