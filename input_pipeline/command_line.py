"""Parsing of command lines, with every mistake reported in one line."""

import re
import sys
import traceback
from collections.abc import Sequence

from absl import flags

USAGE_ERROR = 2  # exit status of a request that cannot be met
_NO_NUMBER = {
    "invalid literal for int() with base 10:": "expected a whole number, not",
    "could not convert string to float:": "expected a number, not",
}


def parse_flags(argv: Sequence[str], *, unknown_flag_hint: str = "") -> list[str]:
    """Parse the command line with absl; return the arguments that are not flags.

    The first of them is the program. On an error, print one line to standard error and
    exit with status 2.
    """
    try:
        return flags.FLAGS(list(argv))
    except flags.UnrecognizedFlagError as error:
        message = f"{error}{unknown_flag_hint}"
        if error.flagname.startswith("config."):  # defined by --config alone
            message = f"--{error.flagname}: expected --config beside it"
    except flags.Error as error:
        # absl includes the traceback of a configuration file that raises an error: its
        # last line is the message.
        message = str(error)
        if "Traceback" in message:
            message = f"--config: {message.strip().splitlines()[-1]}"
        for of_python, ours in _NO_NUMBER.items():
            message = message.replace(of_python, ours)
    except Exception as error:
        message = _describe_configuration_error(argv, error)
        if message is None:
            raise
    print(f"error: {message}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def _describe_configuration_error(argv: Sequence[str], error: Exception) -> str | None:
    """Describe an error of reading a configuration file, or of a field's override.

    None for an error of anything else.
    """
    if isinstance(error, SyntaxError):
        return f"--config: {error.filename}, line {error.lineno}: {error.msg}"
    values = (argument.split("=")[-1] for argument in argv[1:])
    paths = [p for p in (v.partition(":")[0] for v in values) if p.endswith(".py")]
    # ml_collections lists all other fields before it says which one is similar.
    words = str(error.args[0] if error.args else "")
    words = re.sub(r"Other fields present.*?(?=Did you mean|$)", "", words, flags=re.S)
    reason = f"{type(error).__name__}: {' '.join(words.split())}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in paths:
            return f"--config: {frame.filename}, line {frame.lineno}: {reason}"
    if "'get_config'" in str(error):
        return f"--config: {', '.join(paths)}: expected a function get_config"
    if isinstance(error, AttributeError | KeyError):  # of ml_collections
        return _describe_unknown_field(argv, str(error.args[0]))
    return None


def _describe_unknown_field(argv: Sequence[str], reason: str) -> str:
    """Describe an unknown field: the override as written, and a similar field."""
    name = re.search(r"\w+", reason)
    overrides = [
        argument.split("=")[0]
        for argument in argv
        if name and name[0] in argument.split("=")[0].split(".")
    ]
    similar = re.search(r'Did you mean "(\w+)"', reason)
    return (
        f"{overrides[0] if overrides else '--config'}: the configuration has no field "
        f"{name[0] if name else reason!r}"
        f"{f', did you mean {similar[1]}?' if similar else ''}"
    )
