"""What the documents say is what the project does."""

import functools
import json
import operator
import re
import subprocess
from dataclasses import MISSING, fields

import numpy as np
import pytest
import yaml
from PIL import Image

from chest_xray.errors import STATUS
from chest_xray.settings import Settings
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.settings import OperatorSettings
from chest_xray_training.metrics import wilson_interval
from support.documents import DOCUMENTS, README, anchors, commands, lines_to_run, links, text
from support.paths import ROOT
from support.thorax import draw_thorax

RUN_BY_A_TEST = re.compile(
    r"([A-Z_]+=\S+ )*((\.venv/bin/)?chest-xray |make |curl |sudo python3 scripts/)"
)
PATH = re.compile(
    r"`((?:config|docs|handler|model|reports|scripts|tests)/[\w./-]+|[A-Z_]+\.md|Dockerfile|NOTICE)`"
)


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_every_command_is_run_or_says_why_not():
    for command in commands():
        assert command.excuse or RUN_BY_A_TEST.match(command.line), command


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(lines_to_run())))
    assert {"serve", "test"} <= named <= targets


def test_ci_calls_the_test_command_of_the_readme():
    called = re.findall(r"\bmake ([a-z ]+)", (ROOT / ".ci" / "run").read_text())
    assert "test" in called[-1].split()
    assert "make test" in README


def test_make_lines_are_understood():
    lines = [line for line in lines_to_run() if re.search(r"\bmake ", line)]
    assert len(lines) > 5
    for line in lines:
        subprocess.run(
            line.replace("make ", "make --dry-run "),
            shell=True,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document):
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for path in PATH.findall(document.read_text(encoding="utf-8")):
        assert "VERSION" in path or (ROOT / path).exists(), path


def test_the_modules_of_the_request_path_are_there():
    [tree] = re.findall(
        r"^handler/chest_xray/(classifier.+?)^```", text("design.md"), re.DOTALL | re.M
    )
    modules = re.findall(r"^ *(\w+\.py|\w+/)", tree, re.MULTILINE)
    assert len(modules) > 10
    for module in modules:
        assert (ROOT / "handler" / "chest_xray" / module).exists(), module


def test_every_error_code_is_listed():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text("api.md"), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {
        code: status.value for code, status in STATUS.items()
    }


def test_every_code_of_the_edge_is_listed():
    template = (ROOT / "config" / "nginx.conf").read_text(encoding="utf-8")
    sent = re.findall(r"""^ +(default|\d{3}) '\{"code": "(\w+)",""", template, re.MULTILINE)
    rows = re.findall(r"^\| (\w+) \| (\d{3}) \|", text("api.md"), re.MULTILINE)
    listed = {code: status for code, status in rows}
    assert listed == {code: status.replace("default", "400") for status, code in sent}


@pytest.mark.parametrize("kind", [Settings, EdgeSettings])
def test_every_setting_is_listed_with_its_default(kind):
    rows = re.findall(r"^\| (`.+?) \| ?(.*?) ?\| .+\|$", text("operate.md"), re.MULTILINE)
    listed = {}
    for names, defaults in rows:
        names = re.findall(r"`(\w+)`", names)
        for name, default in zip(names, defaults.split(", ") * len(names), strict=False):
            listed[name] = yaml.safe_load(default.strip("`")) if default else None
    for field in fields(kind):
        assert field.default is not MISSING
        default = field.default[0] if isinstance(field.default, tuple) and field.default else None
        if not isinstance(field.default, tuple):
            default = field.default or (None if field.default == "" else field.default)
        assert listed[field.name] == default, field.name


def test_every_variable_of_the_operator_is_listed():
    for field in fields(OperatorSettings):
        assert f"`{OperatorSettings.prefix}{field.name.upper()}`" in text("operate.md")


def test_intervals_follow_from_the_counts():
    rows = re.findall(r"([\d.]+) % \((\d+)/(\d+); ([\d.]+) to ([\d.]+)\)", README)
    assert rows
    for share, right, count, low, high in rows:
        right, count = int(right), int(count)
        assert float(share) == pytest.approx(100 * right / count, abs=0.05)
        bounds = [round(100 * bound, 1) for bound in wilson_interval(right, count)]
        assert [float(low), float(high)] == bounds


