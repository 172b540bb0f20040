"""Versions and workers of the real server, through manage.py, tokens on."""

import json

import pytest
import requests

from chest_xray_ops import archive
from chest_xray_versions import weights_path
from support.archives import altered
from support.callers import calling


@pytest.fixture(scope="module")
def second_version(tmp_path_factory):
    """The same weights under another version number, outside the model store."""
    return archive.build("4.1", weights_path("4.0"), tmp_path_factory.mktemp("second"))


def version_of(server, film, path=""):
    headers = {**server.headers, "Content-Type": "image/png"}
    answer = requests.post(server.url + path, headers=headers, data=film)
    return answer.json().get("model_version", answer.status_code)


def succeed(server, *arguments):
    run = server.script("manage.py", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_second_version_from_register_to_unregister(server, second_version, film):
    succeed(server, "register", str(second_version), "--workers", "1")
    table = server.table()
    assert table["4.0"]["default"]
    assert not table["4.1"]["default"]
    assert table["4.1"]["ready"] == 1
    assert [version_of(server, film, path) for path in ("", "/4.0", "/4.1")] == [
        "4.0",
        "4.0",
        "4.1",
    ]

    run = server.script("manage.py", "register", str(second_version))
    assert run.returncode == 1
    assert "already registered" in run.stderr

    run = server.script("manage.py", "unregister", "4.0")  # the default one
    assert run.returncode == 1
    assert "403" in run.stderr

    succeed(server, "set-default", "4.1")
    assert server.table()["4.1"]["default"]
    assert version_of(server, film) == "4.1"

    for workers in (3, 1):
        rows = json.loads(succeed(server, "scale", str(workers), "--version", "4.1", "--json"))
        assert {row["version"]: row["ready"] for row in rows}["4.1"] == workers
        assert version_of(server, film) == "4.1"

    succeed(server, "set-default", "4.0")
    with calling(server, film, count=1, path="/4.1") as seen:
        run = server.script("manage.py", "unregister", "4.1", "--timeout", "2")
        assert run.returncode == 1
        assert "still asked" in run.stderr
    assert seen.failures == {}
    assert "4.1" not in succeed(server, "unregister", "4.1")
    assert list(server.table()) == ["4.0"]
    assert version_of(server, film, "/4.1") == 404
    assert version_of(server, film) == "4.0"


def test_describe_and_ready(server):
    described = json.loads(succeed(server, "describe", "--version", "4.0", "--json"))
    assert described["modelVersion"] == "4.0"
    assert "READY" in succeed(server, "describe")
    assert json.loads(succeed(server, "ready", "--json"))[0]["default"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["set-default", "9.9"], 1),
        (["describe", "--version", "9.9"], 1),
        (["unregister", "9.9"], 1),
        (["register", "gone.mar"], 1),
        (["register", "/nowhere/gone.mar"], 1),
        (["scale", "-1"], 2),
        (["scale"], 2),
        (["promote"], 2),
    ],
)
def test_exit_status(server, arguments, status):
    run = server.script("manage.py", *arguments)
    assert run.returncode == status
    assert "Traceback" not in run.stderr


def test_a_version_that_cannot_load_is_not_kept(server, tmp_path):
    good = archive.build("4.6", weights_path("4.0"), tmp_path)
    built = altered(good, tmp_path / "broken.mar", {"chest_xray_handler.py": b"import nothing"})
    run = server.script("manage.py", "register", str(built), "--workers", "1", "--timeout", "4")
    assert run.returncode == 1
    assert list(server.table()) == ["4.0"]
    assert server.table()["4.0"]["ready"]
    assert not (server.instance.model_store / built.name).exists()


def test_no_server(server, monkeypatch):
    monkeypatch.setitem(server.environment, "TS_MANAGEMENT_ADDRESS", "http://127.0.0.1:9")
    run = server.script("manage.py", "list")
    assert run.returncode == 3
    assert "Traceback" not in run.stderr
