"""Members of an ensemble, trained as one program and each as by itself."""

import contextlib
import shutil

import jax
import numpy as np
import pytest
from compilation import FAST_COMPILATION
from saved_states import assert_same_run
from tiny_run import STEPS, tiny_config, tiny_run
from virtual_devices import run_on_eight_devices

from input_pipeline.dataset.dataset import Dataset
from synthct_jax import train
from synthct_jax.checkpoint.manager import Checkpoints
from synthct_jax.inference.loaded_model import load_model
from synthct_jax.parallel import sharding
from synthct_jax.parallel.batches import open_batches


def assert_members_agree(meshes):
    """Compare ensembles on eight devices with trainings by themselves, in float64."""
    results = run_on_eight_devices(
        "members.py", *meshes, JAX_ENABLE_X64="1", XLA_FLAGS=FAST_COMPILATION
    )
    assert [mesh["seeds"] for mesh, _ in results] == list(meshes.values())
    assert max(difference for _, difference in results) < 1e-9


def test_members_are_trained_as_by_themselves():
    """Each of four has two devices, with half of the rows each."""
    assert_members_agree({"1,1,2": 4})


@pytest.mark.slow
def test_members_are_trained_as_by_themselves_on_other_meshes():
    """Two members in each of two groups; last, every device has all four."""
    assert_members_agree({"-1,1,1": 4, "1,2,1": 4, "4,1,1": 2, "2,2,2": 1})


def test_members_read_the_batches_of_runs_with_their_seeds():
    mesh = sharding.make_mesh(jax.devices()[:1])

    def first_two(**fields):
        config = tiny_config()
        config.update_from_flattened_dict(fields)
        dataset = Dataset.open(tiny_run().data_dir)
        batches = open_batches(config, dataset, mesh, anatomies_dir=None)
        with contextlib.closing(batches):
            return [next(batches) for _ in range(2)]

    together = first_two(**{"mesh.seeds": 2, "seed": 5})
    for both, own in zip(together, first_two(seed=6), strict=True):
        for name in own:
            np.testing.assert_array_equal(both[name][1], own[name])


def config(**fields):
    config = tiny_config(**fields)
    config.mesh.seeds = 2
    return config


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """A run of two members; the first is the tiny run's training."""
    workdir = tmp_path_factory.mktemp("ensemble") / "run"
    assert train.train(config(), workdir=workdir, data_dir=tiny_run().data_dir)
    return workdir


def test_first_member_is_the_run_with_its_seed(ensemble):
    alone, both = (
        Checkpoints.of_run(workdir).restore_generator(STEPS)
        for workdir in (tiny_run().workdir, ensemble)
    )
    differences = jax.tree.map(lambda members, own: np.abs(members - own), both, alone)
    first, second = (
        np.mean([array[i].mean() for array in jax.tree.leaves(differences)])
        for i in range(2)
    )
    # To rounding, which Adam turns into steps where gradients are next to zero.
    assert first < 2e-5
    assert second > 1e-3


@pytest.mark.slow
def test_resumed_ensemble_ends_like_an_uninterrupted_one(ensemble, tmp_path):
    resumed = tmp_path / "run"
    shutil.copytree(ensemble, resumed)
    shutil.rmtree(resumed / "checkpoints" / str(STEPS))
    assert train.train(config(), workdir=resumed, data_dir=tiny_run().data_dir)
    assert_same_run(resumed, ensemble, step=STEPS)


def test_ensemble_translates_to_the_mean_of_its_members_in_hu(ensemble):
    loaded = load_model(ensemble, STEPS)
    mr = next(Dataset.open(tiny_run().data_dir).subjects("mr", "test")).stored
    (mean,), (spread,) = zip(*loaded.translator.stream(loaded.params, mr), strict=True)
    single = load_model(tiny_run().workdir)  # of the same network
    members = np.stack(
        [
            single.translator(jax.tree.map(lambda x, i=i: x[i], loaded.params), mr)
            for i in range(2)
        ]
    )
    np.testing.assert_allclose(mean, members.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(spread, members.std(axis=0), atol=0.01)
    assert loaded.has_spread
