"""The outcome of a preparation's work, on one machine or many."""

import dataclasses
from collections.abc import Mapping

from input_pipeline.preparation.jobs import StoredVolume


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOutcome:
    """Results of all jobs and shards, without anything as large as an image.

    Both `local`, on one machine, and `beam`, on many, return it to `prepare`. A job or
    shard that was done twice counts once, by its key.

    Attributes:
        results: for each job, by its place: the volumes that it stored, or the reason
            why the subject cannot be used.
        record_bytes: bytes of the records of each shard, by its `key`; empty where a
            subject cannot be used.
    """

    results: Mapping[int, list[StoredVolume] | str]
    record_bytes: Mapping[tuple[str, str, int], int] = dataclasses.field(
        default_factory=dict
    )

    @property
    def volumes(self) -> list[StoredVolume]:
        """Stored volumes, in the order of the jobs."""
        return [
            volume
            for _, result in sorted(self.results.items())
            if not isinstance(result, str)
            for volume in result
        ]

    @property
    def refused(self) -> dict[int, str]:
        """Reasons why subjects cannot be used, by the places of their jobs."""
        return {p: r for p, r in sorted(self.results.items()) if isinstance(r, str)}
