"""Measure this server next to others on this machine, in one run and in turns.

examples:
  chest-xray benchmark
  chest-xray benchmark --rounds 3 --seconds 2 --only servers --servers ours gunicorn
  chest-xray benchmark --only inputs versions

Needs a clone of the project and wrk (Debian: apt install wrk). Each of the other servers is
installed into a folder of its own under build/benchmark. Figures are medians of the rounds; compare
them within one run only. Leaves benchmark.json, benchmark.md and plots in OUT.
"""

import argparse
import json
import shutil
from pathlib import Path

from benchmark_peers import report
from benchmark_peers.suites import SUITES, Benchmark, machine
from chest_xray.machine import cores
from chest_xray_ops.failure import Refused
from chest_xray_ops.places import ROOT
from chest_xray_ops.terminal import print_json, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES)
    parser.add_argument("--servers", nargs="+", default=[], help="beginnings of their names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--workers", type=int, default=cores(), help="processes of each server")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmark")


def run(args: argparse.Namespace) -> int:
    if not shutil.which("wrk"):
        raise Refused("wrk is not installed (Debian: apt install wrk)")
    benchmark = Benchmark(args.rounds, args.seconds, args.workers)
    file = args.out / "benchmark.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    args.out.mkdir(parents=True, exist_ok=True)
    for suite in args.only:
        measure = getattr(benchmark, suite)
        rows = measure(args.servers) if suite == "servers" else measure()
        about = {"rounds": args.rounds, "seconds": args.seconds, "workers": args.workers}
        known[suite] = {"machine": machine(), **about, "rows": rows}
        file.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    text = report.markdown(known)
    (args.out / "benchmark.md").write_text(text, encoding="utf-8")
    report.plots(known, args.out)
    say(text)
    print_json({suite: known[suite] for suite in args.only})
    return 0
