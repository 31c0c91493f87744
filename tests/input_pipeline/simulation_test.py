"""Simulated pairs: drawn once, acquired anew for every sample, reproducible."""

import hashlib
import itertools

import jax
import numpy as np
import pytest
import scipy.ndimage
from absl import flags
from tiny_scans import tiny_phantom

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import unit_to_hu
from input_pipeline.preparation.prepare import prepare
from input_pipeline.simulation import anatomies
from input_pipeline.simulation.stream import stream_simulated


def config_of(**phantom):
    config = tiny_phantom(
        anatomies=2, slices=4, slice_mm=12.0, scanner="randomised", **phantom
    )
    config.data.update(size=32, spacing_mm=12.0)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation") / "anatomies"
    anatomies.draw(anatomies.anatomies_of(config_of()), folder, workers=1)
    return folder


def test_stream_is_a_pure_function_of_seed_and_position(folder):
    first, again = (stream_simulated(config_of(), folder) for _ in range(2))
    for position in (0, 5, 31):
        for name in ("mr", "ct"):
            np.testing.assert_array_equal(first[position][name], again[position][name])
    config = config_of()
    config.seed = 0
    config.data.mr_channels = ("t2",)
    plain = stream_simulated(config, folder)[0]["mr"]
    assert plain.shape == (32, 32, 1)
    config.data.mr_exponent = 0.5
    spread = stream_simulated(config, folder)[0]["mr"]
    np.testing.assert_allclose(((1 + spread) / 2) ** 2, (1 + plain) / 2, atol=1e-5)


def test_painters_that_draw_other_labels_raise_the_format_of_the_folder(tmp_path):
    """Or a folder of earlier labels would be taken for one of today's."""
    wanted = anatomies.anatomies_of(config_of(anatomy="varied"))
    anatomies.draw(wanted, tmp_path / "anatomies", workers=1)
    records = anatomies.open_records(wanted, tmp_path / "anatomies")
    labels = [wanted.decode(record).tobytes() for record in records]
    digest = hashlib.sha256(b"".join(labels)).hexdigest()
    assert (wanted.format, digest[:16]) == (2, "ac7293bc29645ec4")


def test_no_two_samples_of_an_anatomy_see_the_same_scanner(folder):
    pairs = stream_simulated(config_of(), folder)
    slabs = 2 * int(4 * 12.0 / 8)  # of both people: one epoch
    means = {round(float(pairs[i]["mr"].mean()), 5) for i in range(3 * slabs)}
    assert len(means) == 3 * slabs


def test_mr_and_ct_of_a_pair_show_the_same_body(folder):
    config = config_of()
    config.data.update(flip=False, rotate_degrees=0.0, shift_mm=0.0)
    pairs = stream_simulated(config, folder)
    overlaps = []
    for position in range(12):
        pair = pairs[position]
        assert pair["mr"].shape == (32, 32, 2) and pair["ct"].shape == (32, 32, 1)
        assert pair["mr"].dtype == pair["ct"].dtype == np.float32
        assert np.abs(pair["mr"]).max() <= 1 and np.abs(pair["ct"]).max() <= 1
        hu = unit_to_hu(pair["ct"][..., 0], config.data.ct_knots)
        body = scipy.ndimage.binary_fill_holes(hu > -300)
        bright = scipy.ndimage.binary_fill_holes(pair["mr"][..., 0] > -0.8)
        overlaps.append((body & bright).sum() / max((body | bright).sum(), 1))
    assert np.median(overlaps) > 0.85


def test_anatomies_of_another_configuration_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="count is 2, the configuration asks for 3"):
        stream_simulated(_with(anatomies=3), folder)
    with pytest.raises(ValueError, match="scanner is 'reference', expected for sim"):
        stream_simulated(_with(scanner="reference"), folder)
    cropped = config_of()
    cropped.data.crop = 16
    with pytest.raises(ValueError, match="crop is 16, expected 0"):
        stream_simulated(cropped, folder)
    with pytest.raises(ValueError, match="slice_mm 1, expected 8 mm or more"):
        stream_simulated(_with(slice_mm=1.0), folder)
    with pytest.raises(FileNotFoundError, match="no such file"):
        stream_simulated(config_of(), tmp_path)


def _with(**fields):
    config = config_of()
    config.phantom.update(fields)
    return config


def test_batches_hold_simulated_pairs_beside_or_in_place_of_the_data(folder, tmp_path):
    config = config_of()
    simulated = stream_simulated(config, folder)

    def first_batch(method, paired, workers=0):
        data, folder = _with(scanner="reference"), tmp_path / method
        data.method, data.data.workers = method, workers
        if not folder.exists():
            prepare(data, None, folder, workers=1)
        batches = Dataset.open(folder).batches(
            data.data, seed=0, global_batch=2, simulated=simulated, paired=paired
        )
        try:
            return next(itertools.islice(batches, 1))
        finally:
            batches.close()

    beside = first_batch("cyclegan", paired=False)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    by_workers = first_batch("cyclegan", paired=False, workers=2)
    jax.tree.map(np.testing.assert_array_equal, by_workers, beside)
    assert set(beside) == {"mr", "ct", "simulated_mr", "simulated_ct"}
    in_place = first_batch("supervised", paired=True)
    assert set(in_place) == {"mr", "ct"}
    for name in ("mr", "ct"):
        np.testing.assert_array_equal(
            beside[f"simulated_{name}"][1], simulated[1][name]
        )
        np.testing.assert_array_equal(in_place[name][1], simulated[1][name])
