"use strict";
// Two canvases, MR and CT, each with three planes, share one crosshair.

const { Niivue, NVImage, SLICE_TYPE, DRAG_MODE } = niivue;
const PLANES = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 1, 0.66] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0, 0.67, 0.495, 0.33] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0.505, 0.67, 0.495, 0.33] },
];
// Of each plane, in that order: the axis across it, and the letters of its two ends.
const ACROSS = [
  ["axial", 2, "I", "S"],
  ["coronal", 1, "P", "A"],
  ["sagittal", 0, "L", "R"],
];
const OPTIONS = {
  isRadiologicalConvention: true,
  dragAndDropEnabled: false,
  dragMode: DRAG_MODE.windowing,
  sagittalNoseLeft: true,
  crosshairWidthUnit: "percent",
  crosshairGap: 6,
  crosshairColor: [1, 0.82, 0.29, 0.8],
  fontColor: [1, 1, 1, 1],
  showAllOrientationMarkers: true,
  logLevel: "error",
};

const byId = (id) => document.getElementById(id);

// Voxels are counted from the left, behind and below, as slices in the preview.
function describe({ vox, values }, volume) {
  const mm = volume.vox2mm(vox, volume.matRAS); // of the voxel's centre
  const place = ACROSS.map(([plane, axis, minus, plus]) => {
    const side = mm[axis] < 0 ? minus : plus;
    const slice = `${plane} ${vox[axis] + 1} of ${volume.dimsRAS[axis + 1]}`;
    return `${slice}, ${side} ${Math.abs(mm[axis]).toFixed(1)} mm`;
  });
  const measured = values.map(({ name, value }) => {
    const { unit } = document.querySelector(`[data-name="${name}"]`).dataset;
    const digits = unit === "HU" && Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
    return `${name} ${Number(digits)} ${unit}`.trim();
  });
  return `${measured.join(", ")} · ${place.join("; ")}`;
}

async function draw(id) {
  const viewer = new Niivue(OPTIONS);
  viewer.onLocationChange = (place) =>
    (byId(`${id}-values`).textContent = describe(place, viewer.volumes[0]));
  const canvas = byId(id);
  await viewer.attachToCanvas(canvas);
  viewer.opts.crosshairWidth = 240 / canvas.clientWidth; // 2.4 pixels; thinner has gaps
  // Only a canvas in focus moves the crosshair of the other.
  canvas.onpointerenter = () => canvas.focus({ preventScroll: true });
  for (const [index, element] of document.querySelectorAll(`.${id}.volume`).entries()) {
    const { name, colours, black, white } = element.dataset;
    const volume = await NVImage.loadFromBase64({
      base64: element.textContent,
      name: ".nii.gz",
      colormap: colours,
      opacity: index ? 0 : 1,
      cal_min: Number(black),
      cal_max: Number(white),
    });
    volume.name = name;
    viewer.addVolume(volume);
  }
  viewer.setCustomLayout(PLANES);
  viewer.createOnLocationChange();
  return viewer;
}

async function start() {
  byId("viewer").hidden = false;
  const [mr, ct] = [await draw("mr"), await draw("ct")];
  mr.broadcastTo(ct);
  ct.broadcastTo(mr);

  const channel = byId("channel");
  if (channel)
    channel.onchange = () => {
      // The image below all others hides nothing of itself, the others what is dark.
      mr.setVolume(mr.volumes.find((volume) => volume.name === channel.value), 0);
      mr.volumes.forEach((volume, index) => (volume.opacity = index ? 0 : 1));
      mr.updateGLVolume();
    };
  const overlay = byId("overlay");
  if (overlay) overlay.oninput = () => ct.setOpacity(1, Number(overlay.value));
  const buttons = [...document.querySelectorAll("button")];
  for (const button of buttons) {
    button.onclick = () => {
      ct.volumes[0].cal_min = Number(button.dataset.low);
      ct.volumes[0].cal_max = Number(button.dataset.high);
      ct.updateGLVolume();
      buttons.forEach((each) => (each.ariaPressed = each === button));
    };
  }
  buttons[0].click();
}

if (document.createElement("canvas").getContext("webgl2")) start();
else byId("failure").hidden = false;
