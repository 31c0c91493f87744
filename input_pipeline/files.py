"""Output folders and files that appear whole or not at all."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path


def check_replaceable(folder: Path, own: Collection[str], *, what: str) -> None:
    """Whether a folder holds nothing but what it would be replaced by.

    Args:
        own: names of the files that are ours.
        what: writes them, for messages: 'evaluation'.

    Raises:
        ValueError: it is a file, or holds something else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder for the {what}")
    others = {path.name for path in folder.iterdir()} - set(own)
    if others:
        raise ValueError(
            f"{folder} holds {min(others)!r}, which no {what} has written: it is "
            "not replaced, name another folder"
        )


@contextlib.contextmanager
def replacing(target: Path, own: Collection[str], *, what: str) -> Iterator[Path]:
    """A new folder beside `target` that takes its place in the end.

    Where anything fails, `target` stays as it was. Arguments and errors as of
    `check_replaceable`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name}."
    ) as parent:
        folder = Path(parent) / "new"
        folder.mkdir()
        yield folder
        check_replaceable(target, own, what=what)
        old = Path(parent) / "old"
        if target.exists():
            target.rename(old)
        try:
            folder.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def write_file(path: Path, content: str | bytes) -> None:
    """The file appears whole or not at all, and replaces another."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if isinstance(content, bytes):
            new.write_bytes(content)
        else:
            new.write_text(content, encoding="utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
