"""The class for 3D Slicer, as ModalityConverter calls it; Slicer itself is not there.

`slicer`, `vtk` and `ModalityConverterLib` are stand-ins with what the class may use by
ModalityConverter's README and its inference worker.
"""

import dataclasses
import importlib.util
import sys
import types

import numpy as np
import pytest
from ml_collections import ConfigDict
from onnx_session import open_onnx
from paths import REPOSITORY
from tiny_model import write_tiny_model
from tiny_run import tiny_config

from input_pipeline.intensity import AIR_HU
from input_pipeline.phantom import draw_subject
from input_pipeline.volume import MR_CHANNELS, Volume, from_axial, to_axial
from synthct_jax.inference.loaded_model import load_model_file
from synthct_jax.inference.onnx_file import export_onnx
from synthct_jax.inference.synthesis import synthesise
from synthct_jax.model import methods

CLASS = REPOSITORY / "launch" / "slicer" / "SynthctModel.py"
# (column, row, slice) to RAS mm, and the shape (slices, rows, columns): pixels that
# are not the network's, in sizes that it cannot divide.
AXIAL = np.array(
    [[-2.6, 0, 0, 170], [0, -2.6, 0, 120], [0, 0, 24, -40], [0, 0, 0, 1.0]]
)
CORONAL = AXIAL @ np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 2], [0, 0, 0, 1]])


class ArrayNode:
    """A volume in a worker process: an array without a position."""

    def __init__(self, array=None):
        self.array = array

    def CopyOrientation(self, other):
        pass


class SceneNode(ArrayNode):
    """A volume in Slicer's own process."""

    def __init__(self, array, affine):
        super().__init__(array)
        self.affine = affine

    def GetIJKToRASMatrix(self, matrix):
        matrix.array = self.affine


class BaseModel:
    def __init__(self, modelKey, device="cpu"):
        self.modelKey, self.device = modelKey, device

    def load(self, path):
        self.model = self._loadModelFromPath(path)
        return self


KEY = "synthct_in_noncontrast"


