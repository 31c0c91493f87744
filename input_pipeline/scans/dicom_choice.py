"""Choice of the series to read among those of an examination.

An image is chosen only where it is clear: each of the others has something against it
that the chosen one has not, as being made after contrast medium. Two images of which
neither is better are refused, with what tells them apart.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from input_pipeline.scans.dicom_geometry import find_difference
from input_pipeline.scans.dicom_images import Image, on_one_grid, text_or_blank
from input_pipeline.volume import UnusableScan

_PHASES = ("in_phase", "out_of_phase")
_MUCH_SMALLER = 0.8  # of the distance from the first to the last slice
# Attributes that a person chooses by, in the order of telling.
_TELLING = (
    "SeriesNumber",
    "SeriesDescription",
    "ImageType",
    "AcquisitionTime",
    "SeriesTime",
    "AcquisitionNumber",
    "EchoTime",
    "RepetitionTime",
    "FlipAngle",
    "ScanOptions",
    "SequenceVariant",
    "SliceThickness",
    "ContrastBolusAgent",
    "StudyDate",
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The image of each channel, and why the others are passed over.

    Attributes:
        images: by channel, in the order of the channels.
        reasons: why each was chosen, by channel.
        passed_over: the other images, with the reason for each.
        warnings: what may spoil the result: contrast medium, or an image that is taken
            because the user named it.
    """

    images: dict[str, Image]
    reasons: dict[str, str]
    passed_over: tuple[tuple[Image, str], ...]
    warnings: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """Return it as JSON, without free text and UIDs, which may name a patient."""
        chosen = [
            {"channel": name, **image.facts(), "reason": self.reasons[name]}
            for name, image in self.images.items()
        ]
        others = [
            {**image.facts(), "reason": reason} for image, reason in self.passed_over
        ]
        warnings = list(self.warnings)
        return {"chosen": chosen, "passed_over": others, "warnings": warnings}

    def lines(self) -> list[str]:
        """Return it as lines of a log, without free text and UIDs."""
        lines = [
            f"{name} is {image.label}: {self.reasons[name]}"
            for name, image in self.images.items()
        ]
        return lines + [
            f"passed over: {image.label}: {reason}"
            for image, reason in self.passed_over
        ]


def only(images: Sequence[Image], folder: str, expected: str) -> Image:
    """Return the one image; raise UnusableScan, with a list, if there are more."""
    if len(images) == 1:
        return images[0]
    problem = "several series"
    if len({image.series for image in images}) == 1:
        problem = "several images in one series"
        if difference := find_difference([image.frames[0] for image in images]):
            problem = f"mixed {difference[0]} in one series"
    raise UnusableScan(
        f"{folder}: {problem}, expected {expected}:{_listing(images)}{_advice(images)}"
    )


def choose(
    images: Sequence[Image],
    channels: Sequence[str] | None,
    *,
    folder: str,
    series: Sequence[str] = (),
) -> Choice:
    """Choose the image of each MR channel, in their order.

    Args:
        images: of one examination.
        channels: None takes both phases if there is one, and otherwise the only image,
            called 'mr' if it is no T2 either.
        folder: for messages.
        series: see `named`.

    Raises:
        UnusableScan: a channel has no image, or several that are as good; or as for
            `named`.
    """
    candidates = named(images, series, folder=folder)
    if channels is None:
        channels = _PHASES
        if not set(_PHASES) <= {image.contrast for image in candidates}:
            image = only(candidates, folder, "one MR series, or both phases of one")
            if image.contrast not in _PHASES:
                chosen = {image.contrast or "mr": image}
                return _explain(chosen, candidates, images, {}, bool(series))
    by_channel = {name: _fit(candidates, name, bool(series)) for name in channels}
    for name, fitting in by_channel.items():
        if not fitting:
            _refuse_missing(name, by_channel, candidates, folder)
    together = [name for name in channels if name in _PHASES]
    alone = [[name] for name in channels if name not in _PHASES]
    chosen, reasons = {}, {}
    for names in filter(None, [together, *alone]):
        best, others = _best([by_channel[name] for name in names], names, folder)
        chosen |= dict(zip(names, best, strict=True))
        reasons |= others
    chosen = {name: chosen[name] for name in channels}
    return _explain(chosen, candidates, images, reasons, bool(series))


