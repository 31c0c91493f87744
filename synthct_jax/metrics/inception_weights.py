"""Weights of Inception v3 from a local file: nothing is downloaded, nothing executed.

Two layouts are known, told apart by the classifier (fc.weight). Tensors have the names
that they have in torch:

- 1008 classes: TensorFlow's graph of 2015-12-05 ported, the weights of FID.
  pt_inception-2015-12-05-6726825d.pth, of the release `fid_weights` of pytorch-fid
  (github.com/mseitzer/pytorch-fid), or weights-inception-2015-12-05-6726825d.pth, of
  the releases of torch-fidelity (github.com/toshas/torch-fidelity).
- 1000 classes: torchvision's. inception_v3_google-0cc3c7bd.pth, or the older
  inception_v3_google-1a9a5a14.pth, of download.pytorch.org/models.

The name of a published file ends in the first digits of its SHA-256 (`sha256sum FILE`).

Two formats are read, told apart by content: .safetensors and .npz. A .pth is a pickle,
which can run any program, so it has to be converted once, in an environment of its own
with torch and numpy:

    import numpy, torch

    weights = torch.load("NAME.pth", map_location="cpu", weights_only=True)
    arrays = {name: tensor.numpy(force=True) for name, tensor in weights.items()}
    numpy.savez("NAME.npz", **arrays)
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

FID, TORCHVISION = "fid", "torchvision"
_CLASSES = {1008: FID, 1000: TORCHVISION}
# Tensors of the published files that the features do not need.
_UNUSED = re.compile(r"fc\.(weight|bias)|AuxLogits\..+|.+\.bn\.num_batches_tracked")

_SAFETENSORS_TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I32": "<i4",
    "I64": "<i8",
}
_TO_CONVERT = (
    "it is a file of torch.save, expected .safetensors or .npz; convert it once, where "
    'torch is installed: weights = torch.load(FILE, map_location="cpu", '
    "weights_only=True); numpy.savez(NEW, **{name: tensor.numpy(force=True) for name, "
    "tensor in weights.items()})"
)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return all tensors of a .safetensors or .npz file, by their names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another format or damaged; for a .pth the message
            says how to convert it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file, expected weights of Inception v3")
    with path.open("rb") as file:
        head = file.read(9)
        file.seek(0)
        try:
            if head.startswith(b"PK\x03\x04"):
                with np.load(file, allow_pickle=False) as arrays:
                    if any(name.endswith("data.pkl") for name in arrays.files):
                        raise ValueError(_TO_CONVERT)
                    return dict(arrays)
            if head[8:] == b"{":
                return _read_safetensors(file)
            if head.startswith(b"\x80"):  # a pickle: torch.save before version 1.6
                raise ValueError(_TO_CONVERT)
            raise ValueError("it is neither .safetensors nor .npz")
        # Damaged archives raise nearly anything.
        except Exception as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def layout(path: Path, tensors: Mapping[str, np.ndarray]) -> str:
    """Return FID or TORCHVISION, by the number of classes.

    Args:
        path: the file, for messages.
        tensors: its tensors by name.

    Raises:
        ValueError: there is no classifier, or it has another number of classes.
    """
    expected = ", ".join(f"({n}, 2048) [{name}]" for n, name in _CLASSES.items())
    shape = tensors["fc.weight"].shape if "fc.weight" in tensors else None
    if shape is None or shape[1:] != (2048,) or shape[0] not in _CLASSES:
        actual = "missing" if shape is None else shape
        raise ValueError(
            f"{path}: fc.weight, which tells the layout, is {actual}, expected "
            f"{expected}"
        )
    return _CLASSES[shape[0]]


def check(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise unless a file holds the tensors of a network, and no others.

    Args:
        path: the file, for messages.
        tensors: its tensors by name.
        expected: shapes of the network's tensors by name.

    Raises:
        ValueError: a tensor is missing, has another shape, is not of finite
            floating-point numbers, is a negative variance, or is unknown.
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
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- safetensors ----------------------------------------------------------------------


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read 8 bytes of length, a JSON header of that length, then the values."""
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
        if entry["dtype"] not in _SAFETENSORS_TYPES:
            raise ValueError(
                f"{name} is of {entry['dtype']}, expected one of "
                f"{', '.join(_SAFETENSORS_TYPES)}"
            )
        dtype = np.dtype(_SAFETENSORS_TYPES[entry["dtype"]])
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
