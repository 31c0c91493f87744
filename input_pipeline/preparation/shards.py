"""Which slices are in which ArrayRecord shard, and the shard itself.

Both are pure functions of the stored volumes, so that whoever writes shards, processes
of one machine or Beam's workers on many, in whatever order, writes the same bytes.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from input_pipeline.dataset import storage
from input_pipeline.files import atomic_file
from input_pipeline.preparation import jobs

SHARD_BYTES = 64 * 2**20
# A reader keeps all shards open, and 1024 open files are a common limit.
MOST_SHARDS = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Slices `first` to `stop` (exclusive) of a volume in an .npy file."""

    subject: str
    path: Path
    first: int
    stop: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Shard `number` (from 0) of `count` of a split of a domain.

    Attributes:
        shape: of a slice: rows, columns, channels.
        parts: what is in it, in order.
    """

    domain: str
    split: str
    number: int
    count: int
    shape: tuple[int, int, int]
    parts: tuple[Part, ...]

    @property
    def slices(self) -> int:
        return sum(part.stop - part.first for part in self.parts)

    @property
    def file_name(self) -> str:
        """As TFDS calls it, so that it finds it."""
        place = f"{self.number:05d}-of-{self.count:05d}"
        return f"{storage.NAME}-{self.split}.array_record-{place}"


def channels_of(domain: str, target: jobs.Target) -> tuple[str, ...]:
    """Names, in stored order."""
    return {"mr": target.mr_channels, "ct": ("hu",), "labels": ("label",)}[domain]


def assign_shards(
    volumes: Sequence[jobs.StoredVolume], target: jobs.Target
) -> list[Shard]:
    """All shards of a data set, by domain and split.

    The slices of a split follow each other as the volumes do. A split has as many
    shards as times SHARD_BYTES fits into its images, at least one and at most
    MOST_SHARDS, with equally many slices each, give or take one.
    """
    groups: dict[tuple[str, str], list[jobs.StoredVolume]] = {}
    for volume in volumes:
        groups.setdefault((volume.domain, volume.split), []).append(volume)
    shards = []
    for (domain, split), members in sorted(groups.items()):
        shape = (target.size, target.size, len(channels_of(domain, target)))
        slices = sum(volume.slices for volume in members)
        image_bytes = slices * int(np.prod(shape)) * np.dtype(np.int16).itemsize
        count = min(max(1, image_bytes // SHARD_BYTES), slices, MOST_SHARDS)
        starts = [slices * number // count for number in range(count + 1)]
        shards += [
            Shard(
                domain=domain,
                split=split,
                number=number,
                count=count,
                shape=shape,
                parts=tuple(parts),
            )
            for number, parts in enumerate(_cut(members, starts))
        ]
    return shards


def _cut(
    volumes: Sequence[jobs.StoredVolume], starts: Sequence[int]
) -> Iterator[list[Part]]:
    """The parts between each two of `starts`, which count slices of all volumes."""
    parts: list[Part] = []
    ends = iter(starts[1:])
    end = next(ends)
    position = 0
    for volume in volumes:
        first = 0
        while first < volume.slices:
            stop = min(volume.slices, first + end - position)
            parts.append(
                Part(subject=volume.name, path=volume.path, first=first, stop=stop)
            )
            position += stop - first
            first = stop
            if position == end:
                yield parts
                parts = []
                end = next(ends, end)


def write_shard(shard: Shard, data_dir: Path, *, scratch: Path | None = None) -> int:
    """Write a shard to its place below DATA; it appears whole or not at all.

    Written twice, by two workers perhaps, it is replaced by the same bytes.

    Args:
        scratch: where the unfinished shard lies, see `atomic_file`: what a killed
            worker leaves there is removed with it.

    Returns:
        Bytes of its records.

    Raises:
        OSError: a volume cannot be read, or the shard not be written.
    """
    path = storage.domain_dir(data_dir, shard.domain) / shard.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with atomic_file(path, scratch=scratch) as new:
        try:
            # A group a record: what is read at random must not be unpacked in groups.
            writer = ArrayRecordWriter(str(new), "group_size:1")
            try:
                for record in _records(shard):
                    writer.write(record)
                    size += len(record)
            finally:
                writer.close()
        except RuntimeError as error:  # ArrayRecord's for a full disk
            raise OSError(f"{path}: {error}") from error
    return size


def _records(shard: Shard) -> Iterator[bytes]:
    features = storage.features(shard.shape)
    serializer = ExampleSerializer(features.get_serialized_info())
    for part in shard.parts:
        images = np.load(part.path, mmap_mode="r")
        for index in range(part.first, part.stop):
            example = {
                "image": np.array(images[index]),
                "subject": part.subject,
                "index": np.int32(index),
            }
            proto = serializer.get_tf_example(features.encode_example(example))
            # Protobuf writes the fields in another order in every process otherwise.
            yield proto.SerializeToString(deterministic=True)
