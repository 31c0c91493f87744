"""Print all collectives of compiled training steps on virtual devices, as a program.

    JAX_NUM_CPU_DEVICES=8 python tests/support/step_collectives.py PLATFORM LAYOUT...

prints a line of JSON for each layout (devices,data,fsdp,space or with seeds behind),
for the step as it is written for a platform.
"""

import dataclasses
import functools
import json
import sys

import jax
from tiny_run import tiny_config

from synthct_jax.model import methods
from synthct_jax.performance.plan.step_plan import plan_step

BATCH, SIZE, WIDTH = 8, 64, 8


def step_config(data=1, fsdp=1, space=1, seeds=1):
    config = tiny_config(global_batch=BATCH)
    config.data.size = SIZE
    config.model.update(width=WIDTH, blocks=2, discriminator_width=WIDTH)
    config.mesh.update(data=data, fsdp=fsdp, space=space, seeds=seeds)
    return config


def print_collectives(platform, *layouts):
    methods.from_config = functools.partial(methods.from_config, platform=platform)
    for layout in layouts:
        count, *axes = map(int, layout.split(","))
        plan = plan_step(step_config(*axes), jax.devices()[:count])
        rows = [dataclasses.asdict(collective) for collective in plan.collectives]
        print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    print_collectives(*sys.argv[1:])
