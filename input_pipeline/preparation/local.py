"""The work of a preparation on one machine, by as many processes as it has cores."""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from input_pipeline.countdown import Countdown
from input_pipeline.cpus import cpu_count
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import Job, SliceFormat, store_subject
from input_pipeline.preparation.outcome import PrepareOutcome
from input_pipeline.worker_pool import worker_pool


def write(
    jobs: Sequence[Job],
    slice_format: SliceFormat,
    folder: Path,
    *,
    scratch: Path,
    workers: int | None = None,
) -> PrepareOutcome:
    """Store the slices of all subjects; if none is refused, write all shards.

    Args:
        folder: of the data set.
        scratch: a folder for files that are not needed afterwards.
        workers: processes; None for one a core. The result does not depend on it.
    """
    workers = min(workers or cpu_count(), len(jobs))
    with contextlib.ExitStack() as stack:
        ordered_map = map
        if workers > 1:
            ordered_map = stack.enter_context(worker_pool(workers)).map
        store = functools.partial(
            store_subject, slice_format=slice_format, folder=scratch
        )
        results = {}
        countdown = Countdown(len(jobs), "volumes")
        for place, result in enumerate(ordered_map(store, jobs)):
            results[place] = result
            countdown.log(jobs[place].name)
        outcome = PrepareOutcome(results=results)
        if outcome.refused:
            return outcome
        plan = shards.assign_shards(outcome.volumes, slice_format)
        write_shard = functools.partial(
            shards.write_shard, data_dir=folder, scratch=scratch
        )
        sizes = ordered_map(write_shard, plan)
        keys = [shard.key for shard in plan]
        return PrepareOutcome(
            results=results, record_bytes=dict(zip(keys, sizes, strict=True))
        )