def test_figures_of_the_table_are_those_of_the_reports():
    """Each figure and its interval, for each version of the table."""
    [heads] = re.findall(r"^\| \|(.+)\|$", README, re.MULTILINE)
    versions = re.findall(r"\d\.\d", heads)
    reports = [
        json.loads((ROOT / "reports" / each / "evaluation.json").read_text("utf-8"))
        for each in versions
    ]
    adults, children = ("subgroups", "age group", "adults"), ("subgroups", "age group", "children")
    rows = {
        "adults, accuracy": (*adults, "accuracy"),
        "adults, normal found": (*adults, "sensitivity normal"),
        "adults, pneumonia found": (*adults, "sensitivity pneumonia"),
        "adults, covid-19 found": (*adults, "sensitivity covid-19"),
        "adults, balanced accuracy": (*adults, "balanced accuracy"),
        "children, accuracy": (*children, "accuracy"),
        "AUROC pneumonia / normal inside the NIH films": (
            "within_source_auroc",
            "pneumonia against normal, nih-chestxray8",
        ),
        "AUROC covid-19 / pneumonia inside ieee8023": (
            "within_source_auroc",
            "covid-19 against pneumonia, ieee8023",
        ),
        "all films, expected calibration error": ("figures", "ece"),
    }
    for name, path in rows.items():
        [cells] = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", README, re.MULTILINE)
        for cell, report in zip(cells.split("|"), reports, strict=True):
            found = functools.reduce(operator.getitem, path, report)
            scale, rounding = (100, 0.0501) if "%" in cell else (1, 0.000501)
            exact = [scale * found[key] for key in ("value", "low", "high")]
            shown = list(map(float, re.findall(r"\d+\.\d+", cell)))
            assert shown == pytest.approx(exact, abs=rounding), (name, cell)
    [cells] = re.findall(r"^\| all films, accuracy \|(.+)\|$", README, re.MULTILINE)
    for cell, report in zip(cells.split("|"), reports, strict=True):
        right, films = map(int, re.search(r"(\d+)/(\d+)", cell).groups())
        assert films == report["films"]
        assert right / films == pytest.approx(report["figures"]["accuracy"]["value"], abs=5e-5)
    counts = [report["subgroups"]["age group"] for report in reports]
    for group in ("adults", "children"):
        assert {f"{each[group]['films']} of {group}" in README for each in counts} == {True}


def test_the_benchmark_table_is_that_of_the_report():
    report = json.loads((ROOT / "reports" / "benchmark" / "benchmark.json").read_text())["servers"]
    measured = {}
    for row in report["rows"]:
        if "per_s" in row:
            measured.setdefault(row["server"], {})[row["callers"]] = round(row["per_s"])
    names = {
        "this one": "ours",
        "this one with 2 workers instead of 3": "ours, 2 workers",
        "TorchServe as it comes, with the original network and transform": "TorchServe, stock",
        "the same with one thread per worker": "TorchServe, threads tamed",
        "the original network and transform in gunicorn, the best of six other servers": "gunicorn",
        "our decoding and network in gunicorn": "gunicorn, our code",
        "our decoding and network in Ray Serve, the best of six other servers at 32": (
            "Ray Serve, our code"
        ),
    }
    for name, server in names.items():
        [cells] = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", text("design.md"), re.MULTILINE)
        assert [int(each) for each in cells.split("|")] == [
            measured[server][callers] for callers in (1, 8, 32)
        ]


def test_the_film_of_the_documents_is_the_drawn_one():
    with Image.open(ROOT / "docs" / "film.png") as image:
        committed = np.asarray(image, dtype=int)
    assert abs(committed - draw_thorax(committed.shape[0])).max() <= 1


def test_the_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    [version] = re.findall(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert citation["version"] == version
    assert citation["license"] in README.replace("Apache License 2.0", "Apache-2.0")
