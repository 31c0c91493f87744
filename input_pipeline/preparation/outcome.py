"""What a preparation is asked for, and what the work on all subjects comes back with.

The seam between `prepare` and those who do the work: `processes`, on one machine, and
`beam`, on many. Both write the same files and say the same of them.
"""

import collections
import dataclasses

import numpy as np

from input_pipeline.preparation.jobs import Phantom, Scan, StoredVolume, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be written.

    Attributes:
        jobs: subjects; everything follows their order.
        target: what their slices have in common.
    """

    jobs: tuple[Scan | Phantom, ...]
    target: Target


@dataclasses.dataclass(kw_only=True)
class Written:
    """What was written, without anything as large as an image.

    Does not depend on the order in which results are added and parts merged.

    Attributes:
        by_job: volumes of each subject, without their counts, by its place in `jobs`.
        counts: of `StoredVolume`, added up by domain and split.
        record_bytes: of all shards of a domain and split.
        refused: why a subject cannot be used, by its place in `jobs`.
    """

    by_job: dict[int, list[StoredVolume]] = dataclasses.field(default_factory=dict)
    counts: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)
    record_bytes: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    refused: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def volumes(self) -> list[StoredVolume]:
        """In the order of `jobs`."""
        return [volume for _, found in sorted(self.by_job.items()) for volume in found]

    def add(self, place: int, result: list[StoredVolume] | str) -> None:
        """Adds what `write_subject` returned for a job."""
        if isinstance(result, str):
            self.refused[place] = result
            return
        for volume in result:
            if volume.counts is not None:
                self._count((volume.domain, volume.split), volume.counts)
        # Counts are half a megabyte a channel, the rest a kilobyte.
        self.by_job[place] = [dataclasses.replace(v, counts=None) for v in result]

    def merge(self, other: "Written") -> None:
        self.by_job |= other.by_job
        self.refused |= other.refused
        self.record_bytes += other.record_bytes
        for key, counts in other.counts.items():
            self._count(key, counts)

    def _count(self, key: tuple[str, str], counts: np.ndarray) -> None:
        self.counts[key] = self.counts[key] + counts if key in self.counts else counts
