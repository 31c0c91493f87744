"""Several processes that train one run: joining, waiting for each other."""

import os
import sys


def init_distributed() -> None:
    """Join the other processes of the run, if there are any.

    JAX detects Slurm, Open MPI and TPU pods. Elsewhere, or to override the detection,
    set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; each process then
    has all devices of its machine.

    If the others cannot be joined, JAX's RuntimeError is not caught: every process
    would train on its own, into the same folder.
    """
    import jax

    settings = _distributed_settings()
    # SIGTERM keeps its meaning until `Preemption.listen`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **settings,
            # The detection would still assign one device to each task of Slurm.
            cluster_detection_method="deactivate" if settings else None,
        )
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise


def _distributed_settings() -> dict[str, int]:
    """Return those of the three variables that JAX does not read itself, checked."""
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    values = {name: os.environ.get(name, "") for name in names}
    missing = [name for name, value in values.items() if not value]
    if len(missing) == len(names):
        return {}
    if missing:
        present = " and ".join(name for name in names if name not in missing)
        raise ValueError(
            f"{present} without {' and '.join(missing)}: set all three, or none where "
            "the cluster is detected"
        )
    for name in names[1:]:
        if not values[name].isdecimal():
            raise ValueError(f"{name}={values[name]!r}, expected a number")
    return {
        "num_processes": int(values["JAX_NUM_PROCESSES"]),
        "process_id": int(values["JAX_PROCESS_ID"]),
    }


def is_distributed() -> bool:
    """Return whether this is one of several processes; does not import jax."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def barrier(name: str) -> None:
    """Wait until every process of the run has reached this call, an hour at most.

    The coordinator counts the processes. A collective would not do: on CPUs the first
    one fails if a process is more than 30 s late.
    """
    import jax
    from orbax.checkpoint import multihost

    if jax.process_count() > 1:
        everyone = set(range(jax.process_count()))
        multihost.sync_global_processes(name, timeout=3600, processes=everyone)
