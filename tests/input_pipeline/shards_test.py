import hashlib
import os
import resource

import numpy as np
import pytest

from input_pipeline.dataset import storage
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import SliceFormat, StoredVolume
from input_pipeline.preparation.outcome import PrepareOutcome

FORMAT = SliceFormat(
    size=8,
    spacing_mm=1.0,
    mr_channels=("in_phase", "out_of_phase"),
    mask_outside_body=True,
    mr_percentile=99.5,
)
SLICE_BYTES = {"mr": 8 * 8 * 2 * 2, "ct": 8 * 8 * 2}


def volume(folder, name, slices, *, domain="ct", split="train"):
    """Every value of every slice is another one."""
    shape = (slices, 8, 8, len(FORMAT.channels(domain)))
    first = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
    values = (first + np.arange(np.prod(shape))).astype(np.int16).reshape(shape)
    path = folder / f"{domain}-{name}.npy"
    np.save(path, values)
    return StoredVolume(
        domain=domain,
        name=name,
        split=split,
        path=path,
        counts_path=None,
        slices=slices,
        affine=np.eye(4),
    )


def write_ct(volumes, data_dir):
    plan = shards.assign_shards(volumes, FORMAT)
    sizes = {}
    for shard in reversed(plan):  # in no particular order
        sizes[shard.key] = shards.write_shard(shard, data_dir)
    by_split = {
        split: [shard for shard in plan if shard.split == split]
        for split in ("train", "test")
    }
    storage.write_metadata(
        data_dir,
        "ct",
        shape=(8, 8, 1),
        shard_slices={k: [s.slices for s in v] for k, v in by_split.items()},
        record_bytes={k: sum(sizes[s.key] for s in v) for k, v in by_split.items()},
    )
    return plan


