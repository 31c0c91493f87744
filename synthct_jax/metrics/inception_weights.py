"""Weights of Inception v3 from a local file: nothing is downloaded, nothing executed.

Layouts, told apart by the classifier (fc.weight); names of tensors are torch's:

- TensorFlow's graph of 2015-12-05 ported, 1008 classes: the weights of FID.
  pt_inception-2015-12-05-6726825d.pth, of the release `fid_weights` of pytorch-fid
  (github.com/mseitzer/pytorch-fid), or weights-inception-2015-12-05-6726825d.pth, of
  the releases of torch-fidelity (github.com/toshas/torch-fidelity).
- torchvision's, 1000 classes: inception_v3_google-0cc3c7bd.pth, or the older
  inception_v3_google-1a9a5a14.pth, of download.pytorch.org/models.

Formats, told apart by content: .pth of torch (both its archive and its older stream),
.safetensors, .npz. A .pth is read as `torch_file` says.
To convert, without torch:

    python -m synthct_jax.metrics.inception_weights IN.pth OUT.safetensors
"""

import argparse
import hashlib
import json
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthct_jax.metrics import torch_file

FID, TORCHVISION = "fid", "torchvision"
_CLASSES = {1008: FID, 1000: TORCHVISION}
_PUBLISHED = re.compile(r"-(6726825d|0cc3c7bd|1a9a5a14)\.pth$")
# What is in published files beside the features' tensors.
_UNUSED = re.compile(r"fc\.(weight|bias)|AuxLogits\..+|.+\.bn\.num_batches_tracked")

_SAFETENSORS_TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I32": "<i4",
    "I64": "<i8",
}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a .pth, .safetensors or .npz file, by their names.

    Names of the published files end in digits of their SHA-256: a file of such a name
    is held to them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of these formats, damaged, or a pickle of anything else than a
            dictionary of plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file, expected weights of Inception v3")
    _check_digest(path)
    with path.open("rb") as file:
        head = file.read(9)
        file.seek(0)
        try:
            if head.startswith(b"PK\x03\x04"):
                names = zipfile.ZipFile(file).namelist()
                file.seek(0)
                if any(name.endswith("data.pkl") for name in names):
                    return torch_file.read_archive(file)
                with np.load(file, allow_pickle=False) as arrays:
                    return dict(arrays)
            if head.startswith(b"\x80"):
                return torch_file.read_stream(file)
            if head[8:] == b"{":
                return _read_safetensors(file)
            raise ValueError("it is none of .pth, .safetensors and .npz")
        # Damaged pickles and archives raise nearly anything.
        except Exception as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def layout(path: Path, tensors: Mapping[str, np.ndarray]) -> str:
    """FID or TORCHVISION, by the number of classes.

    Raises:
        ValueError: there is no classifier, or one of another number of classes.
    """
    expected = ", ".join(f"({n}, 2048) [{name}]" for n, name in _CLASSES.items())
    shape = tensors["fc.weight"].shape if "fc.weight" in tensors else None
    if shape is None or shape[1:] != (2048,) or shape[0] not in _CLASSES:
        found = "missing" if shape is None else shape
        raise ValueError(
            f"{path}: fc.weight, which tells the layout, is {found}, expected "
            f"{expected}"
        )
    return _CLASSES[shape[0]]


