"""Files of one JSON object a line, to which a run appends while it may be killed."""

import json
from pathlib import Path
from typing import Any


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
