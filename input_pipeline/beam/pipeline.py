"""The work of a preparation as an Apache Beam pipeline: Dask, Flink, Spark, ...

    jobs -> slices as .npy -> (all of them) -> shards -> report

The steps are those of `preparation.local`, and `prepare` does the rest for both, so
both leave the same bytes behind. Volumes pass from worker to worker as files; Beam
carries a kilobyte for each.

There are no side inputs: Dask's runner computes them again in each worker that reads
them. Work is spread by keys that follow from the elements, not by Reshuffle's random
ones: the part of a shuffle that a lost worker held is computed again, and must come out
the same.
"""

import pickle
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from input_pipeline import files
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import (
    Job,
    SliceFormat,
    StoredVolume,
    store_subject,
)
from input_pipeline.preparation.outcome import PrepareOutcome

Result = tuple[int, list[StoredVolume] | str]
"""A job's place, and the volumes that it stored or the reason why it stored none."""

T = TypeVar("T")

_ALL = 0  # the one key of what comes together


def write(
    jobs: Sequence[Job],
    slice_format: SliceFormat,
    folder: Path,
    *,
    scratch: Path,
    options: PipelineOptions,
) -> PrepareOutcome:
    """Store the slices of all subjects, then write all shards, as `local.write` does.

    Args:
        folder, scratch: on a file system that this process and all workers have mounted
            at the same place, as are the scans.
        options: of Beam: the runner and its own.

    Raises:
        RuntimeError: the pipeline failed or was cancelled; Beam's own, with the
            worker's traceback.
    """
    report = scratch / "outcome.pickle"
    pipeline = beam.Pipeline(options=options)
    results = (
        pipeline
        | "Jobs" >> beam.Create(list(enumerate(jobs)))
        | "SpreadJobs" >> _Spread()
        | "StoreSlices" >> beam.Map(_store_subject, slice_format, scratch)
        | "KeyResults" >> beam.Map(_keyed)
        | "GatherResults" >> beam.GroupByKey()
    )
    sizes = (
        results
        | "AssignShards" >> beam.FlatMap(_assign_shards, slice_format)
        | "SpreadShards" >> _Spread()
        | "WriteShards" >> beam.Map(_write_shard, folder, scratch)
        | "KeySizes" >> beam.Map(_keyed)
    )
    # The last transform, and it depends on all others: Dask's runner computes no more.
    _ = (
        {"results": results, "sizes": sizes}
        | "GatherAll" >> beam.CoGroupByKey()
        | "Report" >> beam.Map(_report, report)
    )
    state = pipeline.run().wait_until_finish()
    if state not in (None, PipelineState.DONE):
        raise RuntimeError(f"the pipeline ended as {state}, expected DONE")
    outcome = pickle.loads(report.read_bytes())
    if lost := set(range(len(jobs))) - outcome.results.keys():
        raise RuntimeError(f"the pipeline lost the results of {len(lost)} jobs")
    return outcome


class _Spread(beam.PTransform):
    """Redistribute pairs (number, value) over the workers by key.

    Each number must occur only once.
    """

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        return pairs | beam.GroupByKey() | beam.Map(_only)


def _only(group: tuple[int, Iterable[T]]) -> tuple[int, T]:
    number, (value,) = group
    return number, value


def _keyed(value: T) -> tuple[int, T]:
    return _ALL, value


def _store_subject(
    numbered: tuple[int, Job], slice_format: SliceFormat, scratch: Path
) -> Result:
    place, job = numbered
    if not scratch.is_dir():
        raise FileNotFoundError(
            f"{scratch}: no such folder on this worker: --data_dir must be on a file "
            "system that all workers have mounted, at the same place"
        )
    # Beam repeats work that it believes to be lost: each attempt has its own files.
    folder = scratch / uuid.uuid4().hex
    folder.mkdir()
    return place, store_subject(job, slice_format, folder)


def _assign_shards(
    gathered: tuple[int, Iterable[Result]], slice_format: SliceFormat
) -> Iterator[tuple[int, shards.Shard]]:
    _, results = gathered
    outcome = PrepareOutcome(results=dict(results))
    if not outcome.refused:
        yield from enumerate(shards.assign_shards(outcome.volumes, slice_format))


def _write_shard(
    numbered: tuple[int, shards.Shard], folder: Path, scratch: Path
) -> tuple[tuple[str, str, int], int]:
    _, shard = numbered
    return shard.key, shards.write_shard(shard, folder, scratch=scratch)


def _report(gathered: tuple[int, dict[str, Iterable]], path: Path) -> None:
    """Write the outcome for the process that started Beam, which returns nothing."""
    _, inputs = gathered
    (results,) = inputs["results"]
    outcome = PrepareOutcome(results=dict(results), record_bytes=dict(inputs["sizes"]))
    files.write_file(path, pickle.dumps(outcome))
