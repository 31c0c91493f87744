"""Words on the command line that stand for flags.

    synthct train --config=phantom:in --workdir=RUN

is --mode=train --config=.../synthct_jax/configs/phantom.py:in --workdir=RUN.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
_CONFIG = ("--config", "-config")


def arguments_as_flags(
    arguments: Sequence[str], *, modes: Collection[str]
) -> list[str]:
    """Return the flags that arguments stand for, without the program's name.

    A mode as the first word becomes --mode; the name of a configuration that ships
    becomes its path.
    """
    expanded, previous = [], ""
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if place == 0 and argument in modes:
            argument = f"--mode={argument}"
        elif flag in _CONFIG and equals:
            argument = f"{flag}={path_of_config(value)}"
        elif previous in _CONFIG:
            argument = path_of_config(argument)
        expanded.append(argument)
        previous = argument
    return expanded


def path_of_config(config: str) -> str:
    """Return the file of a configuration, and its variant: FILE or FILE:VARIANT.

    Args:
        config: NAME of one that ships, or the path of a file; NAME:VARIANT.

    Raises:
        ValueError: there is neither such a name nor such a file.
    """
    name, colon, variant = config.partition(":")
    if name in config_names():
        return f"{CONFIGS / name}.py{colon}{variant}"
    if Path(name).is_file():
        return config
    raise ValueError(
        f"--config={config}: there is no file {name}; configurations that ship: "
        f"{', '.join(config_names())}"
    )


def name_of_config(path: str) -> str:
    """Return the name of a configuration that ships, or else its path as it is.

    A name means the same on every machine, wherever the package is installed.
    """
    file = Path(path)
    shipped = file.resolve().parent == CONFIGS.resolve() and file.suffix == ".py"
    return file.stem if shipped and file.stem in config_names() else path


def config_names() -> list[str]:
    """Return the names of the configurations that ship."""
    names = (path.stem for path in CONFIGS.glob("*.py"))
    return sorted(name for name in names if name not in ("__init__", "default"))
