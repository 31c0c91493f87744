"""Flags of XLA for tests, which compile much and compute little."""

FAST_COMPILATION = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
