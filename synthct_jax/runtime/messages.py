"""Messages on standard error, besides the progress of a training."""

import os
from logging import WARNING, LogRecord
from pathlib import Path

from absl import flags, logging

from synthct_jax.runtime.flag_help import HELP

_ROOT = Path(__file__).parents[2]
_OWN_CODE = (_ROOT / "synthct_jax", _ROOT / "input_pipeline")


def hide_library_messages() -> None:
    """Show warnings and this project's messages alone, without time and place."""
    handler = logging.get_absl_handler()
    handler.setFormatter(None)
    handler.addFilter(_is_for_the_user)


def describe(error: Exception) -> str:
    """Return the text of an error; of the system's, the flag of the path, and why."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if not isinstance(error.filename, str):  # a descriptor, bytes, or none
        return str(error)
    path = Path(os.path.abspath(error.filename))
    values = {name: flags.FLAGS[name].value for name in HELP}
    named = [
        (value, f"--{name}: ")
        for name, value in values.items()
        if value and isinstance(value, str) and path.is_relative_to(_absolute(value))
    ]
    _, flag = max(named, default=("", ""), key=lambda pair: len(_absolute(pair[0])))
    return f"{flag}{error.filename}: {error.strerror}"


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _is_for_the_user(record: LogRecord) -> bool:
    own = any(folder in Path(record.pathname).parents for folder in _OWN_CODE)
    return own or record.levelno >= WARNING
