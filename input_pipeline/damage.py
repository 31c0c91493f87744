"""Errors of reading a file: whose fault they are, and in one line."""

import errno

_MACHINE_ERRNOS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOENT,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
}


def is_machine_fault(error: Exception) -> bool:
    """Tell a disk, a permission or a missing file from a damaged content."""
    return isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS


def describe_error(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} {lines[0][:300] if lines else ''}".strip()
