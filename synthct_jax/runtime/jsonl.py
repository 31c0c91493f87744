"""JSON without NaN, and files of one object a line, which a run may leave torn."""

import json
import math
from pathlib import Path
from typing import Any


def null_not_finite(value: Any) -> Any:
    """Return content of JSON with null in place of NaN and infinity, which it lacks.

    Tuples become lists.
    """
    if isinstance(value, dict):
        return {name: null_not_finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [null_not_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl file in order, [] if there is no file.

    A torn last line, which a killed run leaves, is left out; any other is an error.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(lines := path.read_text().splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}: line {number} is not JSON, {line[:40]!r}: the file is "
                    "damaged, remove that line"
                ) from error
    return rows
