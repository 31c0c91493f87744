"""ArrayRecord shards: which slices each one holds, and its file.

Both are pure functions of the stored volumes, so that whoever writes shards, processes
of one machine or Beam's workers on many, in whatever order, writes the same bytes.
"""

import dataclasses
import errno
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from input_pipeline.dataset import storage
from input_pipeline.files import atomic_file
from input_pipeline.preparation.jobs import SliceFormat, StoredVolume

SHARD_BYTES = 64 * 2**20
# A reader keeps all shards open, and 1024 open files are a common limit.
MOST_SHARDS = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceRange:
    """Slices `first` to `stop` (exclusive) of a volume in an .npy file."""

    subject: str
    path: Path
    first: int
    stop: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Shard `number` (from 0) of `count` of a split of a domain.

    Attributes:
        shape: rows, columns and channels of a slice.
        ranges: its slices, in order.
    """

    domain: str
    split: str
    number: int
    count: int
    shape: tuple[int, int, int]
    ranges: tuple[SliceRange, ...]

    @property
    def slices(self) -> int:
        return sum(images.stop - images.first for images in self.ranges)

    @property
    def key(self) -> tuple[str, str, int]:
        """The shard's place in its data set."""
        return self.domain, self.split, self.number

    @property
    def file_name(self) -> str:
        """The name under which TFDS looks for it."""
        place = f"{self.number:05d}-of-{self.count:05d}"
        return f"{storage.NAME}-{self.split}.array_record-{place}"


def assign_shards(
    volumes: Sequence[StoredVolume], slice_format: SliceFormat
) -> list[Shard]:
    """Return the shards of every split of every domain, sorted by domain and split.

    Slices keep the order of the volumes. The number of a split's shards is the bytes of
    its images over SHARD_BYTES, at least 1 and at most MOST_SHARDS. Their numbers of
    slices differ by at most one.
    """
    groups: dict[tuple[str, str], list[StoredVolume]] = {}
    for volume in volumes:
        groups.setdefault((volume.domain, volume.split), []).append(volume)
    shards = []
    for (domain, split), members in sorted(groups.items()):
        size = slice_format.size
        shape = (size, size, len(slice_format.channels(domain)))
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
                ranges=tuple(ranges),
            )
            for number, ranges in enumerate(_cut(members, starts))
        ]
    return shards


def _cut(
    volumes: Sequence[StoredVolume], starts: Sequence[int]
) -> Iterator[list[SliceRange]]:
    """Yield the slices between each two of `starts`, which count over all volumes."""
    offsets = list(itertools.accumulate((v.slices for v in volumes), initial=0))
    for start, stop in itertools.pairwise(starts):
        ranges = [
            SliceRange(
                subject=volume.name,
                path=volume.path,
                first=max(start - offset, 0),
                stop=min(stop - offset, volume.slices),
            )
            for volume, offset in zip(volumes, offsets, strict=False)
        ]
        yield [images for images in ranges if images.first < images.stop]


def write_shard(shard: Shard, data_dir: Path, *, scratch: Path | None = None) -> int:
    """Write a shard to its place below DATA; return the bytes of its records.

    It appears whole or not at all. Written twice, by two workers perhaps, it is
    replaced by the same bytes.

    Args:
        scratch: where the unfinished shard lies, see `atomic_file`: what a killed
            worker leaves there is removed with it.
    """
    path = storage.domain_dir(data_dir, shard.domain) / shard.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with atomic_file(path, scratch=scratch) as new:
        try:
            # A record a group: what is read at random must not be unpacked in groups.
            writer = ArrayRecordWriter(str(new), "group_size:1")
            try:
                for record in _records(shard):
                    writer.write(record)
                    size += len(record)
            finally:
                writer.close()
        except RuntimeError as error:  # ArrayRecord's for a full disk
            raise OSError(errno.EIO, str(error)) from error
    return size


def _records(shard: Shard) -> Iterator[bytes]:
    features = storage.features(shard.shape)
    serializer = ExampleSerializer(features.get_serialized_info())
    for volume in shard.ranges:
        images = np.load(volume.path, mmap_mode="r")
        for index in range(volume.first, volume.stop):
            example = {
                "image": np.array(images[index]),
                "subject": volume.subject,
                "index": np.int32(index),
            }
            proto = serializer.get_tf_example(features.encode_example(example))
            # Protobuf writes the fields in another order in every process otherwise.
            yield proto.SerializeToString(deterministic=True)
