"""Many plans as a table; one of them is --mode=plan.

    python -m synthct_jax.performance.plan --config=configs/chaos.py \\
        --rows=docs/plan_rows.txt --results=RESULTS.jsonl > TABLE.md

What has been compiled is kept in RESULTS.jsonl, and is not compiled again.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from synthct_jax.runtime import environment

_CONFIG = config_flags.DEFINE_config_file("config", help_string="What all rows share.")
_ROWS = flags.DEFINE_string(
    "rows", None, "File with the rows, see table.py.", required=True
)
_RESULTS = flags.DEFINE_string(
    "results", None, "File that keeps what was compiled.", required=True
)


def main(argv: list[str]) -> None:
    del argv
    from synthct_jax.performance.plan import table

    table.write_tables(_CONFIG.value, Path(_ROWS.value), Path(_RESULTS.value))


if __name__ == "__main__":
    environment.prepare_environment()  # before anything imports jax
    app.run(main)
