"""Text report of a plan, for a terminal."""

import math
from collections import Counter

from input_pipeline.dataset.augment import image_size
from synthct_jax.performance.plan.chips import HOP_SECONDS, HOP_SOURCE
from synthct_jax.performance.plan.collectives import Collective
from synthct_jax.performance.plan.step_plan import StepPlan


def format_report(plan: StepPlan) -> str:
    """Return memory, work, collectives and times of a step, and what times assume."""
    sections = [
        _head(plan),
        _memory(plan),
        [
            "work of a device",
            f"  {'convolutions, matrix products, TFLOP':38}{plan.flops / 1e12:9.3f}",
        ],
        _collectives(plan.collectives),
        _times(plan),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def _head(plan: StepPlan) -> list[str]:
    train, model = plan.config.train, plan.config.model
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    used = math.prod(plan.mesh.values())
    of = "" if used == plan.devices else f" of {plan.devices}"
    seeds = plan.config.mesh.seeds
    members = f" for each of {seeds} members" if seeds > 1 else ""
    several = train.accumulate > 1
    microbatches = f" in {train.accumulate} microbatches" if several else ""
    remat = ", residual blocks recomputed for gradients" if model.remat else ""
    neighbours = " and its neighbours along space" if plan.mesh["space"] > 1 else ""
    size = image_size(plan.config.data)
    return [
        f"{used}{of} devices ({plan.kind}), mesh: {mesh}",
        f"{size} x {size} pixels, {model.dtype}{remat}",
        f"{train.global_batch} images of each domain a step{members}{microbatches}: "
        f"{plan.microbatch} at a time on a device{neighbours}",
        f"compiled in {plan.compile_seconds:.0f} s",
    ]


def _memory(plan: StepPlan) -> list[str]:
    memory = plan.memory
    rows = {
        "arguments: state and batch": memory.arguments,
        "outputs: state and losses": memory.outputs,
        "outputs in place of arguments": -memory.aliased,
        "peak of all arrays": memory.arrays,
        "program": memory.program,
        "peak": memory.peak,
    }
    lines = [f"  {name:38}{size / 2**30:9.3f}" for name, size in rows.items()]
    if plan.chip:
        lines[-1] += f"  of {plan.chip.memory_bytes / 2**30:.0f}"
    return ["memory of a device, GiB", *lines]


def _collectives(collectives: tuple[Collective, ...]) -> list[str]:
    if not collectives:
        return ["collectives: none"]
    counts, totals, largest = Counter(), Counter(), Counter()
    for c in collectives:
        row = (c.kind, "+".join(c.axes), c.group_size)
        counts[row] += c.count
        totals[row] += c.count * c.bytes
        largest[row] = max(largest[row], c.bytes)
    lines = [
        f"{'collectives of a device':24}{'axes':>12}{'among':>7}{'count':>8}"
        f"{'total, MB':>12}{'largest, MB':>13}"
    ]
    for row, total in totals.most_common():
        kind, axes, group_size = row
        lines.append(
            f"  {kind:22}{axes:>12}{group_size:>7}{counts[row]:>8}{total / 1e6:>12.3f}"
            f"{largest[row] / 1e6:>13.3f}"
        )
    return lines


def _times(plan: StepPlan) -> list[str]:
    chip = plan.chip
    if chip is None:
        return [f"times: unknown, no figures are published of {plan.kind} devices"]
    rows = {
        "computation at the published peak": plan.compute_seconds,
        "collectives": plan.collective_seconds,
        "least: both, one after the other": plan.least_seconds,
        "expected: the compiler's cycles": plan.expected_seconds,
    }
    lines = ["time of a step, ms"]
    for name, seconds in rows.items():
        if seconds is not None:
            lines.append(f"  {name:38}{seconds * 1e3:9.2f}")
            if name.startswith(("least", "expected")):
                rate = plan.config.mesh.seeds * plan.config.train.global_batch / seconds
                lines[-1] += f"  {rate:.1f} slices/s"
    clock = f", {chip.clock / 1e9:.2f} GHz" if chip.clock else ""
    return [
        *lines,
        "",
        f"assumed: {chip.peak_flops / 1e12:.0f} TFLOP/s in bfloat16, to which "
        f"convolutions round float32; {chip.links} ICI links of "
        f"{chip.link_rate / 1e9:.0f} GB/s in each direction{clock}",
        f"  source: {chip.source}",
        f"  {HOP_SECONDS * 1e6:.0f} us a hop: {HOP_SOURCE}",
    ]
