"""Writer of the safetensors format, for tests of its reader."""

import json
import struct
from collections.abc import Mapping

import numpy as np

_TYPES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "<i8": "I64"}


def encode(header: Mapping | bytes, values: bytes = b"") -> bytes:
    """Return the bytes of a file with this header, as JSON or as raw text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def encode_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a file with these tensors."""
    header, values = {}, b""
    for name, tensor in tensors.items():
        offsets = len(values), len(values) + tensor.nbytes
        header[name] = {
            "dtype": _TYPES[tensor.dtype.str],
            "shape": tensor.shape,
            "data_offsets": offsets,
        }
        values += tensor.tobytes()
    return encode(header, values)
