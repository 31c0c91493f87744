"""Synthetic CT from MR: one command for all that the program does.

    synthct translate --input=MR_FOLDER --output=OUT
    synthct prepare --config=folder:in_out --raw_dir=RAW --data_dir=DATA
    synthct train --config=folder:in_out --data_dir=DATA --workdir=RUN
    synthct evaluate --workdir=RUN
    synthct MODE -h

`python -m synthct_jax.main --mode=MODE` is the same as `synthct MODE`, and trains if no
mode is named.

Exit status: 0 done; 75 stopped by a signal after saving, run the same command to
resume; 130, 143 ended by Ctrl-C or SIGTERM, nothing is left half-written; 2 the request
cannot be met, standard error says why; 3 a training was stopped by train.guard; 69 the
CT series is written, but not all of it was accepted where --send sends it; 1 any other
failure.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path

from synthct_jax.runtime import early_signals

if __name__ == "__main__" or Path(sys.argv[0]).name == "synthct":
    early_signals.catch()  # the imports below take a while

from absl import app

from input_pipeline.command_line import USAGE_ERROR, parse_flags
from synthct_jax import flags, modes
from synthct_jax.runtime import environment, flag_help, messages, processes, signals
from synthct_jax.runtime.arguments import arguments_as_flags


def main(argv: list[str]) -> int:
    """Run the mode; return the exit status."""
    if not flags.DEBUG.value:
        messages.hide_library_messages()
    try:
        flags.check(argv)
        if flags.DEVICE.value:
            environment.choose_device(flags.DEVICE.value)
        status = modes.run_mode()
    except Exception as error:
        signals.reraise()
        expected = isinstance(error, ValueError | OSError | FloatingPointError)
        if flags.DEBUG.value or not expected:
            if processes.is_distributed():
                traceback.print_exc()
                signals.abort(1)
            raise
        print(f"error: {messages.describe(error)}", file=sys.stderr)
        status = 1 if isinstance(error, FloatingPointError) else USAGE_ERROR
    if status not in (0, signals.RESUMABLE) and processes.is_distributed():
        signals.abort(status)
    return status


def run() -> None:
    """Run the program with the arguments of this process, and exit."""
    arguments = sys.argv[1:]
    if text := flag_help.help_for(arguments, overview=__doc__):
        with contextlib.suppress(BrokenPipeError):  # `synthct -h | head`
            print(text, flush=True)
            sys.exit(0)
        os._exit(0)  # Python would try to flush again
    environment.tune_process(arguments)
    signals.catch()
    try:
        # ml_collections reads overrides of the configuration from sys.argv.
        try:
            sys.argv[1:] = arguments_as_flags(arguments, modes=flags.MODES)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(USAGE_ERROR)
        app.run(main, flags_parser=parse_flags)
    except signals.Stopped as stopped:  # also while a configuration is read
        signals.abort(stopped.code, f"Stopped by {stopped.name}")


if __name__ == "__main__":
    run()
