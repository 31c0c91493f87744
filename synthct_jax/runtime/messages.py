"""Messages on standard error, besides the progress of a training."""

from logging import WARNING, LogRecord
from pathlib import Path

from absl import logging

_ROOT = Path(__file__).parents[2]
_OWN_CODE = (_ROOT / "synthct_jax", _ROOT / "input_pipeline")


def hide_library_messages() -> None:
    """Show warnings and this project's messages alone, without time and place."""
    handler = logging.get_absl_handler()
    handler.setFormatter(None)
    handler.addFilter(_is_for_the_user)


def _is_for_the_user(record: LogRecord) -> bool:
    own = any(folder in Path(record.pathname).parents for folder in _OWN_CODE)
    return own or record.levelno >= WARNING
