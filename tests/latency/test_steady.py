"""What is held still while something is measured."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from widthwise.latency.steady import keep_memory, steady

FAULTS = """
import resource, torch
from widthwise.latency.steady import keep_memory

def faults():
    def once():
        held = [torch.ones(5_000_000 + i) for i in range(3)]
    for _ in range(3):
        once()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        once()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
print(keep_memory(), usual, faults())
"""


def test_memory_that_is_freed_is_kept() -> None:
    """Three activations of 20 MB are taken from the system again and again, and then no more."""
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120
    )
    kept, usual, after = run.stdout.split()
    if kept == "False":
        pytest.skip("not glibc")
    if int(usual) < 1_000:
        pytest.skip("this system kept the memory without being told")
    assert int(after) < 0.05 * int(usual)


def test_threads_are_put_back() -> None:
    """Also after an error; and telling the system twice is telling it once."""
    before = torch.get_num_threads()
    with pytest.raises(KeyError), steady(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
    assert keep_memory() == keep_memory()
