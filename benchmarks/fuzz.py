"""Check random networks against the fuzzer's reference, and count what is wrong, refused, frozen.

    python benchmarks/fuzz.py --networks 5000 --processes 2

Writes results/fuzz.json. `make test-slow` does the same and fails where this only counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import torch

from harness import write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing.checking import check, expects_choice
from fuzzing.networks import BLOCKS, random_net

PART = 50


def checked(first: int, count: int) -> Counter[str]:
    """Check networks by number, with two plans each."""
    torch.set_num_threads(1)
    found: Counter[str] = Counter()
    for number in range(first, first + count):
        net = random_net(number)
        found["networks"] += 1
        try:
            outcome = check(net)
        except Exception as error:
            found["wrong"] += 1
            print(f"{number}: {error}\n    {net!r}", flush=True)
            continue
        found["plans"] += 2
        found["refused"] += bool(outcome.refusals)
        for refusal in outcome.refusals:
            print(f"{number}: {refusal.splitlines()[0]}\n    {net!r}", flush=True)
        if expects_choice(net):
            found["dims"] += outcome.dims
            found["frozen dims"] += len(outcome.frozen)
            for each in outcome.frozen:
                reason = each.split(": ", 1)[1]
                found[f"frozen: {reason.split(' in ')[0]}: {reason.split(': ', 1)[-1]}"] += 1
    return found


def main() -> None:
    """Check them all and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=5_000)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    start = time.perf_counter()
    found: Counter[str] = Counter()
    with ProcessPoolExecutor(given.processes) as pool:
        for part in pool.map(checked, range(0, given.networks, PART), repeat(PART)):
            found += part
    path = write(
        "fuzz",
        {
            "building blocks": len(BLOCKS),
            **{key: found[key] for key in ("networks", "plans", "wrong", "refused", "dims")},
            "frozen dims": found["frozen dims"],
            "frozen by": {
                key.removeprefix("frozen: "): count
                for key, count in found.most_common()
                if key.startswith("frozen: ")
            },
            "seconds": round(time.perf_counter() - start),
        },
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
