"""A process that hangs ends and says where; one that is slow to start does not."""

import subprocess
import sys

CODE = """
import sys, time
from synthct_jax.watchdog import Watchdog

def stuck_in_a_collective(seconds):
    time.sleep(seconds)

with Watchdog(float(sys.argv[1])) as watchdog:
    for sign in sys.argv[2:]:
        if sign == "alive":
            watchdog.alive()
        elif sign == "sleep":
            watchdog.sleep()
        else:
            stuck_in_a_collective(float(sign))
time.sleep(1)
print("the end")
"""


def watched(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_silence_ends_the_process_with_all_stacks():
    done = watched("0.5", "alive", "30")
    assert done.returncode == 1
    assert "stuck_in_a_collective" in done.stderr
    assert "the end" not in done.stdout


def test_it_sleeps_until_the_first_sign_of_life():
    done = watched("0.5", "1", "alive")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the end\n"


def test_it_sleeps_when_told_to_until_the_next_sign_of_life():
    done = watched("0.5", "alive", "sleep", "1")
    assert done.returncode == 0, done.stderr
    done = watched("0.5", "alive", "sleep", "alive", "30")
    assert done.returncode == 1


def test_signs_of_life_keep_it_quiet():
    signs = ["alive", "1.2"] * 4
    done = watched("2", *signs)
    assert done.returncode == 0, done.stderr


def test_it_can_be_switched_off():
    done = watched("0", "alive", "1")
    assert done.returncode == 0, done.stderr
