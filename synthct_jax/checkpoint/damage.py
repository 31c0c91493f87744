"""Errors of TensorStore, which reads the arrays of a checkpoint, in plain words."""

import re

from input_pipeline.damage import describe_error

_FILE = re.compile(r'local file "([^"]+[^"/])"')
_ARRAY = re.compile(r'"([^"]+)/[^"/]+" in OCDBT database')


def describe_damage(error: Exception) -> str:
    """Return which file or array is damaged, or else what caused the error."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = str(error)
    if files := _FILE.findall(text):
        return f"{files[-1]} is damaged or missing"
    if array := _ARRAY.search(text):
        return f"a file of its array {array[1]} is damaged or missing"
    return describe_error(error)
