"""No server at all: how many images a second the cores decode, transform and infer."""

import json
import os
import statistics
import sys
import time
from multiprocessing import get_context
from typing import Any

BATCH = 8


def measure(image: bytes, seconds: float, processes: int) -> dict[str, float]:
    """Images per second of so many processes in batches of 8, and milliseconds of one image alone
    in one of them."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, _prepare, (barrier,)) as pool:
        # One task per process: each waits until all others have theirs.
        counts = pool.starmap(_work, [(image, seconds)] * processes, chunksize=1)
        [alone] = pool.starmap(_one_by_one, [(image, seconds)])
    return {"images_per_s": sum(counts) / seconds, "one_image_ms": alone}


_code: Any = None
_barrier: Any = None


def _prepare(barrier: Any) -> None:
    global _code, _barrier
    from benchmark_peers import work

    _code, _barrier = work.from_environment(), barrier


def _work(image: bytes, seconds: float) -> int:
    for _ in range(3):
        _code.infer([_code.decode(image)] * BATCH)
    _barrier.wait()
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        _code.infer([_code.decode(image) for _ in range(BATCH)])
        count += BATCH
    return count


def _one_by_one(image: bytes, seconds: float) -> float:
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        _code.infer([_code.decode(image)])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    print(
        json.dumps(measure(sys.stdin.buffer.read(), float(sys.argv[1]), int(os.environ["WORKERS"])))
    )
