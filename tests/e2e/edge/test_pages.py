"""A page at the edge: one row of the table of routes, and its file."""

import pytest
import requests

from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.edge.nginx import Edge, Nginx
from chest_xray_ops.edge.routes import ROUTES, Route, Server
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.torchserve.instance import Instance
from support.processes import free_ports

PAGE = Route("page", "/", ("GET", "HEAD"), Server.PAGES, "/page.html", cache_control="no-cache")
GONE = Route("gone", "/gone", ("GET",), Server.PAGES, "/gone.html", cache_control="no-cache")


@pytest.fixture
def url(tmp_path, monkeypatch):
    """An edge that has a page, and another one whose file is missing."""
    monkeypatch.setenv("CHEST_XRAY_RUN_DIR", str(tmp_path / "run"))
    (port,) = free_ports(1)
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "page.html").write_text("<!doctype html><title>Thorax – films</title>", "utf-8")
    (pages / "other.html").write_text("not a route")
    settings = EdgeSettings(listen=(f"127.0.0.1:{port}",), server_names=("films.example.org",))
    instance = Instance.from_environment()
    sockets = tmp_path / "s"
    sockets.mkdir()
    keys = Keys(tmp_path / "keys.json")
    nginx = Nginx(Edge(settings, instance, keys, sockets, (*ROUTES, PAGE, GONE), pages))
    nginx.start()
    yield f"http://127.0.0.1:{port}"
    nginx.stop()


def test_a_page(url):
    def ask(method, path, host="films.example.org"):
        return requests.request(method, url + path, headers={"Host": host}, timeout=10)

    page = ask("GET", "/?any=thing")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "Thorax – films" in page.text
    assert ask("HEAD", "/").headers["Content-Length"] == page.headers["Content-Length"]

    posted = ask("POST", "/")
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")
    assert ask("GET", "/", host="other.example.org").status_code == 421
    for path in ("/page.html", "/other.html", "/_pages/page.html", "/gone"):
        missing = ask("GET", path)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        assert "Cache-Control" not in missing.headers
    assert ask("POST", "/predictions/chest-xray").status_code == 401
