"""Rows of the benchmark -> a page and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAMES = ("server", "input", "callers")
"""Keys of a row that say what was measured; all others are figures."""
_TITLES = {
    "servers": "Servers, JPEG 1024 x 1024 as bytes",
    "callers": "From one caller to many",
    "inputs": "Images and requests, 32 callers",
    "urls": "imageUrl, 64 callers",
    "versions": "Versions and workers, 32 callers",
    "device": "Where the time goes",
}

Rows = Sequence[Mapping[str, Any]]


def markdown(known: Mapping[str, Any]) -> str:
    """One table per suite."""
    lines = ["# Benchmark", "", "Made by `make benchmark`. Medians of interleaved rounds on one"]
    lines += ["machine, which is noisy: compare within a table.", ""]
    for suite, title in _TITLES.items():
        if suite not in known:
            continue
        found = known[suite]
        machine = found["machine"]
        lines += [
            f"## {title}",
            "",
            f"{machine['cores']} cores of {machine['processor']}, "
            f"{machine['gpu'] + ', ' if machine.get('gpu') else ''}Python {machine['python']}, "
            f"{found['workers']} processes, {found['rounds']} rounds of {found['seconds']:g} s.",
            "",
            *_TABLES.get(suite, _plain)(found["rows"]),
            "",
        ]
    return "\n".join(lines)


def _servers(rows: Rows) -> list[str]:
    """A line per server: throughput by callers, then the latency of one, memory and start."""
    callers = sorted({row["callers"] for row in rows if "callers" in row})
    head = [
        "server",
        *(f"requests/s, {count} callers" for count in callers),
        "p50 / p99 of 1 caller, ms",
        "memory, MB",
        "start, s",
    ]
    table = [head, ["---"] * len(head)]
    for name in dict.fromkeys(row["server"] for row in rows):
        mine = [row for row in rows if row["server"] == name]
        if "images_per_s" in mine[0]:
            limit = f"{mine[0]['images_per_s']:.0f} (no server)"
            one = f"{mine[0]['one_image_ms']:.1f}"
            table.append([name, *[limit] * len(callers), one, "", ""])
            continue
        by_callers = {row["callers"]: row for row in mine if "callers" in row}
        whole: Mapping[str, Any] = next((row for row in mine if "start_s" in row), {})
        alone = by_callers.get(callers[0], {"p50_ms": 0, "p99_ms": 0})
        table.append(
            [
                name,
                *(_throughput(by_callers.get(count)) for count in callers),
                f"{alone['p50_ms']:.1f} / {alone['p99_ms']:.1f}",
                f"{whole.get('memory_mb', 0):.0f}",
                f"{whole.get('start_s', 0):.1f}",
            ]
        )
    return [f"| {' | '.join(row)} |" for row in table]


def _throughput(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['per_s']:.0f}" + (f" ({row['failed']:.0f} failed)" if row["failed"] else "")


def _plain(rows: Rows) -> list[str]:
    table = [["what", "callers", "requests/s", "p50, ms", "p99, ms"], ["---"] * 5]
    for row in rows:
        if "callers" in row:
            what = ", ".join(row[key] for key in ("server", "input") if key in row)
            table.append(
                [what, str(row["callers"]), _throughput(row)]
                + [f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms")]
            )
    return [f"| {' | '.join(row)} |" for row in table]


def _stages(rows: Rows) -> list[str]:
    """Milliseconds of an image's decoding, and of a batch in the network and in the handler."""
    head = ["what", "callers", "requests/s", "p50, ms", "decode", "network", "handler", "batch"]
    table = [head, ["---"] * len(head)]
    for row in rows:
        if "decoded_per_s" in row:
            table.append(["decoding alone", "", f"{row['decoded_per_s']:.0f}", *[""] * 5])
            table.append(["the network alone", "", f"{row['read_per_s']:.0f}", *[""] * 5])
        elif "callers" in row:
            figures = ("p50_ms", "decode_ms", "inference_ms", "handler_ms", "batch")
            table.append(
                [row["server"], str(row["callers"]), _throughput(row)]
                + [f"{row[key]:.1f}" for key in figures]
            )
    return [f"| {' | '.join(row)} |" for row in table]


_TABLES = {"servers": _servers, "device": _stages}


def plots(known: Mapping[str, Any], folder: Path) -> None:
    """Throughput of every server as bars, and ours by callers as a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    if "servers" in known:
        rows = known["servers"]["rows"]
        figure, axes = plt.subplots(figsize=(8, 7), layout="constrained")
        names = list(dict.fromkeys(row["server"] for row in rows))[::-1]
        most = max(row["callers"] for row in rows if "callers" in row)
        shown = {
            row["server"]: row.get("per_s", row.get("images_per_s"))
            for row in rows
            if row.get("callers") == most or "images_per_s" in row
        }
        axes.barh(names, [shown.get(name, 0) for name in names])
        axes.set_xlabel(f"requests per second, {most} callers, JPEG 1024 x 1024")
        figure.savefig(folder / "servers.png", dpi=100)
        plt.close(figure)
    if "callers" in known:
        rows = [row for row in known["callers"]["rows"] if "callers" in row]
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        axes.plot([row["callers"] for row in rows], [row["per_s"] for row in rows], marker="o")
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("callers")
        axes.set_ylabel("requests per second")
        figure.savefig(folder / "callers.png", dpi=100)
        plt.close(figure)
