import functools
import itertools
import pickle

import numpy as np
import pytest
from absl import flags

from input_pipeline import intensity
from input_pipeline.body import body_mask
from input_pipeline.dataset import stream
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.storage import open_domain
from input_pipeline.preparation.prepare import prepare
from synthct_jax.configs import phantom

SLICES = 12  # of each domain: three subjects of four


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Equally many MR and CT slices, where pairs would freeze first."""
    config = phantom.get_config()
    config.data.update(size=32, spacing_mm=12.0)
    config.phantom.update(train_mr=3, train_ct=3, validation=1, test=0, slices=4)
    data_dir = tmp_path_factory.mktemp("stream") / "data"
    prepare(config, None, data_dir, workers=1)
    return data_dir, config.data


def plain(data):
    """Without augmentation, so that slices can be recognised."""
    data = data.copy_and_resolve_references()
    data.update(flip=False, rotate_degrees=0.0, scale_fraction=0.0, shift_mm=0.0)
    return data


def batches(data_dir, data, count, *, seed=0, global_batch=4, **where):
    iterator = Dataset.open(data_dir).batches(
        data, seed=seed, global_batch=global_batch, **where
    )
    try:
        return list(itertools.islice(iterator, count))
    finally:
        iterator.close()


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def pair_ids(data_dir, data, steps, seed=0):
    """(mr slice, ct slice) of every sample, as numbers."""
    found = batches(data_dir, plain(data), steps, seed=seed)
    tables = {}
    ids = []
    for batch in found:
        for pair in zip(batch["mr"], batch["ct"], strict=True):
            number = []
            for domain, image in zip(("mr", "ct"), pair, strict=True):
                table = tables.setdefault(domain, {})
                number.append(table.setdefault(image.tobytes(), len(table)))
            ids.append(tuple(number))
    assert len(tables["mr"]) == len(tables["ct"]) == SLICES
    return ids


def test_pairs_are_one_slice_with_one_placement(tmp_path):
    config = phantom.get_config("supervised_in_out")
    config.data.update(size=32, spacing_mm=12.0)
    config.phantom.update(train_mr=3, train_ct=3, validation=0, test=0, slices=4)
    prepare(config, None, tmp_path / "data", workers=1)
    for batch in batches(tmp_path / "data", config.data, 4, paired=True):
        # Air is air in both: of slices of two people, or moved apart, it is not.
        air = [batch[domain][..., 0] < -0.95 for domain in ("mr", "ct")]
        assert np.mean(air[0] == air[1]) > 0.9
    assert_same(
        batches(tmp_path / "data", config.data, 2, paired=True, start_step=2),
        batches(tmp_path / "data", config.data, 4, paired=True)[2:],
    )


def test_pairs_of_different_people_are_refused(tiny):
    with pytest.raises(ValueError, match="phantom_0000 has one of them only"):
        batches(*tiny, 1, paired=True)


def test_few_pairs_stand_beside_the_images_that_there_are_without_them(tmp_path):
    config = phantom.get_config()
    config.data.update(size=32, spacing_mm=12.0)
    config.phantom.update(train_mr=1, train_ct=2, pairs=1)
    config.phantom.update(validation=0, test=0, slices=4)
    prepare(config, None, tmp_path / "data", workers=1)
    opened = tmp_path / "data", plain(config.data)
    both = batches(*opened, 4, own_pairs=True)
    alone = [{name: batch[name] for name in ("mr", "ct")} for batch in both]
    assert_same(alone, batches(*opened, 4))
    # The only pair comes last in MR, and in CT: each of its slices once an epoch.
    to_unit = (
        intensity.mr_to_unit,
        functools.partial(intensity.hu_to_unit, knots=config.data.ct_knots),
    )
    slices = [
        convert(list(Dataset.open(opened[0]).subjects(domain, "train"))[-1].stored)
        for domain, convert in zip(("mr", "ct"), to_unit, strict=True)
    ]
    orders = []
    for batch in both:
        places = [
            [
                int(np.flatnonzero((stored == image).all(axis=(1, 2, 3)))[0])
                for image in batch[f"paired_{domain}"]
            ]
            for domain, stored in zip(("mr", "ct"), slices, strict=True)
        ]
        assert places[0] == places[1] and sorted(places[0]) == [0, 1, 2, 3]
        orders.append(tuple(places[0]))
    assert len(set(orders)) > 1
    moved = dict(own_pairs=True, process_index=1, process_count=2)
    of_process = batches(tmp_path / "data", config.data, 4, **moved)
    assert_same(
        of_process[2:],
        batches(tmp_path / "data", config.data, 2, start_step=2, **moved),
    )
    whole = batches(tmp_path / "data", config.data, 4, own_pairs=True)
    second_half = [{name: b[2:] for name, b in batch.items()} for batch in whole]
    assert_same(second_half, of_process)


def test_pairs_that_are_not_there_are_refused_with_what_is(tiny):
    with pytest.raises(
        ValueError, match="loss.paired needs.*none: 3 have MR, 3 have CT, 0 have both"
    ):
        batches(*tiny, 1, own_pairs=True)


def test_batches_are_float32_in_unit_range(tiny):
    (batch,) = batches(*tiny, 1)
    assert batch["mr"].shape == (4, 32, 32, 2) and batch["ct"].shape == (4, 32, 32, 1)
    for image in batch.values():
        assert image.dtype == np.float32
        assert image.min() == -1 and 0 < image.max() <= 1


def test_every_slice_comes_once_an_epoch_in_other_pairs(tiny):
    ids = pair_ids(*tiny, 9)
    epochs = [ids[e * SLICES : (e + 1) * SLICES] for e in range(3)]
    for epoch, domain in itertools.product(epochs, (0, 1)):
        assert sorted(i[domain] for i in epoch) == list(range(SLICES))
    for a, b in itertools.combinations(epochs, 2):
        assert len(set(a) & set(b)) < SLICES / 2


def test_orders_of_the_domains_are_independent(tiny):
    """Equally many slices in both: the same seed would give the same permutation."""
    data_dir, data = tiny
    to_unit = {
        "mr": intensity.mr_to_unit,
        "ct": functools.partial(intensity.hu_to_unit, knots=data.ct_knots),
    }
    # Recognise by position in the data set, through the same normalisation.
    places = {
        (domain, convert(record["image"].astype(np.float32)).tobytes()): place
        for domain, convert in to_unit.items()
        for place, record in enumerate(open_domain(data_dir, domain, "train"))
    }
    assert len(places) == 2 * SLICES
    positions = {"mr": [], "ct": []}
    for batch in batches(data_dir, plain(data), 12):
        for domain, order in positions.items():
            order += [places[domain, image.tobytes()] for image in batch[domain]]
    for epoch in range(4):
        mr, ct = (p[epoch * SLICES : (epoch + 1) * SLICES] for p in positions.values())
        assert mr != ct
        # Nor is one the other, an epoch later: shuffle(seed + 1) would be.
        later = positions["ct"][(epoch + 1) * SLICES : (epoch + 2) * SLICES]
        assert mr != later


def test_seed_changes_order_and_augmentation(tiny):
    first, again, other = (batches(*tiny, 2, seed=s) for s in (0, 0, 1))
    assert_same(first, again)
    assert not np.array_equal(first[0]["mr"], other[0]["mr"])


def test_augmentation_differs_from_epoch_to_epoch(tiny):
    data_dir, data = tiny
    moved = batches(data_dir, data, 6)
    images = {image.tobytes() for batch in moved for image in batch["ct"]}
    assert len(images) == 24


@pytest.mark.parametrize("processes", [2, 4])
def test_hosts_together_make_the_same_global_batches(tiny, processes):
    whole = batches(*tiny, 5)
    parts = [
        batches(*tiny, 5, process_index=p, process_count=processes)
        for p in range(processes)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_same(whole, joined)


def test_position_is_the_step(tiny):
    whole = batches(*tiny, 9)
    assert_same(whole[7:], batches(*tiny, 2, start_step=7))
    part = batches(*tiny, 9, process_index=1, process_count=2)
    assert_same(
        part[5:], batches(*tiny, 4, start_step=5, process_index=1, process_count=2)
    )


def test_crops_have_the_given_size(tiny):
    data_dir, data = tiny
    data = data.copy_and_resolve_references()
    data.crop = 20
    (batch,) = batches(data_dir, data, 1)
    assert batch["mr"].shape == (4, 20, 20, 2) and batch["ct"].shape == (4, 20, 20, 1)


def test_channels_are_selected_in_the_given_order(tiny):
    data_dir, data = tiny
    (both,) = batches(data_dir, data, 1)
    for names, expected in (
        (("in_phase",), [0]),
        (("out_of_phase", "in_phase"), [1, 0]),
    ):
        data = data.copy_and_resolve_references()
        data.mr_channels = names
        (batch,) = batches(data_dir, data, 1)
        np.testing.assert_array_equal(batch["mr"], both["mr"][..., expected])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mr_channels": ("t2",)}, "asks for 't2', but the data have only in_phase"),
        ({"mr_channels": ("out_of_phase",)}, "without in_phase"),
        ({"mr_channels": ()}, "data.mr_channels is empty"),
        ({"size": 64}, "data.size is 64, but the data were prepared with 32"),
        ({"spacing_mm": 3.0}, "data.spacing_mm is 3.0"),
        ({"mask_outside_body": False}, "data.mask_outside_body is False"),
        ({"crop": 33}, "data.crop is 33, expected 0 to 32"),
        ({"ct_knots": ((0.0, 1.0), (1.0, -1.0))}, "data.ct_knots"),
    ],
)
def test_configuration_that_does_not_fit_the_data_is_named(tiny, fields, message):
    data_dir, data = tiny
    data = data.copy_and_resolve_references()
    data.update(fields)
    with pytest.raises(ValueError, match=message):
        batches(data_dir, data, 1)


def test_batches_must_divide_among_processes(tiny):
    with pytest.raises(ValueError, match="train.global_batch is 4.*the 3 processes"):
        batches(*tiny, 1, process_count=3)


def test_volumes_are_read_whole_and_in_order(tiny):
    data_dir, _ = tiny
    dataset = Dataset.open(data_dir)
    volumes = list(dataset.subjects("mr", "train"))
    assert [v.name for v in volumes] == ["phantom_0000", "phantom_0001", "phantom_0002"]
    for volume in volumes:
        assert volume.stored.shape == (4, 32, 32, 2)
        assert volume.stored.dtype == np.int16
        assert volume.spacing_mm == (6.0, 12.0, 12.0)
        expected = body_mask(volume.stored, "MR", volume.spacing_mm)
        np.testing.assert_array_equal(volume.outline, expected)
        assert expected.any() and not expected.all()
    assert dataset.manifest.domains["mr"].channels == ("in_phase", "out_of_phase")
    with pytest.raises(ValueError, match="mr has no subjects for test"):
        next(dataset.subjects("mr", "test"))
    with pytest.raises(ValueError, match="no domain 'pet', only ct, labels, mr"):
        next(dataset.subjects("pet", "train"))


def test_missing_data_are_named_with_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="--mode=prepare"):
        Dataset.open(tmp_path)


def test_transforms_can_be_pickled(tiny):
    to_unit = stream._ToUnit(augmentation=stream.Augmentation(crop=8), modality="MR")
    assert pickle.loads(pickle.dumps(to_unit)) == to_unit


def test_worker_processes_give_the_same_batches(tiny):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    data_dir, data = tiny
    workers = data.copy_and_resolve_references()
    workers.workers = 2
    assert_same(
        batches(data_dir, data, 5, start_step=3),
        batches(data_dir, workers, 5, start_step=3),
    )
