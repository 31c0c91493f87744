"""Tuning of a process for speed, in one place."""

from collections.abc import Sequence

from synthct_jax.runtime import cpu_memory, environment

_SWITCHES_OFF = ("--notune", "--tune=false", "--tune=f", "--tune=0")


def tune_process(arguments: Sequence[str]) -> None:
    """Tune this process: huge pages, flags of XLA, the cache of compiled programs.

    Call it before jax is imported. The process may start anew, by `exec`, once. What
    has to wait for a later moment asks `environment.is_tuning_allowed`:
    `cpu_memory.keep_freed_memory` after compiling, and `layers.cpu.onednn`.

    Args:
        arguments: the command line, of which absl parses the flags later. With
            `--notune` nothing of all this is done, nor in child processes.
    """
    if any("--" + a.lower().lstrip("-") in _SWITCHES_OFF for a in arguments):
        environment.forbid_tuning()
    if environment.is_tuning_allowed():
        cpu_memory.restart_with_huge_pages()
        environment.set_environment()
