"""Results as nested dictionaries, for the pages and tables that still read those."""

import math
from types import SimpleNamespace
from typing import Any

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.results import METHODS, NETWORK, REFERENCE_CT, Results

MODEL = "model"
ANSWERS = {MODEL if name == NETWORK else name: text for name, text in METHODS.items()}
TRIVIAL = ("water", "histogram")
_KINDS = {"tissues": "tissue", "bands": "band", "regions": "border"}


def nested(results: Results) -> SimpleNamespace:
    halves, methods = results.data["halves"], results.methods
    slices = results.data["mr_subjects"]

    def mean(metric, method, region="body"):
        one = results.interval(metric, method, region)
        if one is None:
            return None
        return {
            "mean": _finite(one.value),
            "low": one.low,
            "high": one.high,
            "n": one.n,
        }

    def floor(metric):
        one = results.reference_range(metric)
        if one is None:
            return None
        sizes = [halves["first_real"], halves["real"][0]]
        ends = {"mean": one.value, "low": one.low, "high": one.high}
        return ends | {"subjects": sizes}

    def table(group, method):
        rows = {}
        for metric in results.metrics(group):
            if (entry := mean(metric, method)) is None:
                continue
            if group != "paired":
                entry |= {
                    "value": entry["mean"],
                    "floor": floor(metric),
                    "outside": results.is_outside(metric),
                    "subjects": [halves["synthetic"][0], halves["real"][0]],
                    "slices": [halves["synthetic"][1], halves["real"][1]],
                }
            rows[metric] = entry
        return rows

    def part(kind, method):
        rows = {}
        for region in results.regions(kind):
            if mae := mean("mae", method, region):
                voxels = results.values("voxels", REFERENCE_CT, region)
                name = region.partition(":")[2]
                rows[name] = {"mae": mae, "me": mean("me", method, region)}
                rows[name]["voxels"] = int(sum(voxels.values()))
        return rows

    def subject(name):
        entry: dict[str, Any] = {"name": name, "slices": slices[name]}
        for method in methods:
            of = {"consistency": {}}
            for row in results.rows:
                if (row.subject, row.method, row.region) == (name, method, "body"):
                    group = metric_definitions.group(row.metric)
                    key = "body" if group == "paired" else group
                    of.setdefault(key, {})[row.metric] = _finite(row.value)
            if "body" in of:
                for what, kind in _KINDS.items():
                    of[what] = {
                        r.partition(":")[2]: _region(results, name, method, r)
                        for r in results.regions(kind)
                    }
            entry[_name(method)] = of
        return entry

    def by_method(values):
        return {_name(method): of for method in methods if (of := values(method))}

    errors = results.error_histogram
    return SimpleNamespace(
        made=results.made,
        paired=results.paired,
        provenance=results.provenance,
        data=results.data
        | {
            "mr_subjects": list(slices),
            "mr_slices": sum(slices.values()),
            "ct_subjects": list(results.data["ct_subjects"]),
            "ct_slices": sum(results.data["ct_subjects"].values()),
        },
        answers=tuple(map(_name, methods)),
        distribution=by_method(lambda m: table("distribution", m)),
        consistency=by_method(lambda m: table("consistency", m)),
        errors=by_method(lambda m: table("paired", m)) or None,
        subjects=[subject(name) for name in results.subjects],
        histograms=results.histograms,
        spectra=results.spectra,
        error_histogram=errors and errors | {MODEL: errors.get(NETWORK)},
        best_baseline=results.best_baseline,
        judged=results.judged,
        outside=results.outside,
        people_in_common=results.people_in_common,
        **{
            what: by_method(lambda m, kind=kind: part(kind, m)) or None
            for what, kind in _KINDS.items()
        },
    )


def _finite(value):
    return value if math.isfinite(value) else None


def _name(method):
    return MODEL if method == NETWORK else method


def _region(results, subject, method, region):
    mae = results.values("mae", method, region)
    if subject not in mae:
        return None
    return {
        "mae": mae[subject],
        "me": results.values("me", method, region)[subject],
        "voxels": results.values("voxels", REFERENCE_CT, region)[subject],
        "true_mean": results.values("mean_hu", REFERENCE_CT, region).get(subject),
    }
