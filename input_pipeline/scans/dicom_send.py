"""Sender of a written CT series, and its regions, to an archive or a planning system.

By C-STORE (PS3.4 B, pynetdicom) or STOW-RS (PS3.18 10.5, requests). The files are sent
as they are. An instance that was accepted once may be sent again: it has the same UID.
"""

import importlib.util
import json
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pydicom
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
)

from input_pipeline.scans.quiet import quiet
from input_pipeline.scans.structure_writer import STRUCTURES

CALLING_AE_TITLE = "SYNTHCT"
UNSENT = 69  # exit status: not all instances were accepted (EX_UNAVAILABLE)
EXPECTED = "expected dicom://AE_TITLE@HOST:PORT, dicomweb://HOST:PORT/PATH or http(s)"
_SECONDS = 30.0
_PER_REQUEST = 16  # instances; so few are in memory at once
_MOST_NAMED = 3  # instances in a sentence
# Attributes of the answer to STOW-RS (PS3.18 I.2).
_ACCEPTED, _FAILED = "00081199", "00081198"
_INSTANCE, _REASON = "00081155", "00081197"


def check_address(address: str) -> urllib.parse.SplitResult:
    """Return the address in parts, with the scheme dicom, http or https.

    Raises:
        ValueError: it is none that can be sent to, or the package for it is missing.
    """
    if address.startswith("dicomweb://"):
        address = address.replace("dicomweb", "http", 1)
    problem = ""
    try:
        url = urllib.parse.urlsplit(address)
        port = url.port
    except ValueError as error:
        raise ValueError(f"--send={address}: {error}, {EXPECTED}") from error
    if url.scheme not in ("dicom", "http", "https") or not url.hostname:
        problem = EXPECTED
    elif url.scheme == "dicom" and not (port and 0 < len(url.username or "") <= 16):
        problem = "expected dicom://AE_TITLE@HOST:PORT, the title of 1 to 16 letters"
    elif url.scheme != "dicom" and url.username:
        problem = "a password does not belong in a command, expected it in ~/.netrc"
    if problem:
        raise ValueError(f"--send={address}: {problem}")
    package = "pynetdicom" if url.scheme == "dicom" else "requests"
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"--send needs {package}, which is not installed: pip install {package}"
        )
    return url


def find_series(folder: Path) -> list[Path]:
    """Return the files of the CT series in an output of translate, or a folder of one.

    Regions of the output come last: an archive has the images then.

    Raises:
        ValueError: there is none.
    """
    series = folder / "dicom" if (folder / "dicom").is_dir() else folder
    paths = sorted(series.glob("*.dcm"))
    if not paths:
        raise ValueError(
            f"{folder}: no CT series to send, expected an output of translate, or a "
            "folder of .dcm files"
        )
    structures = folder / STRUCTURES
    return paths + [structures] * (series != folder and structures.exists())


def send(paths: list[Path], address: str) -> dict[str, str]:
    """Send DICOM files; return the reason for each that was not accepted, by name.

    Args:
        paths: CT images, and regions on them.
        address: see `check_address`.

    Raises:
        ValueError: as for `check_address`.
    """
    url = check_address(address)
    with quiet("pynetdicom"):
        answers = _c_store(paths, url) if url.scheme == "dicom" else _stow(paths, url)
        return {path.name: reason for path, reason in answers if reason}


def describe_refused(refused: Mapping[str, str]) -> list[str]:
    """Return a sentence for each reason, with the instances that have it.

    Args:
        refused: what `send` returns.
    """
    names: dict[str, list[str]] = {}
    for name, reason in refused.items():
        names.setdefault(reason, []).append(name)
    return [
        f"{_count(of_reason)} not accepted: {reason} ({_shorten(of_reason)})"
        for reason, of_reason in names.items()
    ]


def _count(names: Sequence[str]) -> str:
    return "1 instance was" if len(names) == 1 else f"{len(names)} instances were"


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _c_store(
    paths: list[Path], url: urllib.parse.SplitResult
) -> Iterator[tuple[Path, str]]:
    """Yield each path with '' if it was accepted, and otherwise the reason."""
    from pynetdicom import AE

    entity = AE(CALLING_AE_TITLE)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    entity.connection_timeout = _SECONDS
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    entity.add_requested_context(CTImageStorage, syntaxes)
    # In the explicit syntax ContourData ends at 64 kB.
    entity.add_requested_context(RTStructureSetStorage, ImplicitVRLittleEndian)
    title = urllib.parse.unquote(url.username)
    association = entity.associate(url.hostname, url.port, ae_title=title)
    lost = "the connection was lost"
    if association.is_rejected:
        lost = f"{title} rejected the association with {CALLING_AE_TITLE}"
    elif not association.is_established:
        lost = f"no connection to {url.hostname}:{url.port} as {title}"
    try:
        for path in paths:
            if not association.is_established:
                yield path, lost
                continue
            try:
                status = association.send_c_store(pydicom.dcmread(path)).get("Status")
            except (RuntimeError, ValueError) as error:  # as no accepted context
                yield path, str(error)
                continue
            # Warnings are of elements that the archive changed (PS3.4 B.2.3).
            accepted = status is not None and (status == 0 or status >> 12 == 0xB)
            refused = lost if status is None else f"refused with status 0x{status:04X}"
            yield path, "" if accepted else refused
    finally:
        if association.is_established:
            association.release()


def _stow(
    paths: list[Path], url: urllib.parse.SplitResult
) -> Iterator[tuple[Path, str]]:
    """Yield each path with '' if it was accepted, and otherwise the reason."""
    import requests

    target = f"{url.geturl().rstrip('/')}/studies"
    with requests.Session() as session:
        for start in range(0, len(paths), _PER_REQUEST):
            batch = paths[start : start + _PER_REQUEST]
            boundary = uuid.uuid4().hex
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
            body = _multipart(batch, boundary)
            try:
                answer = session.post(
                    target, data=body, headers=headers, timeout=_SECONDS
                )
                reasons = _read_answer(answer.content)
                other = f"refused with HTTP {answer.status_code} {answer.reason}"
            except requests.RequestException as error:
                reasons, other = {}, f"no answer from {target}: {error}"
            for path in batch:
                uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
                yield path, reasons.get(uid, other)


def _multipart(paths: list[Path], boundary: str) -> bytes:
    part = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = [part + path.read_bytes() + b"\r\n" for path in paths]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _read_answer(content: bytes) -> dict[str, str]:
    """Return '' for each accepted instance, and the reason for each failed one."""
    try:
        answer = json.loads(content)
        return {
            item[_INSTANCE]["Value"][0]: reason
            and f"refused with reason {item.get(_REASON, {}).get('Value', [None])[0]}"
            for sequence, reason in ((_ACCEPTED, ""), (_FAILED, "refused"))
            for item in answer.get(sequence, {}).get("Value", [])
        }
    except (ValueError, AttributeError, LookupError, TypeError):
        return {}  # not the answer of an archive
