"""Results by metric, method and region, out of their nested dictionaries."""

from types import SimpleNamespace

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.results import ANSWERS, MODEL, Results

NETWORK = MODEL
METHODS = ANSWERS
BODY = "body"
DISTRIBUTION, CONSISTENCY, PAIRED = "distribution", "consistency", "paired"
_KINDS = {"tissue": "tissues", "band": "bands", "border": "regions"}
HEADLINES = "frechet_haar_v1 kl_real_synthetic spectral_distance jumps_median".split()


def _interval(entry):
    if entry is None:
        return None
    value = entry["value"] if "value" in entry else entry["mean"]
    return SimpleNamespace(
        value=value, low=entry["low"], high=entry["high"], n=entry.get("n")
    )


class ResultsView:
    def __init__(self, results: Results):
        self._results = results
        self.histograms = results.histograms
        self.error_histogram = results.error_histogram
        self.spectra = results.spectra
        self.made, self.provenance = results.made, results.provenance
        self.paired = bool(results.errors)
        self.methods = results.answers
        self.subjects = [entry["name"] for entry in results.subjects]
        ct = dict.fromkeys(results.data["ct_subjects"], 0)
        ct[next(iter(ct))] = results.data["ct_slices"]
        first = next(iter(results.distribution[MODEL].values()))
        floor = first["floor"]
        self.data = results.data | {
            "mr_subjects": {e["name"]: e["slices"] for e in results.subjects},
            "ct_subjects": ct,
            "halves": {
                "synthetic": [first["subjects"][0], first["slices"][0]],
                "real": [first["subjects"][1], first["slices"][1]],
                "first_real": floor["subjects"][0] if floor else None,
            },
        }

    def metrics(self, group):
        tables = {
            DISTRIBUTION: self._results.distribution[MODEL],
            CONSISTENCY: self._results.consistency[MODEL],
            PAIRED: (self._results.errors or {}).get(MODEL, {}),
        }
        return list(tables[group])

    def regions(self, kind):
        table = getattr(self._results, _KINDS[kind]) or {}
        return [f"{kind}:{name}" for name in table.get(MODEL, {})]

    def interval(self, metric, method=NETWORK, region=BODY):
        kind, _, name = region.partition(":")
        if name:
            table = getattr(self._results, _KINDS[kind]) or {}
            entry = table.get(method, {}).get(name)
            if metric == "voxels":
                table = table.get(MODEL, {})
                return SimpleNamespace(value=table[name]["voxels"])
            return _interval(entry and entry[metric])
        r = self._results
        for table in (r.distribution, r.consistency, r.errors or {}):
            if metric in table.get(method, {}):
                return _interval(table[method][metric])
        return None

    def values(self, metric, method=NETWORK, region=BODY):
        kind, _, name = region.partition(":")
        found = {}
        for entry in self._results.subjects:
            of = entry.get(method, {})
            if name:
                of = (of.get(_KINDS[kind]) or {}).get(name) or {}
                if metric == "voxels":
                    of = ((entry[MODEL].get(_KINDS[kind]) or {}).get(name)) or {}
            else:
                of = of.get("body", {}) | of.get("consistency", {})
            if metric in of:
                found[entry["name"]] = of[metric]
        return found

    def _entry(self, metric):
        r = self._results
        return r.distribution[MODEL].get(metric) or r.consistency[MODEL].get(metric, {})

    def reference_range(self, metric):
        return _interval(self._entry(metric).get("floor"))

    def is_outside(self, metric):
        return self._entry(metric).get("outside")

    def outside(self):
        return self._results.outside()

    def judged(self):
        return self._results.judged()

    def best_baseline(self):
        return self._results.best_baseline()

    def people_in_common(self):
        return self._results.people_in_common()


def named(metric, region=BODY):
    return metric_definitions.named(metric)
