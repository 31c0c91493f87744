"""A preparation on a Dask cluster, one worker of which is killed in the middle.

python fatal_job.py SCHEDULER_ADDRESS DATA_DIR MARKER
"""

import dataclasses
import functools
import os
import signal
import sys
import time
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from tiny_scans import tiny_phantom

from input_pipeline.beam import pipeline
from input_pipeline.preparation import split
from input_pipeline.preparation.jobs import PhantomJob
from input_pipeline.preparation.prepare import prepare


@dataclasses.dataclass(frozen=True, kw_only=True)
class FatalJob(PhantomJob):
    """Kills its process when it and two others are stored, unless `marker` exists."""

    marker: Path

    def store(self, slice_format, folder):
        volumes = super().store(slice_format, folder)
        deadline = time.monotonic() + 30
        while not self.marker.exists():
            others = {path.parent for path in folder.parent.glob("*/*.npy")} - {folder}
            if len(others) >= 2 or time.monotonic() > deadline:
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.05)
        return volumes


def main(address: str, data_dir: str, marker: str) -> None:
    config = tiny_phantom()
    jobs = split.phantom_jobs(config.phantom, config.seed)
    jobs[1] = FatalJob(marker=Path(marker), **dataclasses.asdict(jobs[1]))
    options = PipelineOptions(
        [
            "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
            f"--dask_client_address={address}",
            "--dask_partition_size=1",
        ]
    )
    write = functools.partial(pipeline.write, options=options)
    prepare(config, None, data_dir, jobs=jobs, write=write)


if __name__ == "__main__":
    from fatal_job import main  # pickled by this name, not as part of __main__

    main(*sys.argv[1:])
