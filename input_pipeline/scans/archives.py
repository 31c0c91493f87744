"""Scans in zip archives, as hospitals and data sets send them."""

import contextlib
import os
import zipfile
from collections.abc import Iterator

from input_pipeline.files import scratch_folder
from input_pipeline.volume import UnusableScan, unusable_on_error

SUFFIX = ".zip"


@contextlib.contextmanager
def unpacked(path: str | os.PathLike) -> Iterator[str]:
    """Yield a folder with the content of an archive; it is removed in the end.

    Errors of reading the folder name the archive in its place.

    Raises:
        UnusableScan: it is no zip archive, is damaged, or needs a password.
    """
    with scratch_folder() as folder:
        with (
            unusable_on_error(os.fspath(path), "not a usable zip archive"),
            zipfile.ZipFile(path) as archive,
        ):
            archive.extractall(folder)  # never to a place outside of it
        try:
            yield str(folder)
        except (FileNotFoundError, UnusableScan) as error:
            message = str(error).replace(str(folder), os.fspath(path))
            raise type(error)(message) from error