# --- assignment ---------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[1], [5, 1, 1, 9], [2] * 12, [40], [3, 7, 30, 1]])
@pytest.mark.parametrize("per_shard", [1, 2, 3, 4, 11, 1000])
def test_each_slice_is_in_one_shard_in_order(lengths, per_shard, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", per_shard * SLICE_BYTES["mr"])
    volumes = [
        volume(tmp_path, f"s{number}", slices, domain="mr")
        for number, slices in enumerate(lengths)
    ]
    plan = shards.assign_shards(volumes, FORMAT)
    assert len(plan) == max(1, sum(lengths) // per_shard)
    assert [(s.number, s.count) for s in plan] == [
        (number, len(plan)) for number in range(len(plan))
    ]
    found = [
        (part.subject, index)
        for shard in plan
        for part in shard.ranges
        for index in range(part.first, part.stop)
    ]
    assert found == [(v.name, index) for v in volumes for index in range(v.slices)]
    sizes = [shard.slices for shard in plan]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1


def test_domains_and_splits_do_not_share_shards(tmp_path):
    volumes = [
        volume(tmp_path, "a", 2, domain="mr", split="train"),
        volume(tmp_path, "b", 3, domain="ct", split="train"),
        volume(tmp_path, "c", 4, domain="mr", split="test"),
        volume(tmp_path, "d", 5, domain="mr", split="train"),
    ]
    plan = shards.assign_shards(volumes, FORMAT)
    assert [(s.domain, s.split, s.slices, s.shape) for s in plan] == [
        ("ct", "train", 3, (8, 8, 1)),
        ("mr", "test", 4, (8, 8, 2)),
        ("mr", "train", 7, (8, 8, 2)),
    ]


def test_number_of_shards_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    volumes = [volume(tmp_path, f"s{number}", 30) for number in range(20)]
    plan = shards.assign_shards(volumes, FORMAT)
    assert len(plan) == shards.MOST_SHARDS
    assert sum(shard.slices for shard in plan) == 600


# --- content --------------------------------------------------------------------


# TFDS reads with what protobuf 6, Beam's, announces to be going.
@pytest.mark.filterwarnings("ignore:label:DeprecationWarning")
def test_slices_are_read_back_across_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * SLICE_BYTES["ct"])
    volumes = [volume(tmp_path, f"s{n}", slices) for n, slices in enumerate([5, 1, 7])]
    volumes += [volume(tmp_path, "t", 3, split="test")]
    plan = write_ct(volumes, tmp_path / "data")
    folder = storage.domain_dir(tmp_path / "data", "ct")
    assert sorted(os.listdir(folder)) == sorted(
        ["dataset_info.json", "features.json"] + [shard.file_name for shard in plan]
    )
    assert "slices-train.array_record-00002-of-00003" in os.listdir(folder)
    train = storage.open_domain(tmp_path / "data", "ct", "train")
    expected = [(v, i) for v in volumes[:3] for i in range(v.slices)]
    assert len(train) == len(expected) == 13
    for record, (stored, index) in zip(train, expected, strict=True):
        assert record["subject"] == stored.name.encode() and record["index"] == index
        np.testing.assert_array_equal(record["image"], np.load(stored.path)[index])
    assert len(storage.open_domain(tmp_path / "data", "ct", "test")) == 3
    with pytest.raises(ValueError, match="no validation split, only test, train"):
        storage.open_domain(tmp_path / "data", "ct", "validation")


def test_records_have_the_same_bytes_everywhere(tmp_path):
    """Protobuf's default order of fields differs from process to process."""
    (shard,) = shards.assign_shards([volume(tmp_path, "a", 3)], FORMAT)
    digest = hashlib.sha256(b"".join(shards._records(shard))).hexdigest()
    expected = "c59e057fe476e978fe1dcd32713d7dee91370fcba594b49d044c0bf2677e6d32"
    assert digest == expected


def test_writing_a_shard_again_changes_nothing(tmp_path):
    (shard,) = shards.assign_shards([volume(tmp_path, "a", 3)], FORMAT)
    size = shards.write_shard(shard, tmp_path)
    path = storage.domain_dir(tmp_path, "ct") / shard.file_name
    before = path.read_bytes()
    assert shards.write_shard(shard, tmp_path) == size
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [shard.file_name]


def test_full_disk_is_reported_and_leaves_no_part_of_a_shard(tmp_path):
    (shard,) = shards.assign_shards([volume(tmp_path, "a", 4000)], FORMAT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(
            OSError, match="too large.*: .*/slices-train.*-00000-of-00001'"
        ):
            shards.write_shard(shard, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(storage.domain_dir(tmp_path / "data", "ct")) == []


# --- outcome --------------------------------------------------------------------------


def test_outcome_follows_the_order_of_jobs_not_of_results(tmp_path):
    names = ["a", "b", "c", "d"]
    results = {place: [volume(tmp_path, name, 2)] for place, name in enumerate(names)}
    results[4] = "no body"
    outcome = PrepareOutcome(results=dict(reversed(results.items())))
    assert [v.name for v in outcome.volumes] == names
    assert outcome.refused == {4: "no body"}


# --- damage -------------------------------------------------------------------------


def read_ct(folder, prepared=None):
    slices = storage.open_domain(folder, "ct", "train", prepared)
    return [s["image"].tobytes() for s in slices]


def test_flipped_bits_of_a_shard_are_noticed_without_its_fingerprint(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * SLICE_BYTES["ct"])
    write_ct(
        [volume(tmp_path, "a", 5), volume(tmp_path, "t", 2, split="test")], tmp_path
    )
    shard = sorted(tmp_path.rglob("*train.array_record*"))[1]
    intact, expected = shard.read_bytes(), read_ct(tmp_path)
    refused, used = 0, [place for place, byte in enumerate(intact) if byte]
    for number, place in enumerate(used[::8]):
        content = bytearray(intact)
        content[place] ^= 1 << number % 8
        shard.write_bytes(content)
        try:
            assert read_ct(tmp_path) == expected, place
        except ValueError as error:
            assert str(shard) in str(error) or str(shard.parent) in str(error)
            refused += 1
    assert refused > len(used[::8]) / 2


def test_exchanged_and_missing_shards_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * SLICE_BYTES["ct"])
    volumes = [volume(tmp_path, "a", 4), volume(tmp_path, "t", 2, split="test")]
    write_ct(volumes, tmp_path)
    prepared = storage.fingerprints(tmp_path)
    assert len(prepared) == 2 + 2 + 1  # with two files of TFDS
    expected = read_ct(tmp_path, prepared)
    first, second = sorted(tmp_path.rglob("*train.array_record*"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert read_ct(tmp_path) != expected  # intact, but in another order
    with pytest.raises(ValueError, match=f"{first} is not the file that was prepared"):
        read_ct(tmp_path, prepared)
    first.unlink()
    with pytest.raises(FileNotFoundError, match=str(first)):
        read_ct(tmp_path, prepared)
    with pytest.raises(ValueError, match=f"{tmp_path}.* cannot be "):
        read_ct(tmp_path)
