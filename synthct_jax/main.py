"""Entry point: the environment, the mode, the exit status. See flags.py, modes.py.

    python -m synthct_jax.main --mode=prepare --config=FILE --raw_dir=RAW --data_dir=NEW
    python -m synthct_jax.main --config=FILE --data_dir=DATA --workdir=RUN
    python -m synthct_jax.main --mode=evaluate --workdir=RUN [--step=N | --watch]
    python -m synthct_jax.main --mode=compare --runs=A,B
    python -m synthct_jax.main --mode=export --workdir=RUN --output=FILE.safetensors
    python -m synthct_jax.main --mode=translate --input=IN --output=OUT [--model=FILE]
    python -m synthct_jax.main --mode=translate --workdir=RUN --input=IN --output=OUT
    python -m synthct_jax.main --mode=organs --input=OUT --masks=LABELS --organs=1:liver
    python -m synthct_jax.main --mode=sweep --config=FILE --variants=A,B --workdir=SWEEP
    python -m synthct_jax.main --mode=plan --config=FILE --topology=v5e:4x4
    python -m synthct_jax.main --mode=benchmark --config=FILE

Exit status: 0 done; 75 stopped by a signal after saving, run the same command to
resume; 130, 143 ended by Ctrl-C or SIGTERM, nothing is left half-written; 2 the request
cannot be met, standard error says why; 1 any other failure.
"""

import sys
import traceback

from absl import app

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from synthct_jax import flags, modes
from synthct_jax.runtime import environment, messages, processes, signals


def main(argv: list[str]) -> int:
    """Run the mode; return the exit status."""
    if not flags.DEBUG.value:
        messages.hide_library_messages()
    try:
        flags.check(argv)
        status = modes.run_mode()
    except signals.Stopped as stopped:
        signals.abort(stopped.code, f"Stopped by {stopped.name}")
    except Exception as error:
        expected = isinstance(error, ValueError | OSError | FloatingPointError)
        if flags.DEBUG.value or not expected:
            if processes.is_distributed():
                traceback.print_exc()
                signals.abort(1)
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 1 if isinstance(error, FloatingPointError) else USAGE_ERROR
    if status not in (0, signals.RESUMABLE) and processes.is_distributed():
        signals.abort(status)
    return status


def run() -> None:
    """Run the program with the arguments of this process, and exit."""
    environment.tune_process(sys.argv[1:])
    signals.catch()
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    run()