def named(
    images: Sequence[Image], series: Sequence[str], *, folder: str
) -> list[Image]:
    """Return the images of the series that a user names; all if there is no name.

    Args:
        series: each the SeriesInstanceUID of a series, its SeriesNumber, or else a text
            in its SeriesDescription, in capitals or not.

    Raises:
        UnusableScan: a name fits no series, or several; lists them.
    """
    if not series:
        return list(images)
    wanted = set()
    for name in series:
        matching = _matching(images, name.strip())
        uids = {image.series for image in matching}
        if len(uids) != 1:
            problem = "fits several series" if uids else "fits no MR series"
            raise UnusableScan(
                f"{folder}: --series={name} {problem}, expected a SeriesInstanceUID, a "
                "SeriesNumber or a text in SeriesDescription of one of:"
                f"{_listing(matching or images)}"
            )
        wanted |= uids
    return [image for image in images if image.series in wanted]


def _matching(images: Sequence[Image], name: str) -> list[Image]:
    """Return the images whose UID it is, or else whose number, or else description."""
    tests = (
        lambda image: image.series == name,
        lambda image: text_or_blank(image.frames[0], "SeriesNumber") == name,
        lambda image: (
            name.lower() in text_or_blank(image.frames[0], "SeriesDescription").lower()
        ),
    )
    for test in tests:
        if matching := [image for image in images if test(image)]:
            return matching
    return []


def _fit(images: Sequence[Image], channel: str, is_named: bool) -> list[Image]:
    """Return the images of a contrast; those that are unfit only if they are named."""
    of_contrast = [image for image in images if image.contrast == channel]
    fit = [image for image in of_contrast if not image.unfit]
    return of_contrast if is_named and not fit else fit


def _refuse_missing(
    channel: str,
    by_channel: dict[str, list[Image]],
    images: Sequence[Image],
    folder: str,
) -> None:
    for image in images:
        if image.conflict:
            raise image.conflict
    present = [name for name, fitting in by_channel.items() if fitting]
    beside = f" beside {' and '.join(present)}" if present else ""
    unfit = any(image.contrast == channel for image in images)
    advice = "\ntranslate reads one of them all the same: --series=..." if unfit else ""
    raise UnusableScan(
        f"{folder}: no {channel} image{beside}, expected {', '.join(by_channel)}; "
        f"found:{_listing(images)}{advice}"
    )


def _best(
    candidates: Sequence[Sequence[Image]], channels: Sequence[str], folder: str
) -> tuple[tuple[Image, ...], dict[Image, str]]:
    """Choose an image of each channel, together, and say why not the others.

    Raises:
        UnusableScan: of several options none is better than all others.
    """
    options = list(itertools.product(*candidates))
    reasons = {}
    for test, reason in (
        (lambda option: not any(i.scattered for i in option), "no regular stack"),
        (_belongs_together, "no partner in its series or on its grid"),
    ):
        if kept := [option for option in options if test(option)]:
            lost = set(itertools.chain(*options)) - set(itertools.chain(*kept))
            reasons |= {i: i.scattered or reason for i in lost}
            options = kept
    against = {option: _objections(option, options) for option in options}
    best = [
        option
        for option in options
        if not any(set(o) < set(against[option]) for o in against.values())
    ]
    if len(best) > 1:
        rivals = list(dict.fromkeys(itertools.chain(*best)))
        expected = f"one {' and '.join(channels)} image"
        if len(channels) > 1:
            expected = f"one {' and one '.join(channels)} image"
        only(rivals, folder, expected)
    chosen = best[0]
    for image in set(itertools.chain(*options)) - set(chosen):
        fewest = min((against[o] for o in options if image in o), key=len)
        texts = [text for kind, text in fewest.items() if kind not in against[chosen]]
        reasons[image] = "; ".join(texts)
    return chosen, reasons


