"""Help of the command line, by mode."""

import textwrap
from collections.abc import Sequence
from importlib import metadata

from synthct_jax.runtime.mode_table import MODES

HELP: dict[str, dict[str, str]] = {}  # of each flag, by the modes that it is for
COMMON = ("debug", "tune")  # flags of all modes


def describe(flag: str, **texts: str) -> str:
    """Keep the help of a flag by mode; return it as one text.

    Args:
        texts: by modes, joined by two underscores; 'all' for all of them.
    """
    HELP[flag] = texts
    labelled = (f"{m.replace('__', ', ')}: {text}" for m, text in texts.items())
    return " ".join(texts.values() if "all" in texts else labelled)


def flags_of(mode: str) -> list[str]:
    """Return the flags that a mode reads, those that it needs first."""
    reads = [
        flag
        for flag, texts in HELP.items()
        if any(mode in modes.split("__") for modes in texts)
    ]
    return sorted(reads, key=lambda name: name not in MODES[mode].needs)


def join_flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def modes_that_read(names: Sequence[str], mode: str) -> str:
    """Return the modes that read all of these flags, to append to a sentence.

    Empty if there are none, or if `mode` is one of them.
    """
    modes = [other for other in MODES if set(names) <= set(flags_of(other))]
    if not modes or mode in modes:
        return ""
    purpose = f" ({MODES[modes[0]].summary})" if len(modes) == 1 else ""
    return f"; read by {', '.join(modes)}{purpose}"


def help_for(arguments: Sequence[str], *, overview: str) -> str | None:
    """Return the text for arguments that ask for help or the version, else None.

    Args:
        overview: text for no arguments, and for help without a mode.
    """
    if "--version" in arguments:
        names = ("synthct_jax", "jax", "jaxlib")
        return ", ".join(f"{name} {metadata.version(name)}" for name in names)
    if arguments[:1] not in ([], ["help"]) and not {"-h", "--help"} & set(arguments):
        return None
    named = [argument.removeprefix("--mode=") for argument in arguments]
    mode = next((name for name in named if name in MODES), None)
    if mode is None:
        modes = "\n".join(f"  {name:13}{mode.summary}" for name, mode in MODES.items())
        return f"{overview}\nModes:\n\n{modes}"
    lines = [f"synthct {mode}: {MODES[mode].summary}", "", f"  {MODES[mode].example}"]
    for name in (*flags_of(mode), *COMMON):
        texts = HELP[name].items()
        text = next(
            t for modes, t in texts if mode in modes.split("__") or modes == "all"
        )
        lines += ["", f"  --{name}", textwrap.indent(textwrap.fill(text, 74), " " * 6)]
    return "\n".join(lines)
