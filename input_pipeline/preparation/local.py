"""The work of a preparation on one machine, by as many processes as it has cores."""

import collections
import concurrent.futures
import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from absl import logging

from input_pipeline.cpus import usable_cpus
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import StoredVolume, write_subject
from input_pipeline.preparation.outcome import Request, Written

# Results that wait for an earlier one, for each process: while a large scan is read,
# the others go on, and memory does not grow with the number of scans.
_AHEAD = 4


def write(
    request: Request,
    folder: Path,
    *,
    scratch: Path,
    workers: int | None = None,
    write_subject: Callable[..., list[StoredVolume] | str] = write_subject,
) -> Written:
    """All slices of all subjects, then all shards.

    Args:
        folder: of the data set.
        scratch: for what is not needed afterwards.
        workers: processes; None for one a core. The result does not depend on it.
        write_subject: stores the slices of one subject.
    """
    written = Written()
    jobs = request.jobs
    with _processes(min(workers or len(usable_cpus()), len(jobs))) as ordered:
        one = functools.partial(write_subject, target=request.target, folder=scratch)
        for place, result in enumerate(ordered(one, jobs)):
            written.add(place, result)
            logging.info("%d of %d: %s", place + 1, len(jobs), jobs[place].name)
        if written.refused:
            return written
        plan = shards.assign_shards(written.volumes, request.target)
        one = functools.partial(shards.write_shard, data_dir=folder, scratch=scratch)
        for shard, size in zip(plan, ordered(one, plan), strict=True):
            written.record_bytes[shard.domain, shard.split] += size
    return written


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Callable[[Callable, Iterable], Iterator]]:
    """A `map` whose calls are done by processes, with results in order."""
    if workers <= 1:
        yield map
        return
    # Spawned, not forked: jax's threads may be running in this process.
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn")
    ) as pool:

        def ordered(function: Callable, items: Iterable) -> Iterator:
            waiting = collections.deque()
            for item in items:
                if len(waiting) == _AHEAD * workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()

        try:
            yield ordered
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