def _belongs_together(option: Sequence[Image]) -> bool:
    """Tell whether the images are of one series, or on one grid."""
    first, last = option[0], option[-1]
    return first.series == last.series or on_one_grid(first, last)


def _objections(
    option: Sequence[Image], options: Sequence[Sequence[Image]]
) -> dict[str, str]:
    """Return what speaks against an option, by its kind, also beside the others."""
    remarks: dict[str, str] = {}
    for place, image in enumerate(option):
        remarks |= image.objections
        rivals = [other[place] for other in options]
        widest = max(r.extent_mm for r in rivals if r.plane == image.plane)
        if image.extent_mm < _MUCH_SMALLER * widest:
            remarks["extent"] = (
                f"{len(image.frames)} slices over {image.extent_mm:.0f} mm, where "
                f"another has {widest:.0f} mm"
            )
        same_series = [r.frames[0].echo_ms for r in rivals if r.series == image.series]
        if None not in same_series and min(same_series) < image.frames[0].echo_ms:
            remarks["echo"] = f"a later echo than that of {min(same_series):g} ms"
    in_one_series = {o[0].series for o in options if o[0].series == o[-1].series}
    uids = {image.series for image in option}
    if len(uids) > 1 and uids & in_one_series:
        remarks["partner"] = "its partner is in another series"
    return remarks


def _explain(
    chosen: dict[str, Image],
    candidates: Sequence[Image],
    images: Sequence[Image],
    reasons: dict[Image, str],
    is_named: bool,
) -> Choice:
    passed_over = []
    for image in images:
        if image in chosen.values():
            continue
        reason = image.unfit or reasons.get(image)
        if image not in candidates:
            reason = "not named by --series"
        reason = reason or f"{image.contrast}, where {', '.join(chosen)} is needed"
        passed_over.append((image, reason))
    why, warnings = {}, []
    for name, image in chosen.items():
        rivals = [i for i in images if i.contrast == name and not i.unfit]
        why[name] = f"the only {name} image"
        if is_named:
            why[name] = "named by --series"
        elif len(rivals) > 1:
            why[name] = f"the best of {len(rivals)} {name} images"
        doubts = [image.unfit if image.contrast else "", image.objections.get("agent")]
        warnings += [f"{name}: {doubt}" for doubt in filter(None, doubts)]
    return Choice(chosen, why, tuple(passed_over), tuple(warnings))


def _listing(images: Sequence[Image]) -> str:
    lines = []
    for image in images:
        remarks = [image.unfit if image.contrast else "", *image.objections.values()]
        lines.append(f"\n  {'; '.join(filter(None, (str(image), *remarks)))}")
    return "".join(lines)


def _advice(images: Sequence[Image]) -> str:
    """Say what tells series apart, and how to name one; '' for images of one series."""
    series = list({image.series: image.frames[0] for image in images}.values())
    if len(series) == 1:
        return ""
    differences = []
    for keyword in _TELLING:
        values = [text_or_blank(frame, keyword) for frame in series]
        if len(set(values)) > 1:
            shown = ", ".join(value or "absent" for value in values)
            differences.append(f"\n  {keyword}: {shown}")
    numbers = {text_or_blank(frame, "SeriesNumber") for frame in series} - {""}
    example = series[0].text("SeriesInstanceUID")
    if len(numbers) == len(series):
        example = text_or_blank(series[0], "SeriesNumber")
    apart = "".join(differences) or " SeriesInstanceUID alone"
    return (
        f"\nThey differ in:{apart}\nLeave one in the folder, or name it to translate: "
        f"--series={example} (SeriesNumber, SeriesInstanceUID or a text in "
        "SeriesDescription)"
    )
