"""The repository, and the PYTHONPATH of processes that tests start in it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join(
    [
        str(REPOSITORY),
        str(REPOSITORY / "tests" / "support"),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
)
