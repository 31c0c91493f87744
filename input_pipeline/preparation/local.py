"""The work of a preparation on one machine, by as many processes as it has cores."""

import collections
import concurrent.futures
import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from absl import logging

from input_pipeline.cpus import usable_cpus
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import Job, SliceFormat, store_subject
from input_pipeline.preparation.outcome import PrepareOutcome

# Results that wait for an earlier one, for each process: while a large scan is read,
# the others go on, and memory does not grow with the number of scans.
_AHEAD = 4


def write(
    jobs: Sequence[Job],
    slice_format: SliceFormat,
    folder: Path,
    *,
    scratch: Path,
    workers: int | None = None,
) -> PrepareOutcome:
    """Store the slices of all subjects, then write all shards.

    Args:
        folder: of the data set.
        scratch: a folder for files that are not needed afterwards.
        workers: processes; None for one a core. The result does not depend on it.
    """
    with _process_map(min(workers or len(usable_cpus()), len(jobs))) as ordered_map:
        store = functools.partial(
            store_subject, slice_format=slice_format, folder=scratch
        )
        results = {}
        for place, result in enumerate(ordered_map(store, jobs)):
            results[place] = result
            logging.info("%d of %d: %s", place + 1, len(jobs), jobs[place].name)
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


@contextlib.contextmanager
def _process_map(workers: int) -> Iterator[Callable[[Callable, Iterable], Iterator]]:
    """Yield a `map` whose calls are done by processes, with results in order."""
    if workers <= 1:
        yield map
        return
    # Spawned, not forked: jax's threads may be running in this process.
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn")
    ) as pool:

        def ordered_map(function: Callable, items: Iterable) -> Iterator:
            waiting = collections.deque()
            for item in items:
                if len(waiting) == _AHEAD * workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()

        try:
            yield ordered_map
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
