"""Freed memory is kept where glibc would give it back."""

import subprocess
import sys

import pytest

STEPS = """
import resource
import numpy as np
from pipeline.memory import keep_freed_memory

def step():
    for _ in range(3):
        [np.ones(2**20) for _ in range(8)]

{before}
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(before: str) -> int:
    """Pages that the system had to give to a second step."""
    done = subprocess.run([sys.executable, "-c", STEPS.format(before=before)], check=True, capture_output=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is absent")
def test_a_step_gets_the_memory_that_the_one_before_it_freed() -> None:
    assert faults("keep_freed_memory()") < 100 < 10_000 < faults("")
