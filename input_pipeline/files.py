"""Output files and folders that appear whole or not at all.

All are written beside their place under a hidden name and renamed in the end, so a
reader never meets half of one, and a failure leaves what was there before. Their
permissions are those of the process' umask.
"""

import contextlib
import csv
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Remove this process' unfinished outputs and scratch folders before `os._exit`."""
    for path in tuple(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed however the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="synthct_jax_"))
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)


@contextlib.contextmanager
def atomic_file(path: str | Path, *, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to; the file takes the place of `path` in the end.

    Args:
        path: of the file; its folder exists. An older file is replaced.
        scratch: where the unfinished file lies, on the file system of `path`; beside
            it by default. The suffix is that of `path`.
    """
    path = Path(path)
    new = (scratch or path.parent) / f".{uuid.uuid4().hex}.{path.name}"
    _unfinished.add(new)
    try:
        with _errors_that_name(path, unfinished=new):
            yield new
            os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
        _unfinished.discard(new)


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes as by `atomic_file`."""
    with atomic_file(path) as new:
        new.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_csv(
    path: str | Path, titles: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write a table as by `atomic_file`; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)
    write_file(path, text.getvalue())


def is_vacant(folder: Path) -> bool:
    """Return whether the path does not exist, or is an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def check_vacant(folder: Path) -> None:
    """Raise FileExistsError if the path exists and is not an empty folder."""
    if is_vacant(folder):
        return
    content = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    holds = f"holds {', '.join(content[:5])}" if content else "is a file"
    raise FileExistsError(
        f"{folder} {holds}, expected an empty folder or none: nothing that exists is "
        "overwritten, name another"
    )


@contextlib.contextmanager
def new_folder(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` in the end, below new parents.

    Raises:
        FileExistsError: `target` is a file or holds something, at the start or in the
            end.
    """
    target = _location(target)
    check_vacant(target)
    with _folder_beside(target) as folder:
        yield folder
        try:
            folder.rename(target)
        except OSError:
            check_vacant(target)
            raise


def check_replaceable(folder: Path, own: Collection[str], *, writer: str) -> None:
    """Raise ValueError for a folder that holds more than files to be replaced.

    Args:
        folder: need not exist.
        own: names of the files that may be replaced.
        writer: name of what writes them, for messages: 'evaluation'.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder for the {writer}")
    others = {path.name for path in folder.iterdir()} - set(own)
    if others:
        raise ValueError(
            f"{folder} holds {min(others)!r}, which no {writer} has written: it is "
            "not replaced, name another folder"
        )


@contextlib.contextmanager
def replace_folder(
    target: str | Path, own: Collection[str], *, writer: str
) -> Iterator[Path]:
    """Yield an empty folder that replaces `target`, all of it, in the end.

    Arguments and errors are those of `check_replaceable`.
    """
    target = _location(target)
    check_replaceable(target, own, writer=writer)
    with _folder_beside(target) as folder, _folder_beside(target) as old:
        yield folder
        check_replaceable(target, own, writer=writer)
        replaced = target.exists()
        try:
            if replaced:
                target.rename(old)
            folder.rename(target)
        except BaseException:  # Ctrl-C and SIGTERM as well
            if replaced and not target.exists():
                old.rename(target)
            raise


def _location(target: str | Path) -> Path:
    target = Path(os.path.abspath(target))
    # A folder cannot be renamed to a link; parents stay as the user named them.
    return target.resolve() if target.is_symlink() else target


@contextlib.contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    # A level deeper than `target`, so that no pattern for finished folders matches it.
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    folder = partial / "new"
    _unfinished.add(partial)
    try:
        with _errors_that_name(target, unfinished=partial):
            _make_folder(folder)
            yield folder
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _unfinished.discard(partial)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except FileNotFoundError as error:  # of a system such as /proc
        error.strerror = "no folder can be made there"
        raise


@contextlib.contextmanager
def _errors_that_name(output: Path, *, unfinished: Path) -> Iterator[None]:
    """Name the output in errors of the system, such as of a full disk.

    They name no file, or the unfinished one that nobody knows.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        if error.errno and (name is None or str(name).startswith(str(unfinished))):
            error.filename = str(output)
        raise