def check(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """That a file holds the tensors of a network.

    Args:
        path: of the file, for messages.
        tensors: what is in it.
        expected: shapes of what has to be.

    Raises:
        ValueError: a tensor is missing, of another shape, not of finite floating-point
            numbers, a negative variance, or not known.
    """
    for name, shape in expected.items():
        if name not in tensors:
            raise ValueError(f"{path}: {name} is missing, expected {shape}")
        tensor = tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{path}: {name} is {tensor.shape}, expected {shape}")
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise ValueError(
                f"{path}: {name} ({tensor.dtype}) has other values than finite "
                "floating-point numbers"
            )
        if name.endswith(".running_var") and tensor.min() < 0:
            raise ValueError(
                f"{path}: {name} has {tensor.min()}, expected variances of 0 or more"
            )
    for name, tensor in tensors.items():
        if name not in expected and not _UNUSED.fullmatch(name):
            raise ValueError(
                f"{path}: {name} {tensor.shape} is not of an Inception v3, expected "
                f"names such as {min(expected)}"
            )


def sha256(path: Path) -> str:
    """Of the file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(source: Path, target: Path) -> None:
    """Writes the tensors of a file to another, .safetensors or .npz by its suffix.

    The same tensors give the same bytes. The file appears whole or not at all.

    Raises:
        FileNotFoundError, ValueError: as of `read_tensors`, or another suffix.
    """
    target = Path(target)
    if target.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"{target}: expected a name in .safetensors or .npz")
    tensors = read_tensors(source)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".weights") as folder:
        new = Path(folder) / target.name
        with new.open("wb") as file:
            if target.suffix == ".npz":
                np.savez(file, **tensors)
            else:
                _write_safetensors(file, tensors)
        os.replace(new, target)


def _check_digest(path: Path) -> None:
    named = _PUBLISHED.search(path.name)
    if named and not (found := sha256(path)).startswith(named[1]):
        raise ValueError(
            f"{path}: SHA-256 is {found}, expected {named[1]}... as in its name: the "
            "download is damaged, or the file is another"
        )


# --- safetensors ----------------------------------------------------------------------


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """8 bytes of length, a JSON header of that length, then the values."""
    length = int.from_bytes(file.read(8), "little")
    content = memoryview(file.read())
    if length > len(content):
        raise ValueError(
            f"its header has {length} bytes, but {len(content)} are left: truncated"
        )
    header, values = json.loads(bytes(content[:length])), content[length:]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        (start, stop), shape = entry["data_offsets"], entry["shape"]
        dtype = np.dtype(_known(entry["dtype"], _SAFETENSORS_TYPES, name))
        if not 0 <= start <= stop <= len(values):
            raise ValueError(
                f"{name} is at bytes {start} to {stop} of {len(values)}: truncated"
            )
        if (
            min(shape, default=0) < 0
            or math.prod(shape) * dtype.itemsize != stop - start
        ):
            raise ValueError(f"{name} {shape} of {dtype} has {stop - start} bytes")
        tensors[name] = np.frombuffer(values[start:stop], dtype).reshape(shape)
    return tensors


def _write_safetensors(file: BinaryIO, tensors: Mapping[str, np.ndarray]) -> None:
    names = {dtype: name for name, dtype in _SAFETENSORS_TYPES.items()}
    header, start = {}, 0
    for name, tensor in sorted(tensors.items()):
        stop = start + tensor.nbytes
        header[name] = {
            "dtype": _known(tensor.dtype.str, names, name),
            "shape": tensor.shape,
            "data_offsets": (start, stop),
        }
        start = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # values are aligned
    file.write(len(text).to_bytes(8, "little") + text)
    for _, tensor in sorted(tensors.items()):
        file.write(np.ascontiguousarray(tensor).tobytes())


def _known(kind: str, types: Mapping[str, str], name: str) -> str:
    if kind not in types:
        raise ValueError(f"{name} is of {kind}, expected one of {', '.join(types)}")
    return types[kind]


def main(arguments: list[str] | None = None) -> None:
    """Converts a file: see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m synthct_jax.metrics.inception_weights",
        description="Converts weights of Inception v3, without torch.",
    )
    parser.add_argument("source", type=Path, help=".pth, .safetensors or .npz")
    parser.add_argument("target", type=Path, help=".safetensors or .npz")
    asked = parser.parse_args(arguments)
    try:
        convert(asked.source, asked.target)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{asked.target}: SHA-256 {sha256(asked.target)}")


if __name__ == "__main__":
    main()
