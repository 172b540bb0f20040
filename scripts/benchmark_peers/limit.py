"""No server at all: how many images a second the cores decode, transform and infer, all together
and each for itself."""

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


def parts(image: bytes, seconds: float, processes: int) -> dict[str, float]:
    """Images per second that so many processes decode and transform, and that the network reads on
    the GPU if there is one, in batches that lie ready."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, _prepare, (barrier,)) as pool:
        counts = pool.starmap(_decode, [(image, seconds)] * processes, chunksize=1)
    with context.Pool(1) as pool:
        read = pool.apply(_read, (seconds,))
    return {"decoded_per_s": sum(counts) / seconds, "read_per_s": read}


def _decode(image: bytes, seconds: float) -> int:
    for _ in range(BATCH):
        _code.decode(image)
    _barrier.wait()
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        _code.decode(image)
        count += 1
    return count


def _read(seconds: float) -> float:
    import torch

    from benchmark_peers import work

    torch.set_num_threads(1)
    form = work.classifier(torch.device("cuda" if torch.cuda.is_available() else "cpu")).readings
    images = torch.rand(2 * BATCH, 1, 224, 224)
    count, start = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() < start + seconds:
            form(images)
            count += len(images)
    return count / (time.perf_counter() - start)


def _one_by_one(image: bytes, seconds: float) -> float:
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        _code.infer([_code.decode(image)])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """What is asked for by the first argument, as JSON."""
    what = {"all": measure, "parts": parts}[sys.argv[1]]
    figures = what(sys.stdin.buffer.read(), float(sys.argv[2]), int(os.environ["WORKERS"]))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
