"""A prepared data set, opened: checks, batches to train on, volumes of subjects."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np

from input_pipeline import intensity
from input_pipeline.dataset.manifest import Manifest, Subject, read_manifest
from input_pipeline.dataset.storage import SelectedSlices, SlicesOfFile, open_domain
from input_pipeline.dataset.stream import add_pairs, read_ahead, stream_pairs
from input_pipeline.dataset.subject_volume import SubjectVolume


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A folder of prepared slices, and its manifest."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Dataset":
        """Read the manifest of a prepared data set; slices are opened when used."""
        return cls(folder=Path(folder), manifest=read_manifest(folder))

    # --- checks -----------------------------------------------------------------------

    def check_compatible(self, data_config, *, any_pixels: bool = False) -> None:
        """Check that slices mean what `config.data`, or a trained network's, takes.

        Args:
            any_pixels: whether size and spacing may be others.

        Raises:
            ValueError: names the field, its value and that of the data.
        """
        intensity.check_knots(data_config.ct_knots)
        pixels = () if any_pixels else ("size", "spacing_mm")
        for field in (*pixels, "mask_outside_body", "mr_percentile"):
            wanted = getattr(data_config, field)
            stored = getattr(self.manifest, field)
            if wanted != stored:
                raise ValueError(
                    f"data.{field} is {wanted}, but the data were prepared with "
                    f"{stored} ({self.folder}); prepare them again or set "
                    f"--config.data.{field}={stored}"
                )
        wanted = tuple(data_config.mr_channels)
        stored = self.manifest.domains["mr"].channels
        if not wanted:
            raise ValueError("data.mr_channels is empty, expected one or more channels")
        for name in wanted:
            if name not in stored:
                raise ValueError(
                    f"data.mr_channels asks for {name!r}, but the data have only "
                    f"{', '.join(stored)} ({self.folder}); prepare data with it, or "
                    "set --config.data.mr_channels"
                )
        if "out_of_phase" in wanted and "in_phase" in set(stored) - set(wanted):
            raise ValueError(
                "data.mr_channels asks for out_of_phase without in_phase, but the data "
                "hold it on the scale of in_phase, which such a network would not have "
                f"at translation; prepare data with data.mr_channels={wanted}"
            )

    def check_trainable(
        self, data_config, *, paired: bool = False, own_pairs: bool = False
    ) -> None:
        """Check that a network can be trained on the data with `config.data`.

        Args:
            paired: each training MR needs its CT on the same grid.
            own_pairs: one training MR or more needs its CT on the same grid.

        Raises:
            ValueError: names the field or subject, the value found and the expected.
        """
        self.check_compatible(data_config)
        domains = self.manifest.domains
        for name in ("mr", "ct"):
            if name not in domains or not domains[name].of_split("train"):
                raise ValueError(f"{self.folder} has no {name} subjects for training")
        if not 0 <= data_config.crop <= self.manifest.size:
            raise ValueError(
                f"data.crop is {data_config.crop}, expected 0 to {self.manifest.size}, "
                "the size of the slices"
            )
        if paired:
            self._check_pairs()
        if own_pairs and not self.manifest.paired_names("train"):
            mr, ct = (
                {subject.name for subject in domains[domain].of_split("train")}
                for domain in ("mr", "ct")
            )
            raise ValueError(
                f"{self.folder}: loss.paired needs training subjects with MR and CT on "
                f"one grid, there are none: {len(mr)} have MR, {len(ct)} have CT, "
                f"{len(mr & ct)} have both"
            )

    def _check_pairs(self) -> None:
        mr, ct = (
            {s.name: s for s in self.manifest.domains[domain].of_split("train")}
            for domain in ("mr", "ct")
        )
        if unpaired := mr.keys() ^ ct.keys():
            raise ValueError(
                f"{self.folder}: method=supervised needs MR and CT of the same "
                f"training subjects, {min(unpaired)} has one of them only"
            )
        if apart := mr.keys() - self.manifest.paired_names("train"):
            name = min(apart)
            raise ValueError(
                f"{self.folder}: method=supervised needs MR and CT on one grid, "
                f"those of {name} have {mr[name].slices} and {ct[name].slices} "
                "slices, or another position, spacing or orientation"
            )

    # --- slices -----------------------------------------------------------------------

    def batches(
        self,
        data_config,
        *,
        seed: int,
        global_batch: int,
        paired: bool = False,
        own_pairs: bool = False,
        simulated: grain.MapDataset | None = None,
        targets: Path | None = None,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> grain.DatasetIterator:
        """Return endless batches of the training split, from `start_step` on.

        Concatenating the batches of all processes at a step gives the global batch of
        that step, in the order of process_index.

        Args:
            data_config: `config.data`.
            seed: draws order and augmentation.
            global_batch: slices of each domain, over all processes.
            paired: an MR and the CT of the same slice, moved alike; off, the two
                streams are independent.
            own_pairs: pairs of the training subjects with MR and CT on one grid, beside
                the others as 'paired_mr' and 'paired_ct'.
            targets: .npy file of HU, a slice for each MR slice: in place of the CT, and
                paired.
            simulated: endless pairs {'mr', 'ct'}: in place of the data's own if they
                are paired, else beside them as 'simulated_mr' and 'simulated_ct'.

        Returns:
            An iterator of {'mr': (local, H, W, channels), 'ct': (local, H, W, 1)},
            float32 in [-1, 1]. Close it (`close()`) when done.

        Raises:
            FileNotFoundError, ValueError: slices are missing or damaged, or the data do
                not fit the configuration; names the file, or the field and both values.
        """
        self.check_trainable(data_config, paired=paired, own_pairs=own_pairs)
        if global_batch % process_count:
            raise ValueError(
                f"train.global_batch is {global_batch}, expected a multiple of the "
                f"{process_count} processes"
            )
        stream = functools.partial(
            stream_pairs,
            data_config=data_config,
            mr_channels=self.manifest.domains["mr"].channels,
            spacing_mm=self.manifest.spacing_mm,
        )
        if simulated is not None and paired:
            samples = simulated
        else:
            mr, ct = (self._open(d, "train") for d in ("mr", "ct"))
            if targets is not None:
                ct, paired = SlicesOfFile(targets), True
            samples = stream(mr, ct, seed=seed, paired=paired)
            if simulated is not None:
                samples = add_pairs(samples, "simulated", simulated)
        if own_pairs:
            # A seed of its own, or where all are pairs they would be the batch's MR.
            (pair_seed,) = np.random.SeedSequence([seed, 1]).generate_state(1)
            slices = (self._slices_of_pairs(domain) for domain in ("mr", "ct"))
            pairs = stream(*slices, seed=int(pair_seed), paired=True)
            samples = add_pairs(samples, "paired", pairs)
        # Batch b of `local` pairs is the share of process b % count of step b // count.
        # Batched before it becomes an iterator, or workers would deal out the pairs.
        local = global_batch // process_count
        first = start_step * process_count + process_index
        batches = samples.batch(
            local,
            drop_remainder=True,  # else grain cannot count endless ones
        ).slice(slice(first, None, process_count))
        return read_ahead(batches, workers=int(data_config.workers))

    def _open(self, domain: str, split: str) -> Sequence[dict]:
        return open_domain(self.folder, domain, split, self.manifest.fingerprints)

    def _slices_of_pairs(self, domain: str) -> Sequence[dict]:
        """Return slices of the training subjects that are pairs, by name."""
        places, start = {}, 0
        for subject in self.manifest.domains[domain].of_split("train"):
            places[subject.name] = range(start, start + subject.slices)
            start += subject.slices
        names = sorted(self.manifest.paired_names("train"))
        return SelectedSlices(
            self._open(domain, "train"),
            [place for name in names for place in places[name]],
        )

    def subjects(self, domain: str, split: str) -> Iterator[SubjectVolume]:
        """Read whole volumes one at a time, in the order of the manifest.

        Raises:
            FileNotFoundError, ValueError: there is no such domain or split, or the
                shards are missing, damaged or not what the manifest says.
        """
        domains = self.manifest.domains
        if domain not in domains:
            raise ValueError(
                f"{self.folder} has no domain {domain!r}, only {', '.join(domains)}"
            )
        subjects = domains[domain].of_split(split)
        if not subjects:
            raise ValueError(f"{self.folder}: {domain} has no subjects for {split}")
        source = self._open(domain, split)
        total = sum(subject.slices for subject in subjects)
        if len(source) != total:
            raise ValueError(
                f"{self.folder}: {domain} {split} has {len(source)} slices, but "
                f"prepared.json lists {total}"
            )
        start = 0
        for subject in subjects:
            records = [source[start + index] for index in range(subject.slices)]
            names = [(str(r["subject"], "utf-8"), int(r["index"])) for r in records]
            if names != [(subject.name, index) for index in range(subject.slices)]:
                raise ValueError(
                    f"{self.folder}: slices {start} to {start + subject.slices} of "
                    f"{domain} {split} are not those of {subject.name}, as "
                    "prepared.json says"
                )
            yield SubjectVolume(
                name=subject.name,
                domain=domain,
                stored=np.stack([record["image"] for record in records]),
                spacing_mm=self.spacing_mm(subject),
            )
            start += subject.slices

    def spacing_mm(self, subject: Subject) -> tuple[float, float, float]:
        """Return the distance of neighbouring (slices, rows, columns) in mm."""
        return subject.slice_mm, self.manifest.spacing_mm, self.manifest.spacing_mm
