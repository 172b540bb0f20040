"""Compares two versions on the same images: whether they agree, and how long they take."""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chest_xray_ops.terminal import progress_bar
from chest_xray_ops.torchserve.client import ServerError, TorchServeClient


def compare(
    client: TorchServeClient, default: str, other: str, images: Sequence[Path], concurrency: int
) -> dict[str, Any]:
    """Ask both versions about every image, one after the other. Callers keep their answers, but
    share the machine with the comparison.

    Args:
        client: asks the server.
        default: the version that answers callers.
        other: the version to compare it with.
        images: files of encoded images.
        concurrency: images at a time.

    Returns:
        The share of equal labels, how far probabilities differ, and each version's latency in ms.
    """

    def ask(image: Path) -> list[tuple[dict[str, Any], float]]:
        data = image.read_bytes()
        return [_timed(client, data, version) for version in (default, other)]

    with progress_bar() as bar, ThreadPoolExecutor(concurrency) as callers:
        task = bar.add_task(f"{default} and {other}", total=len(images))
        pairs = []
        for pair in callers.map(ask, images):
            pairs.append(pair)
            bar.advance(task)
    answers = [tuple(answer for answer, _ in pair) for pair in pairs]
    both = [(a, b) for a, b in answers if "label" in a and "label" in b]
    apart = [
        max(
            abs(a["probabilities"][label] - b["probabilities"][label])
            for label in a["probabilities"]
        )
        for a, b in both
    ]
    changes: dict[str, int] = {}
    for a, b in answers:
        if (before := _outcome(a)) != (after := _outcome(b)):
            changes[f"{before} -> {after}"] = changes.get(f"{before} -> {after}", 0) + 1
    return {
        "images": len(pairs),
        "agreement": round(1 - sum(changes.values()) / len(pairs), 4),
        "changes": changes,
        "probability apart, mean": round(statistics.fmean(apart), 4) if apart else None,
        "probability apart, most": round(max(apart), 4) if apart else None,
        **{
            f"{version} p50 / p99 ms": "{:.1f} / {:.1f}".format(*_percentiles(times))
            for version, times in zip(
                (default, other),
                zip(*[[seconds for _, seconds in pair] for pair in pairs], strict=True),
                strict=True,
            )
        },
    }


def _timed(client: TorchServeClient, data: bytes, version: str) -> tuple[dict[str, Any], float]:
    """An answer, be it an error's, and the seconds that it took."""
    start = time.perf_counter()
    try:
        answer = client.predict(data, version)
    except ServerError as error:
        answer = error.body if isinstance(error.body, dict) else {"code": str(error.status)}
    return answer, time.perf_counter() - start


def _outcome(answer: dict[str, Any]) -> str:
    """The label of an answer, or the code of an error."""
    return str(answer.get("label") or answer.get("code"))


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return 1000 * statistics.median(ordered), 1000 * ordered[int(0.99 * (len(ordered) - 1))]
