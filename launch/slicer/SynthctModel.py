"""Models of synthct_jax for ModalityConverter, an extension of 3D Slicer.

docs/slicer.md says how to install it. It runs in Slicer's Python, without JAX.
"""

import json

import numpy as np
import slicer
import vtk
from ModalityConverterLib.ModelBase import BaseModel, register_model
from ModalityConverterLib.Utils.modelLoadUtils import import_onnx_model

from input_pipeline.intensity import AIR_HU, MR_ONE
from input_pipeline.network_input import cut_slices
from input_pipeline.volume import Volume, from_axial, to_axial


@register_model("synthct_in_noncontrast")
@register_model("synthct_out_noncontrast")
@register_model("synthct_t2_noncontrast")
class SynthctModel(BaseModel):
    """One of the models that take a single MR; ModalityConverter hands over no more."""

    def _loadModelFromPath(self, modelPath):
        return import_onnx_model(modelPath, self.device)

    def runInference(
        self, inputVolume, outputVolume, inputMask=None, showAllFiles=True
    ):
        """Write HU on the voxels of `inputVolume` to `outputVolume`.

        Args:
            inputMask: where its voxels are 0, the result is air.
            showAllFiles: ignored, there are no intermediate volumes.

        Raises:
            UnusableScan: the MR shows no body.
        """
        facts = self.model.get_modelmeta().custom_metadata_map
        data = json.loads(facts["data"])
        mr = Volume(
            voxels=slicer.util.arrayFromVolume(inputVolume)[..., None].astype("f4"),
            affine=_affine(inputVolume, data["spacing_mm"]),
            modality="MR",
            channels=tuple(data["mr_channels"]),
        )
        axial = to_axial(mr)
        network_input = cut_slices(axial, data, multiple=int(facts["size_multiple"]))
        share = network_input.mr.stored.transpose(0, 3, 1, 2) / np.float32(MR_ONE)
        images = [self.model.run(["hu"], {"mr": image[None]})[0] for image in share]
        hu = network_input.from_grid(np.concatenate(images)[:, 0], AIR_HU)
        if data["mask_outside_body"]:
            hu[~network_input.body] = AIR_HU
        hu = from_axial(hu, axial.affine, mr.grid)
        if inputMask is not None:
            hu[slicer.util.arrayFromVolume(inputMask) == 0] = AIR_HU
        slicer.util.updateVolumeFromArray(outputVolume, hu)
        outputVolume.CopyOrientation(inputVolume)
        slicer.util.setSliceViewerLayers(background=outputVolume)
        return hu


def _affine(volume, pixel_mm):
    """Return the (4, 4) affine of a volume, (column, row, slice, 1) to RAS mm.

    A worker process of ModalityConverter gets the array alone: then the slices are
    axial, from inferior to superior, with the network's pixels.
    """
    if not hasattr(volume, "GetIJKToRASMatrix"):
        print(f"SynthctModel: taken for axial slices with pixels of {pixel_mm:g} mm")
        return np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0])
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
