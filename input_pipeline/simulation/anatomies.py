"""Drawn anatomies in ArrayRecord shards: slabs of labels, to be acquired at will.

    FOLDER/anatomies.json               what was drawn
    FOLDER/anatomies-NUMBER-of-COUNT    shards; a record is a slab, compressed

A slab is PLANES label maps, PLANE_MM apart, with sub-voxels of half a pixel.
"""

import dataclasses
import functools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from input_pipeline.countdown import Countdown
from input_pipeline.cpus import cpu_count
from input_pipeline.files import new_folder
from input_pipeline.phantom import anatomy, shapes
from input_pipeline.phantom.build import draw_build
from input_pipeline.worker_pool import worker_pool

PLANES = 4
PLANE_MM = 2.0
_FILE = "anatomies.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anatomies:
    """The parameters of a folder of anatomies, all of which its labels depend on.

    Attributes:
        count: number of people.
        kind: one of `build.ANATOMIES`.
        size: rows and columns of the pixels that slabs are acquired in.
        spacing_mm: of these pixels.
        slabs: of each person, from inferior to superior.
        seed: drew them.
        format: number of the folder's layout, and of what the painters draw: raise it
            with any change of their labels.
    """

    count: int
    kind: str
    size: int
    spacing_mm: float
    slabs: int
    seed: int
    format: int = 2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns of the labels of a slab."""
        return PLANES, 2 * self.size, 2 * self.size

    def decode(self, record: bytes) -> np.ndarray:
        """Return the labels of a record, (planes, rows, columns) uint8."""
        return np.frombuffer(zlib.decompress(record), np.uint8).reshape(self.shape)


def anatomies_of(config) -> Anatomies:
    """Return the anatomies that a configuration asks for.

    Raises:
        ValueError: its volumes are thinner than a slab.
    """
    phantom, data = config.phantom, config.data
    slabs = int(phantom.slices * phantom.slice_mm / (PLANES * PLANE_MM))
    if not slabs:
        raise ValueError(
            f"phantom.slices is {phantom.slices} and phantom.slice_mm "
            f"{phantom.slice_mm:g}, expected {PLANES * PLANE_MM:g} mm or more in all"
        )
    return Anatomies(
        count=int(phantom.anatomies),
        kind=phantom.anatomy,
        size=int(data.size),
        spacing_mm=float(data.spacing_mm),
        slabs=slabs,
        seed=int(config.seed),
    )


def draw(anatomies: Anatomies, folder: Path, *, workers: int | None = None) -> None:
    """Draw anatomies into a new folder, which appears whole or not at all.

    Args:
        workers: processes; None for one a core. The result does not depend on it.
    """
    workers = min(workers or cpu_count(), anatomies.count)
    with new_folder(folder) as new:
        names = [
            new / f"anatomies-{number:05d}-of-{anatomies.count:05d}"
            for number in range(anatomies.count)
        ]
        with worker_pool(workers) as pool:
            job = functools.partial(_draw_shard, anatomies)
            countdown = Countdown(anatomies.count, "anatomies", every_seconds=10)
            for _ in pool.map(job, range(anatomies.count), names):
                countdown.log()
        (new / _FILE).write_text(json.dumps(dataclasses.asdict(anatomies)) + "\n")


def open_records(anatomies: Anatomies, folder: Path) -> Sequence[bytes]:
    """Return random access to the records of a folder that holds these anatomies.

    Raises:
        FileNotFoundError: the folder holds no anatomies.
        ValueError: they are others, or some are missing; names the field.
    """
    path = folder / _FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, so {folder} has no anatomies")
    try:
        stored = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no JSON object: {error}") from error
    for field, wanted in dataclasses.asdict(anatomies).items():
        if stored.get(field) != wanted:
            raise ValueError(
                f"{path}: {field} is {stored.get(field)!r}, the configuration asks "
                f"for {wanted!r}: use another folder"
            )
    paths = sorted(str(p) for p in folder.glob("anatomies-*-of-*"))
    if len(paths) != anatomies.count:
        raise ValueError(
            f"{folder} holds {len(paths)} shards, expected {anatomies.count}"
        )
    return grain.sources.ArrayRecordDataSource(paths)


def _draw_shard(anatomies: Anatomies, number: int, path: Path) -> None:
    """Write the slabs of one person."""
    rng = np.random.default_rng([anatomies.seed, number, 1])
    fine = shapes.centres(2 * anatomies.size, anatomies.spacing_mm / 2)
    z = shapes.centres(anatomies.slabs * PLANES, PLANE_MM)
    build = draw_build(rng, anatomies.kind)
    labels = anatomy.draw_labels(rng, build, (z, fine, fine))
    writer = ArrayRecordWriter(str(path), "group_size:1")
    try:
        for slab in labels.reshape(anatomies.slabs, *anatomies.shape):
            writer.write(zlib.compress(slab.tobytes(), 1))
    finally:
        writer.close()
