"""The viewer's page: its volumes, what it may load, and what a browser makes of it."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import nibabel
import numpy as np
import PIL.Image
import pytest
from browser import open_browser
from paths import REPOSITORY
from tiny_scans import write_scan

from input_pipeline.scans.nifti import write_nifti
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import to_axial
from synthct_jax.quality.viewer import write_viewer

NIIVUE = REPOSITORY / "synthct_jax" / "quality" / "niivue"
CHANNELS = ("in_phase", "out_of_phase")
IMAGES = ("mr", "ct")  # of the page
SIDES = (("sagittal", "L", "R"), ("coronal", "P", "A"), ("axial", "I", "S"))
DOCUMENT = {
    "generator": {"model": "tiny"},
    "created": "2026-01-02T03:04:05",
    "outcome": "warn",
    "sentence": "1 of 1 features are unusual",
    "input": "CANARY",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of a translation that belong to its viewer, and `mr`, its input."""
    folder = tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(0)
    for channel in CHANNELS:
        path = folder / "mr" / f"{channel}.nii.gz"
        write_scan(path, (0, 1))
        body = nibabel.load(path)
        values = body.get_fdata() * rng.integers(200, 900, body.shape)
        nibabel.save(nibabel.Nifti1Image(values, body.affine), path)
    mr = to_axial(read_scan(str(folder / "mr"), modality="MR", channels=CHANNELS))
    hu = np.where(mr.voxels[..., 0] > 0, mr.voxels[..., 0] - 500, -1000)
    write_nifti(folder / "synthetic_ct.nii.gz", hu.astype(np.int16), mr)
    write_nifti(folder / "uncertainty.nii.gz", mr.voxels[..., 1] / 10, mr)
    write_viewer(folder, DOCUMENT, mr=mr, hu=hu)
    return folder


class Page(HTMLParser):
    """The volumes, links and text of a page."""

    def __init__(self, source):
        super().__init__()
        self.volumes, self.links, self.policy, self.text = {}, set(), "", ""
        self._tag, self._attributes = "", {}
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self._tag, self._attributes = tag, dict(attributes)
        self.links |= {v for k, v in attributes if k in ("href", "src")}
        if tag == "meta" and "http-equiv" in self._attributes:
            self.policy = self._attributes["content"]

    def handle_data(self, data):
        if "data-name" in self._attributes:
            self.volumes[self._attributes["data-name"]] = base64.b64decode(data)
        elif self._tag not in ("script", "style"):
            self.text += data

    def handle_endtag(self, tag):
        self._tag, self._attributes = "", {}


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "viewer.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name, file, steps",
    [
        ("MR in phase", "mr/in_phase.nii.gz", 1000),
        ("MR out of phase", "mr/out_of_phase.nii.gz", 1000),
        ("synthetic CT", "synthetic_ct.nii.gz", None),
        ("uncertainty", "uncertainty.nii.gz", None),
    ],
)
def test_page_contains_the_volumes_on_the_grid_of_the_scan(
    folder, page, name, file, steps
):
    expected = nibabel.load(folder / file)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(page.volumes[name]))
    np.testing.assert_allclose(image.affine, expected.affine, atol=1e-4)
    voxels, rounding = expected.get_fdata(), 0
    if steps:
        rounding = 0.51 * np.percentile(voxels[voxels > 0], 99.5) / steps
    np.testing.assert_allclose(image.get_fdata(), voxels, rtol=0, atol=rounding)
    assert len(page.volumes) == 4


def test_page_reaches_nothing_outside_and_names_nobody(folder, page):
    assert page.links == {"quality.html"}
    assert page.policy.startswith("default-src 'none';") and "http" not in page.policy
    assert DOCUMENT["sentence"] in page.text
    assert DOCUMENT["input"] not in (folder / "viewer.html").read_text()


