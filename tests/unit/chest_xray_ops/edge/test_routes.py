"""The table of what passes the edge, and the lines of nginx's maps that come from it."""

import re
from dataclasses import replace

import pytest

from chest_xray_ops.edge.routes import ROUTES, Route, Server, maps
from chest_xray_ops.edge.settings import EdgeSettings
from support.paths import ROOT

BY_METHOD = [(route, method) for route in ROUTES for method in route.methods]
DOCUMENTED = re.compile(r"(?<![\w.:/])/(?:predictions|explanations|v1|todo|ping)(?:[/.:-]?\w+)*")
"""Paths of callers in the documents; those of management and monitoring are not the edge's."""


def line_of(text):
    """The pattern and the value of a line of one of nginx's maps of request lines."""
    pattern, value = re.fullmatch(r'"~(.*)" (.*);', text).groups()
    return re.compile(pattern.replace("(?<path>", "(?P<path>")), value.strip('"')


def values_for(name, request_line):
    """The values that the map of this name gives a request line, and the path that it captures."""
    lines = [line_of(text) for text in maps(ROUTES, EdgeSettings())[name]]
    matches = [(value, pattern.search(request_line)) for pattern, value in lines]
    return [(value, match["path"]) for value, match in matches if match]


def example(route):
    """A path of this route."""
    return route.path.replace("{model}", "chest-xray").replace("[/{version}]", "/3.0")


@pytest.mark.parametrize(
    ("route", "method"), BY_METHOD, ids=lambda value: getattr(value, "name", value)
)
def test_each_route_is_found_alone(route, method):
    path = example(route)
    for query in ("", "?any=thing"):
        line = f"{method} {path}{query} HTTP/1.1"
        assert values_for("routes", line) == [(route.name, path)]
        assert values_for("methods", line) == [(", ".join(route.methods), path)]
    line = f"BREW {path} HTTP/1.1"
    assert values_for("routes", line) == []
    assert values_for("methods", line) == [(", ".join(route.methods), path)]


def test_no_route_is_there_twice():
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({route.path for route in ROUTES}) == len(ROUTES)


def test_each_route_can_be_written_in_a_map():
    for route in ROUTES:
        assert re.fullmatch("[a-z0-9]+", route.name)
        assert route.methods
        for text in (route.target, route.answer_form, route.cache_control):
            assert not set(text) & set("\"'\\;${}")
        assert not route.keyless or isinstance(getattr(EdgeSettings(), route.keyless), bool)
        if route.server is not Server.TORCHSERVE:
            assert route.target
            assert (route.keyless, route.answer_form) == ("", "")


def test_each_documented_path_is_a_route():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(file.read_text() for file in documents)
    paths = {path.replace("VERSION", "3.0") for path in DOCUMENTED.findall(text)}
    assert {"/predictions/chest-xray", "/explanations/chest-xray", "/ping"} <= paths
    for path in paths:
        assert len(values_for("methods", f"POST {path} HTTP/1.1")) == 1, path


@pytest.mark.parametrize(
    "path",
    ["/", "/predictions", "/predictions/other", "/predictions/chest-xray/", "/ping/",
     "/predictions/chest-xray/.3", "/predictions/chest-xray/3.0/x", "/todo/api/v1x0/covid19",
     "/v1/models/chest-xray", "/x/ping", "//ping", "/explanations/chest%2dxray"],
)  # fmt: skip
def test_other_paths_are_none(path):
    assert values_for("methods", f"POST {path} HTTP/1.1") == []


def test_lines_by_name():
    lines = maps(ROUTES, EdgeSettings(keyless_original=True))
    assert lines["keyless_routes"] == ['original "off";']
    assert lines["answer_forms"] == ['original "result";']
    assert lines["cache_controls"] == []
    assert 'predictions "$path";' in lines["targets"]
    assert 'original "/predictions/chest-xray";' in lines["targets"]
    assert {'v1 "torchserve";', 'ping "supervisor";'} < set(lines["servers"])
    assert maps(ROUTES, EdgeSettings())["keyless_routes"] == []


def test_a_page_is_one_row():
    page = Route("page", "/", ("GET",), Server.PAGES, "/index.html", cache_control="no-cache")
    without, lines = maps(ROUTES, EdgeSettings()), maps([*ROUTES, page], EdgeSettings())
    added = {name: sorted(set(lines[name]) - set(without[name])) for name in lines}
    assert added == {
        "routes": [r'"~^(?:GET) (?<path>/)(?:\?\S*)? HTTP/" page;'],
        "methods": [r'"~^(?:\S+) (?<path>/)(?:\?\S*)? HTTP/" "GET";'],
        "servers": ['page "pages";'],
        "targets": ['page "/index.html";'],
        "cache_controls": ['page "no-cache";'],
        "keyless_routes": [],
        "answer_forms": [],
    }
    assert replace(page, path="/a.b[/{version}]").pattern == r"/a\.b(?:/[0-9A-Za-z][\w.-]{0,31})?"
