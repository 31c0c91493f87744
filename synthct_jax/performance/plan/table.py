"""Many plans as the rows of a table.

A row is a line: a topology, then fields of the configuration (v5e:4x4
train.global_batch=64 mesh.space=4); `## TITLE` begins a table, `#` a comment.
"""

import ast
import dataclasses
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from synthct_jax.performance.plan import chips, plan

_COLUMNS = (
    "topology",
    "pixels",
    "dtype",
    "images a step",
    "at a time",
    "else",
    "memory, GiB",
    "TFLOP",
    "HBM, GB",
    "exchanged, MB",
    "compute, ms",
    "HBM, ms",
    "exchange, ms",
    "slices/s at most",
    "expected, ms",
    "slices/s expected",
)
_SHOWN = ("data.size", "model.dtype", "train.global_batch")  # in columns of their own


def write_tables(shared: ConfigDict, rows: Path, results: Path) -> None:
    """Prints the tables of `rows` in Markdown.

    Args:
        shared: the configuration that rows differ from.
        results: JSON lines of what was compiled; is added to, and read first: what was
            compiled of the same configuration, with the same libraries, is not again.
    """
    of = {"config": shared.to_dict(), "versions": _versions()}
    of = json.loads(json.dumps(of))  # as it is read back
    done = _read(results, of)
    for line in rows.read_text().splitlines():
        if line.startswith("##"):
            print(f"\n{line}\n\n| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|")
        elif line.strip() and not line.startswith("#"):
            if line not in done:
                done[line] = _compile(line, shared)
                with results.open("a") as file:
                    file.write(json.dumps({"row": line, "of": of, **done[line]}) + "\n")
            print(markdown(line, done[line]), flush=True)


def _read(results: Path, of: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["row"]: row for row in rows if row["of"] == of}


def _versions() -> dict[str, str]:
    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    compilers = sorted(names & {"jax", "jaxlib", "libtpu"})
    return {name: importlib.metadata.version(name) for name in compilers}


def _compile(line: str, shared: ConfigDict) -> dict[str, Any]:
    """The plan of a row as JSON has it, or why there is none."""
    topology, fields = _parse(line)
    config = shared.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    print(line, file=sys.stderr, flush=True)
    try:
        return {
            "plan": dataclasses.asdict(plan.plan(config, chips.devices_of(topology)))
        }
    except plan.DoesNotFit as error:
        asked = config.data.size, config.model.dtype, config.train.global_batch
        return {"refused": str(error).partition(":")[0], "asked": asked}


def _parse(line: str) -> tuple[str, dict[str, Any]]:
    topology, *fields = line.split()
    found = {}
    for field in fields:
        name, _, value = field.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            found[name] = value
    return topology, found


def markdown(line: str, found: dict[str, Any]) -> str:
    """A row of the table: of the line, and of what was found when it was compiled."""
    topology, fields = _parse(line)
    rest = ", ".join(
        f"{name.split('.')[1]} {value}"
        for name, value in fields.items()
        if name not in _SHOWN
    )
    if "refused" in found:
        cells = [topology, *found["asked"], "", rest, found["refused"], *[""] * 9]
        return f"| {' | '.join(map(str, cells))} |"
    one = plan.from_dict(found["plan"])
    expected = one.expected_seconds
    cells = [
        topology,
        one.size,
        one.dtype,
        one.global_batch,
        one.images_at_a_time,
        rest,
        f"{one.memory.peak / 2**30:.2f}",
        f"{one.flops / 1e12:.2f}",
        f"{one.bytes_moved / 1e9:.1f}",
        f"{sum(c.bytes * c.count for c in one.collectives) / 1e6:.0f}",
        f"{one.compute_seconds * 1e3:.1f}",
        f"{one.memory_seconds * 1e3:.1f}",
        f"{one.collective_seconds * 1e3:.1f}",
        f"{one.global_batch / one.step_seconds:.0f}",
        f"{expected * 1e3:.0f}" if expected else "",
        f"{one.global_batch / expected:.0f}" if expected else "",
    ]
    return f"| {' | '.join(map(str, cells))} |"
