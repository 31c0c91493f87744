"""--mode=prepare by Apache Beam, for more scans than one machine should read.

    python -m input_pipeline.beam --config=configs/folder.py --raw_dir=RAW \\
        --data_dir=DATA -- --runner=apache_beam.runners.dask.dask_runner.DaskRunner \\
        --dask_client_address=tcp://HOST:8786 --dask_partition_size=1

Options after -- are Beam's own. Dask spreads subjects over its workers only with a
partition size of 1. RAW and DATA must be on a file system that this machine and all
workers have mounted at the same place. The workers need this package, in the versions
of this environment. Exit status: 0 done; 2 the request cannot be met, standard error
says why; 1 any other failure.
"""

import functools
import sys
from pathlib import Path

from absl import app, flags
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from ml_collections import config_flags

from input_pipeline import command_line
from input_pipeline.beam import pipeline
from input_pipeline.preparation import prepare

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="FILE or FILE:VARIANT, as of --mode=prepare."
)
_RAW_DIR = flags.DEFINE_string(
    "raw_dir", None, "The scans, in the layout of the configuration; none for phantoms."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "The folder to make for the prepared data."
)


def main(argv: list[str]) -> int:
    """Prepare a data set; return the exit status."""
    try:
        if argv[1:] and "--" not in sys.argv:
            raise ValueError(f"{argv[1]!r} is not a flag, expected --NAME=VALUE")
        for flag in (_CONFIG, _DATA_DIR):
            if flag.value is None:
                raise ValueError(f"--{flag.name} is needed")
        options = PipelineOptions(argv[1:])
        # Beam overlooks options that it does not know, and runs here without a runner.
        if options.view_as(StandardOptions).runner is None:
            raise ValueError(
                "Beam's --runner is needed: ... -- --runner=DirectRunner, for one"
            )
        prepare.prepare(
            _CONFIG.value,
            None if _RAW_DIR.value is None else Path(_RAW_DIR.value).expanduser(),
            Path(_DATA_DIR.value).expanduser(),
            write=functools.partial(pipeline.write, options=options),
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return command_line.USAGE_ERROR
    return 0


def parse_flags(argv: list[str]) -> list[str]:
    """Parse the flags before --; what follows is Beam's."""
    hint = "; options of Beam follow --"
    return command_line.parse_flags(argv, unknown_flag_hint=hint)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
