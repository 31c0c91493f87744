"""A plan in words and numbers, for a terminal."""

from collections import Counter

from synthct_jax.performance.plan.chips import HOP_SECONDS, HOP_SOURCE
from synthct_jax.performance.plan.collectives import Collective
from synthct_jax.performance.plan.plan import Plan


def report(plan: Plan) -> str:
    """The plan of one step, with all that its times assume."""
    return "\n".join(
        [
            *_head(plan),
            "",
            *_memory(plan),
            "",
            *_work(plan),
            "",
            *_collectives(plan.collectives),
            "",
            *(_times(plan) if plan.chip else _no_times(plan)),
            *_operations(plan),
        ]
    )


def _head(plan: Plan) -> list[str]:
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    used = plan.mesh["data"] * plan.mesh["fsdp"] * plan.mesh["space"]
    of = "" if used == plan.devices else f" of {plan.devices}"
    parts = f", in {plan.accumulate} parts" if plan.accumulate > 1 else ""
    remat = ", residual blocks computed again for gradients" if plan.remat else ""
    return [
        f"{used}{of} devices ({plan.kind}), mesh: {mesh}",
        f"{plan.size} x {plan.size} pixels, {plan.dtype}{remat}",
        f"{plan.global_batch} images of each domain a step{parts}: "
        f"{plan.images_at_a_time} at a time on a device"
        + (" and its neighbours along space" if plan.mesh["space"] > 1 else ""),
        f"compiled in {plan.compile_seconds:.0f} s",
    ]


def _memory(plan: Plan) -> list[str]:
    memory = plan.memory
    lines = [
        ("arguments: state and batch", memory.arguments),
        ("outputs: state and losses", memory.outputs),
        ("of both in the same place", -memory.aliased),
        ("arrays held at once, at most", memory.arrays),
        ("program", memory.program),
        ("peak", memory.peak),
    ]
    of = f"  of {plan.chip.memory_bytes / 2**30:.0f}" if plan.chip else ""
    return ["memory of a device, GiB"] + [
        f"  {name:38}{size / 2**30:9.3f}{of if name == 'peak' else ''}"
        for name, size in lines
    ]


def _work(plan: Plan) -> list[str]:
    return [
        "work of a device",
        f"  {'convolutions, matrix products, TFLOP':38}{plan.flops / 1e12:9.3f}",
        f"  {'main memory read and written, GB':38}{plan.bytes_moved / 1e9:9.3f}",
    ]


def _collectives(found: tuple[Collective, ...]) -> list[str]:
    if not found:
        return ["collectives: none"]
    counts, moved, largest = Counter(), Counter(), Counter()
    for one in found:
        row = (one.kind, "+".join(one.axes), one.group)
        counts[row] += one.count
        moved[row] += one.count * one.bytes
        largest[row] = max(largest[row], one.bytes)
    lines = [
        f"{'collectives of a device':24}{'axes':>12}{'of':>5}{'count':>8}"
        f"{'MB in all':>12}{'largest, MB':>13}"
    ]
    for row, total in moved.most_common():
        kind, axes, group = row
        lines.append(
            f"  {kind:22}{axes:>12}{group:>5}{counts[row]:>8}{total / 1e6:>12.3f}"
            f"{largest[row] / 1e6:>13.3f}"
        )
    return lines


def _times(plan: Plan) -> list[str]:
    chip, step = plan.chip, plan.step_seconds
    lines = [
        "step at the published peaks, ms",
        f"  {'computation':38}{plan.compute_seconds * 1e3:9.2f}",
        f"  {'main memory':38}{plan.memory_seconds * 1e3:9.2f}",
        f"  {'collectives':38}{plan.collective_seconds * 1e3:9.2f}",
        f"  {'the larger of two, and collectives':38}{step * 1e3:9.2f}"
        f"  at most {plan.global_batch / step:.1f} slices/s",
    ]
    if expected := plan.expected_seconds:
        lines.append(
            f"  {'by the cycles the compiler expects':38}{expected * 1e3:9.2f}"
            f"  {plan.global_batch / expected:.1f} slices/s"
        )
    clock = f", {chip.clock / 1e9:.2f} GHz" if chip.clock else ""
    return [
        *lines,
        "",
        f"assumed: {chip.peak_flops / 1e12:.0f} TFLOP/s in bfloat16, which float32 is "
        f"rounded to in convolutions; {chip.memory_bytes / 2**30:.0f} GiB of HBM at "
        f"{chip.memory_rate / 1e9:.0f} GB/s; {chip.links} ICI links of "
        f"{chip.link_rate / 1e9:.0f} GB/s in each direction{clock}",
        f"  source: {chip.source}",
        f"  {HOP_SECONDS * 1e6:.0f} us a hop: {HOP_SOURCE}",
    ]


def _operations(plan: Plan) -> list[str]:
    if plan.cycles is None or plan.chip is None or plan.chip.clock is None:
        return []
    ms = 1e3 / plan.chip.clock
    share = plan.matrix_cycles / plan.cycles
    return [
        "",
        f"costliest operations, as the compiler expects; {share:.0%} of all is on the "
        "matrix unit",
        f"  {'ms':>7}{'GB':>7}{'times':>7}  made of",
        *(
            f"  {one.cycles * ms:7.2f}{one.bytes / 1e9:7.2f}{one.count:7}  {one.kind}: "
            f"{one.source or 'the compiler'}"
            for one in plan.operations
        ),
    ]


def _no_times(plan: Plan) -> list[str]:
    return [f"no times: nothing is published of {plan.kind} devices"]
