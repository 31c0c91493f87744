"""Sessions of onnxruntime for tests."""

from pathlib import Path

import onnxruntime


def open_onnx(path: str | Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on one thread: several would spin where tests share cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