@pytest.fixture
def registry(monkeypatch):
    """Import the class as ModalityConverter does; return the classes by model key."""
    registered = {}

    def register_model(key):
        return lambda cls: registered.setdefault(key, cls)

    def import_onnx_model(modelPath, device):
        assert device == "cpu"
        return open_onnx(modelPath)

    util = types.SimpleNamespace(
        arrayFromVolume=lambda node: node.array,
        arrayFromVTKMatrix=lambda matrix: matrix.array,
        updateVolumeFromArray=lambda node, array: setattr(node, "array", array),
        setSliceViewerLayers=lambda **layers: None,
    )
    library = "ModalityConverterLib"
    for name, fields in {
        "slicer": {"util": util},
        "vtk": {"vtkMatrix4x4": types.SimpleNamespace},
        library: {},
        f"{library}.ModelBase": {
            "BaseModel": BaseModel,
            "register_model": register_model,
        },
        f"{library}.Utils": {},
        f"{library}.Utils.modelLoadUtils": {"import_onnx_model": import_onnx_model},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(fields)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location(CLASS.stem, CLASS)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return registered


def draw_mr(channel: str, *, size: int = 131, pixel_mm: float = 2.6) -> Volume:
    """Draw an MR in axial order, in numbers of a scanner: a body of three slices."""
    subject = draw_subject(7, size=size, spacing_mm=pixel_mm, slices=3, slice_mm=24.0)
    affine = AXIAL @ np.diag([pixel_mm / 2.6, pixel_mm / 2.6, 1, 1])
    voxels = np.round(subject.mr[..., [MR_CHANNELS.index(channel)]])
    return Volume(
        voxels=voxels.astype(np.float32),
        affine=affine,
        modality="MR",
        channels=(channel,),
    )


def our_hu(model: str, mr: Volume, platform: str = "any") -> np.ndarray:
    """Translate by one view, with the layers of their definition or of a platform."""
    loaded = load_model_file(model).with_views(1)
    method = methods.from_config(ConfigDict(loaded.config), platform=platform)
    batches, _ = synthesise(dataclasses.replace(loaded, method=method), mr)
    return np.concatenate([hu for hu, _ in batches])


def export_tiny(folder):
    config = tiny_config()
    config.data.mr_channels = ("in_phase",)
    model = folder / "tiny.safetensors"
    write_tiny_model(model, config)
    export_onnx(str(model), folder / f"{KEY}.onnx")
    return str(model), folder / f"{KEY}.onnx"


@pytest.mark.parametrize("affine", [AXIAL, CORONAL], ids=["axial", "coronal"])
def test_result_is_ours_on_the_voxels_of_the_mr(affine, registry, tmp_path):
    model, path = export_tiny(tmp_path)
    mr = draw_mr("in_phase")
    stored = mr
    if affine is CORONAL:
        stored = dataclasses.replace(
            mr, voxels=np.flip(mr.voxels.transpose(1, 0, 2, 3), 1), affine=CORONAL
        )
    np.testing.assert_array_equal(to_axial(stored).voxels, mr.voxels)
    output = ArrayNode()
    translator = registry[KEY](KEY).load(path)
    translator.runInference(SceneNode(stored.voxels[..., 0], affine), output)
    ours = from_axial(our_hu(model, mr), mr.affine, stored.grid)
    assert ours.std() > 100
    np.testing.assert_allclose(output.array, ours, rtol=0, atol=0.5)


def test_worker_takes_the_array_for_axial_slices_with_the_pixels_of_the_model(
    registry, tmp_path, capsys
):
    _, path = export_tiny(tmp_path)
    mr = draw_mr("in_phase", size=30, pixel_mm=12.0)
    translator = registry[KEY](KEY).load(path)
    in_worker, in_scene = ArrayNode(), ArrayNode()
    translator.runInference(ArrayNode(mr.voxels[..., 0]), in_worker)
    assert "axial slices with pixels of 12 mm" in capsys.readouterr().out
    translator.runInference(SceneNode(mr.voxels[..., 0], mr.affine), in_scene)
    np.testing.assert_array_equal(in_worker.array, in_scene.array)


def test_outside_the_mask_the_result_is_air(registry, tmp_path):
    _, path = export_tiny(tmp_path)
    mr = draw_mr("in_phase")
    translator = registry[KEY](KEY).load(path)
    whole, masked = ArrayNode(), ArrayNode()
    mask = np.zeros(mr.voxels.shape[:3], np.uint8)
    mask[:, 40:80] = 1
    node = SceneNode(mr.voxels[..., 0], mr.affine)
    translator.runInference(node, whole)
    translator.runInference(node, masked, ArrayNode(mask))
    np.testing.assert_array_equal(masked.array[mask == 1], whole.array[mask == 1])
    assert (masked.array[mask == 0] == AIR_HU).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["in_noncontrast", "out_noncontrast", "t2_noncontrast"]
)
def test_shipped_models_give_our_result(name, registry, tmp_path):
    key = f"synthct_{name}"
    export_onnx(name, tmp_path / f"{key}.onnx")
    translator = registry[key](key).load(tmp_path / f"{key}.onnx")
    (channel,) = load_model_file(name).data["mr_channels"]
    mr = draw_mr(channel)
    output = ArrayNode()
    translator.runInference(SceneNode(mr.voxels[..., 0], mr.affine), output)
    ours = our_hu(name, mr)
    assert ours.std() > 300
    np.testing.assert_allclose(output.array, ours, rtol=0, atol=0.5)
    # Convolutions on CPUs are Winograd's, which lose digits.
    on_cpu = our_hu(name, mr, "cpu")
    np.testing.assert_allclose(output.array, on_cpu, rtol=0, atol=2)
    assert np.abs(output.array - on_cpu).mean() < 0.02