def test_niivue_is_the_published_file_beside_its_licence(folder):
    licence = (NIIVUE / "LICENSE.txt").read_text()
    assert licence in (folder / "viewer.html").read_text()
    content = (NIIVUE / "niivue.umd.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() in licence


# Scroll in the MR, choose the other channel and the bone window, show the overlay.
ACTIONS = """
  const mr = byId("mr"), box = mr.getBoundingClientRect();
  mr.dispatchEvent(new PointerEvent("pointerenter"));
  mr.dispatchEvent(new WheelEvent("wheel", {
    deltaY: -100, clientX: box.x + box.width / 2, clientY: box.y + 60,
    bubbles: true, cancelable: true,
  }));
  for (const [id, value] of [["channel", "MR out of phase"], ["overlay", "0.5"]]) {
    byId(id).value = value;
    byId(id).dispatchEvent(new Event(id === "channel" ? "change" : "input"));
  }
  document.querySelectorAll("button")[1].click();
"""


@pytest.mark.slow
def test_browser_shows_both_images_with_one_crosshair(folder, tmp_path):
    with open_browser(tmp_path / "profile") as browser:
        browser.open(folder / "viewer.html", width=1000, height=900)
        browser.wait("document.querySelector('button[aria-pressed=true]') !== null")
        before = browser.run('byId("ct-values").textContent')
        browser.run(f"(() => {{{ACTIONS}}})()")
        browser.wait(f'byId("ct-values").textContent !== {json.dumps(before)}')
        mr, ct = (browser.run(f'byId("{name}-values").textContent') for name in IMAGES)
        boxes = [
            browser.run(f'byId("{name}").getBoundingClientRect().toJSON()')
            for name in IMAGES
        ]
        browser.picture(tmp_path / "picture.png")
        assert not browser.errors and browser.run('byId("failure").hidden')
    picture = np.asarray(PIL.Image.open(tmp_path / "picture.png").convert("RGB"))
    for box in boxes:
        x, y, width, height = (round(box[k]) for k in ("x", "y", "width", "height"))
        canvas = picture[y : y + height, x : x + width]
        assert canvas.std() > 20 and len(np.unique(canvas)) > 50
    assert re.fullmatch(r"synthetic CT -?\d+ HU, uncertainty [\d.]+ HU · .* mm", ct)
    # The wheel moved the crosshair by a slice, and that of the other image with it.
    places = [text.split(" · ")[1] for text in (before, mr, ct)]
    assert places[0] != places[1] == places[2]
    slices = [int(re.match(r"axial (\d+) of", place)[1]) for place in places]
    assert abs(slices[0] - slices[1]) == 1
    assert_place_is_of_the_value(folder, ct)


def assert_place_is_of_the_value(folder, text):
    """The slices, the mm and the HU of a caption are of one voxel."""
    image = nibabel.as_closest_canonical(nibabel.load(folder / "synthetic_ct.nii.gz"))
    counts, sizes, mm = [], [], []
    for plane, minus, plus in SIDES:
        pattern = rf"{plane} (\d+) of (\d+), ([{minus}{plus}]) ([\d.]+) mm"
        count, size, side, distance = re.search(pattern, text).groups()
        counts.append(int(count) - 1)
        sizes.append(int(size))
        mm.append(float(distance) * (1 if side == plus else -1))
    assert tuple(sizes) == image.shape
    np.testing.assert_allclose(
        nibabel.affines.apply_affine(image.affine, counts),
        mm,
        atol=0.051,
    )
    shown = int(re.match(r"synthetic CT (-?\d+) HU", text)[1])
    assert shown == pytest.approx(np.asarray(image.dataobj)[tuple(counts)], abs=1)


@pytest.mark.slow
def test_browser_without_webgl_says_so(folder, tmp_path):
    with open_browser(tmp_path / "profile", "--disable-3d-apis") as browser:
        browser.open(folder / "viewer.html")
        browser.wait('!byId("failure").hidden')
