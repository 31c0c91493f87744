"""The work of a preparation as an Apache Beam pipeline: Dataflow, Flink, Spark, ...

    subjects -> slices as .npy -> (all of them) -> shards

The two steps are those of `input_pipeline.processes`, and `prepare` does the rest for
both, so both leave the same bytes behind. Volumes pass from worker to worker as files:
what Beam carries is a kilobyte for each.
"""

import collections
import dataclasses
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from input_pipeline import files
from input_pipeline.preparation import jobs, shards
from input_pipeline.preparation.outcome import Request, Written


def write(
    request: Request, folder: Path, *, scratch: Path, options: PipelineOptions
) -> Written:
    """As `processes.write`.

    Args:
        folder, scratch: on a file system that this process and all workers have mounted
            at the same place, as are the scans.
        options: of Beam: the runner and what it takes.

    Raises:
        RuntimeError: the pipeline failed or was cancelled; Beam's own, with the
            worker's traceback.
    """
    result_file = scratch / "written.pickle"
    pipeline = beam.Pipeline(options=options)
    written = (
        pipeline
        | "Subjects" >> beam.Create(list(enumerate(request.jobs)))
        | "SpreadSubjects" >> beam.Reshuffle()
        | "WriteSlices" >> beam.Map(_write_subject, request.target, scratch)
        | "Collect" >> beam.CombineGlobally(_Collect())
    )
    sizes = (
        written
        | "AssignShards" >> beam.FlatMap(_assign_shards, request.target)
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShards" >> beam.Map(_write_shard, folder, scratch)
        | "AddBytes" >> beam.CombinePerKey(sum)
    )
    _ = written | "Report" >> beam.Map(
        _report, result_file, sizes=beam.pvalue.AsDict(sizes)
    )
    result = pipeline.run()
    state = result.wait_until_finish()
    if state not in (None, PipelineState.DONE):
        raise RuntimeError(f"the pipeline ended as {state}, expected DONE")
    return pickle.loads(result_file.read_bytes())


def _write_subject(
    numbered: tuple[int, jobs.Scan | jobs.Phantom],
    target: jobs.Target,
    scratch: Path,
) -> tuple[int, list[jobs.StoredVolume] | str]:
    place, job = numbered
    if not scratch.is_dir():
        raise FileNotFoundError(
            f"{scratch}: no such folder on this worker: --data_dir must be on a file "
            "system that all workers have mounted, at the same place"
        )
    # Beam does work again that it believes to be lost: each attempt has its own files.
    folder = scratch / uuid.uuid4().hex
    folder.mkdir()
    return place, jobs.write_subject(job, target, folder)


class _Collect(beam.CombineFn):
    """Results in any order to one `Written`; counts are added up where they arise."""

    def create_accumulator(self) -> Written:
        return Written()

    def add_input(self, accumulator: Written, element: tuple) -> Written:
        accumulator.add(*element)
        return accumulator

    def merge_accumulators(self, accumulators) -> Written:
        merged = Written()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Written) -> Written:
        return accumulator


def _assign_shards(written: Written, target: jobs.Target) -> Iterator[shards.Shard]:
    if not written.refused:
        yield from shards.assign_shards(written.volumes, target)


def _write_shard(
    shard: shards.Shard, folder: Path, scratch: Path
) -> tuple[tuple[str, str], int]:
    size = shards.write_shard(shard, folder, scratch=scratch)
    return (shard.domain, shard.split), size


def _report(written: Written, path: Path, *, sizes: dict[tuple[str, str], int]) -> None:
    """To the process that started the pipeline, to which Beam returns nothing."""
    report = dataclasses.replace(written, record_bytes=collections.Counter(sizes))
    files.write_file(path, pickle.dumps(report))
