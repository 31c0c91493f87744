"""Files of weights: read as they were written, and never executed."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from synthct_jax.metrics.inception_weights import read_tensors

EXPECTED = {"a.conv.weight": (2, 3), "a.bn.running_var": (2,)}
TENSORS = {
    "a.conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "a.bn.running_var": np.array([0.5, 1.25], np.float16),
    "a.bn.num_batches_tracked": np.array(5),
    "fc.bias": np.float32([0]),
}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "weights.npz"
    np.savez(path, **TENSORS)
    return path


@pytest.fixture
def safetensors_file(tmp_path) -> Path:
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(TENSORS, path)
    return path


@pytest.mark.parametrize("fixture", ["file", "safetensors_file"])
def test_tensors_are_read_as_they_were_written(fixture, request):
    tensors = read_tensors(request.getfixturevalue(fixture), EXPECTED)
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)


@pytest.mark.parametrize("content", [b"just some text, no weights", b""])
def test_other_formats_are_refused(content, file):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz cannot be read: it is neither"):
        read_tensors(file, EXPECTED)


class MakesAFolder:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("is_archive", [True, False])
def test_a_file_of_torch_is_not_unpickled_and_the_message_says_how_to_convert_it(
    is_archive, tmp_path
):
    made = tmp_path / "made"
    pickled = pickle.dumps(MakesAFolder(made), protocol=2)
    path = tmp_path / "weights.pth"
    if is_archive:  # torch 1.6 and later
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/data/0", bytes(8))
    else:
        path.write_bytes(pickled)
    with pytest.raises(ValueError, match=r"weights\.pth .*torch.load.*numpy.savez"):
        read_tensors(path, EXPECTED)
    assert not made.exists()


def test_arrays_of_objects_are_refused(file):
    np.savez(file, a=np.array([{}], object))
    with pytest.raises(ValueError, match="weights.npz cannot be read: .*allow_pickle"):
        read_tensors(file, EXPECTED)


@pytest.mark.parametrize("fixture", ["file", "safetensors_file"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused_wherever_it_ends(share, fixture, request):
    path = request.getfixturevalue(fixture)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="weights.* cannot be read"):
        read_tensors(path, EXPECTED)


def test_numbers_that_numpy_does_not_have_are_named(tmp_path):
    tensor = {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}
    header = json.dumps({"a": tensor}).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(ValueError, match="tensors of 'BF16', expected F16, F32 or F64"):
        read_tensors(path, EXPECTED)


def test_a_changed_byte_is_noticed(file):
    content = bytearray(file.read_bytes())
    content[bytes(content).index(np.float32(1 / 7).tobytes())] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz cannot be read: Bad CRC-32"):
        read_tensors(file, EXPECTED)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz is not a file"):
        read_tensors(tmp_path / "absent.npz", EXPECTED)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"a.bn.running_var": None}, r"a\.bn\.running_var is missing, expected \(2,\)"),
        ({"a.bn.running_var": np.float32([1])}, r"is \(1,\), expected \(2,\)"),
        ({"a.bn.running_var": np.float32([1, np.nan])}, "other values than finite"),
        ({"a.bn.running_var": np.array([1, 2])}, r"\(int64\) has other values than"),
        ({"a.bn.running_var": np.float32([1, -0.5])}, "has -0.5, expected variances"),
        ({"b.weight": np.float32([1])}, r"b\.weight \(1,\) is not of FID's Inception"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, file):
    changed = {k: v for k, v in (TENSORS | change).items() if v is not None}
    np.savez(file, **changed)
    with pytest.raises(ValueError, match=rf"weights\.npz: .*{message}"):
        read_tensors(file, EXPECTED)
