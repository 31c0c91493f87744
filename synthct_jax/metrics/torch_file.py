"""Tensors of the files that torch.save writes, without torch, executing nothing.

Such a file is a pickle, and a pickle can run any program. The unpickler here knows
dictionaries and plain tensors, and refuses all else by its name.
"""

import collections
import math
import os
import pickle
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_TYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}
# At the head of the stream of pickles that torch wrote before 1.6.
_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_PROTOCOL = 1001


def read_archive(file: BinaryIO) -> dict[str, np.ndarray]:
    """A ZIP archive of a pickle and of storages: what torch writes since 1.6.

    Raises:
        Exception: of nearly any kind, if it is damaged; ValueError if its pickle is not
            of a dictionary of plain tensors.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError(
                f"an archive with {len(found)} files data.pkl, expected one"
            )
        folder = found[0].removesuffix("/data.pkl")
        order = f"{folder}/byteorder"
        if order in names and (found := archive.read(order)) != b"little":
            raise ValueError(f"byteorder is {found!r}, expected b'little'")
        with archive.open(f"{folder}/data.pkl") as pickled:
            stored = _tensors(_Unpickler(pickled).load())
        return {
            name: _to_array(
                name, tensor, archive.read(f"{folder}/data/{tensor.storage.key}")
            )
            for name, tensor in stored.items()
        }


def read_stream(file: BinaryIO) -> dict[str, np.ndarray]:
    """Five pickles, then the storages, each after its length: torch before 1.6.

    Raises:
        Exception: as of `read_archive`.
    """
    if (magic := _Unpickler(file).load()) != _STREAM_MAGIC:
        raise ValueError(f"a pickle, but not of torch: it begins with {magic!r:.40}")
    if (protocol := _Unpickler(file).load()) != _STREAM_PROTOCOL:
        raise ValueError(f"protocol {protocol!r:.40}, expected {_STREAM_PROTOCOL}")
    system = _Unpickler(file).load()
    if system.get("little_endian") is not True:
        raise ValueError(f"system is {system!r:.80}, expected little_endian")
    stored = _tensors(_Unpickler(file).load())
    keys = [str(key) for key in _Unpickler(file).load()]
    storages = {tensor.storage.key: tensor.storage for tensor in stored.values()}
    if missing := storages.keys() - keys:
        raise ValueError(f"storage {min(missing)} is missing")
    values = {}
    for key in keys:
        if key not in storages:
            raise ValueError(f"storage {key} is of no tensor")
        length = int.from_bytes(_read_exactly(file, 8, f"storage {key}"), "little")
        size = length * np.dtype(storages[key].dtype).itemsize
        values[key] = _read_exactly(file, size, f"storage {key}")
    return {
        name: _to_array(name, tensor, values[tensor.storage.key])
        for name, tensor in stored.items()
    }


class _Storage(NamedTuple):
    """What a persistent identifier names: values in a place of their own."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, numbers, texts, _Storage and _Tensor, and nothing else.

    Names of torch become functions made here on the spot, or texts: torch is not
    imported, and a pickle that sets attributes of them changes nothing that stays.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
                # What follows: whether it has a gradient, and hooks.
                return lambda storage, offset, shape, strides, *_: _Tensor(
                    storage, offset, shape, strides
                )
            case "torch._utils", "_rebuild_parameter":
                return lambda tensor, *_: tensor
            case "torch", _ if name in _TYPES:
                return name
        raise ValueError(
            f"its pickle asks for {module}.{name}, which is refused; expected a "
            "dictionary of tensors (a state_dict)"
        )

    def persistent_load(self, identifier: Any) -> _Storage:
        match identifier:
            case ("storage", str(kind), key, str(), int(length), *view):
                if kind in _TYPES and not any(view):
                    return _Storage(str(key), _TYPES[kind], length)
        raise ValueError(f"persistent identifier {identifier!r} is no storage of torch")


def _tensors(loaded: Any) -> dict[str, _Tensor]:
    if not isinstance(loaded, dict):
        raise ValueError(
            f"its pickle is a {type(loaded).__name__}, expected a dictionary of tensors"
        )
    for name, value in loaded.items():
        known = isinstance(value, _Tensor) and isinstance(value.storage, _Storage)
        if not (known and isinstance(name, str)):
            raise ValueError(
                f"{name!r:.40} is a {type(value).__name__}, expected a tensor"
            )
    return dict(loaded)


def _to_array(name: str, tensor: _Tensor, values: bytes) -> np.ndarray:
    storage = np.frombuffer(values, tensor.storage.dtype)
    if len(storage) != tensor.storage.length:
        raise ValueError(
            f"storage of {name} has {len(storage)} values, expected "
            f"{tensor.storage.length}"
        )
    shape = tuple(_natural(n) for n in tensor.shape)
    strides = tuple(_natural(n) for n in tensor.strides)
    if len(shape) != len(strides):
        raise ValueError(f"{name} has {len(shape)} axes, and {len(strides)} strides")
    last = _natural(tensor.offset) + sum(
        (n - 1) * stride for n, stride in zip(shape, strides, strict=True)
    )
    size = math.prod(shape)
    if size > len(storage) or (size and last >= len(storage)):
        raise ValueError(
            f"{name} {shape} goes to value {last}, but its storage has {len(storage)}"
        )
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        shape,
        [stride * storage.itemsize for stride in strides],
    )
    return view.copy()


def _read_exactly(file: BinaryIO, size: int, what: str) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size > left:
        raise ValueError(f"{what} is {size} bytes long, but {left} are left")
    return file.read(size)


def _natural(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"a size is {number!r:.40}, expected 0 or more")
    return number
