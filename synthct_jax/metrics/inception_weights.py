"""Weights of Inception v3 from a local file: nothing is downloaded, nothing executed.

The weights of FID are those of TensorFlow's graph of 2015-12-05, ported to torch:
pt_inception-2015-12-05-6726825d.pth, of the release `fid_weights` of pytorch-fid
(github.com/mseitzer/pytorch-fid), or weights-inception-2015-12-05-6726825d.pth, of the
releases of torch-fidelity (github.com/toshas/torch-fidelity). The name of the file ends
in the first digits of its SHA-256 (`sha256sum FILE`). Weights of torchvision, with 1000
classes, belong to another graph and give no FID.

A .pth is a pickle, which can run any program, so it has to be converted once, in an
environment of its own with torch and numpy. The tensors keep their names:

    import numpy, torch

    weights = torch.load("NAME.pth", map_location="cpu", weights_only=True)
    arrays = {name: tensor.numpy(force=True) for name, tensor in weights.items()}
    numpy.savez("NAME.npz", **arrays)
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

# Tensors of the published files that the features do not need.
_UNUSED = re.compile(r"fc\.bias|.+\.bn\.num_batches_tracked")

_TO_CONVERT = (
    "it is a file of torch.save, expected .npz or .safetensors; convert it once, where "
    'torch is installed: weights = torch.load(FILE, map_location="cpu", '
    "weights_only=True); numpy.savez(NEW, **{name: "
    "tensor.numpy(force=True) for name, tensor in weights.items()})"
)


def read_tensors(
    path: Path, expected: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return the tensors of a weights file after checking them against a network's.

    The result may hold tensors of the published files that the network does not use.

    Args:
        path: a .npz or .safetensors file, told apart by its first bytes.
        expected: shapes of the network's tensors by torch's names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another format or damaged (for a .pth the message
            says how to convert it); or a tensor is missing, has another shape, is not
            of finite floating-point numbers, is a negative variance, or is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file, expected weights of Inception v3"
        )
    try:
        tensors = _read(path)
    # Damaged archives raise nearly anything.
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
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
                f"{path}: {name} {tensor.shape} is not of FID's Inception v3, expected "
                f"names such as {min(expected)}"
            )
    return tensors


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:  # numpy leaves a broken file open
        head = file.read(9)
        file.seek(0)
        if head[8:] == b"{":  # behind 8 bytes, the length of a header in JSON
            try:
                return safetensors.numpy.load(file.read())
            except KeyError as error:  # a type that numpy does not have
                types = "expected F16, F32 or F64"
                raise ValueError(f"it has tensors of {error}, {types}") from error
        if head.startswith(b"\x80"):  # a pickle: torch.save before version 1.6
            raise ValueError(_TO_CONVERT)
        if not head.startswith(b"PK\x03\x04"):
            raise ValueError("it is neither .npz nor .safetensors")
        with np.load(file, allow_pickle=False) as arrays:
            if any(name.endswith("data.pkl") for name in arrays.files):
                raise ValueError(_TO_CONVERT)
            return dict(arrays)
