"""What passes the edge, how it is changed on the way, and how answers come back."""

import json
import time

import pytest
import requests

from support.edge import predict


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/predictions/chest-xray"), ("PUT", "/predictions/chest-xray"),
     ("POST", "/predictions/chest-xray/4.0"), ("POST", "/predictions/chest-xray?any=thing"),
     ("POST", "/explanations/chest-xray"), ("POST", "/explanations/chest-xray/4.0"),
     ("POST", "/v1/models/chest-xray:predict")],
)  # fmt: skip
def test_what_passes(edge, server, authorized, film, method, path):
    answer = edge.ask(method, path, headers=authorized, data=film)
    assert answer.status_code == 200
    body = answer.json()
    assert ("heatmap" in body) == path.startswith("/explanations")
    direct = server.client.predict(film)
    assert {name: body[name] for name in direct} == direct
    assert answer.headers["Strict-Transport-Security"]
    assert answer.headers["Server"] == "nginx"  # and no version


def test_an_overlay_and_a_url_pass(edge, authorized, film, web):
    headers = {**authorized, "Accept": "image/png"}
    overlay = edge.ask("POST", "/explanations/chest-xray", headers=headers, data=film)
    assert overlay.headers["Content-Type"] == "image/png"
    assert overlay.content.startswith(b"\x89PNG")
    body = {"imageUrl": web.add("/edge.png", film)}
    headers = {"Authorization": authorized["Authorization"]}
    assert edge.ask("POST", "/predictions/chest-xray", headers=headers, json=body).ok


def test_a_client_of_the_original_project(edge, film, web):
    """It sends no key, and looks at result.label and result.probability."""
    body = {"imageUrl": web.add("/original.png", film)}
    answer = edge.ask("POST", "/todo/api/v1.0/covid19", json=body)
    assert answer.status_code == 200
    assert set(answer.json()["result"]) == {"label", "probability"}


def test_ping_is_readiness(edge):
    assert edge.ask("GET", "/ping").status_code == 200


def test_ping_without_a_supervisor(before):
    answer = before().ask("GET", "/ping")
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


def test_answers_of_the_handler_pass_unchanged(edge, server, authorized, film, web):
    statuses = set()
    bodies = [b"{", b"%PDF-1.7\n", film[:2000], b"",
              b'{"imageUrl": "file:///etc/passwd"}', b'{"imageUrl": "http://127.0.0.1:1/"}',
              json.dumps({"imageUrl": web.add("/none", b"", 404)}).encode(),
              json.dumps({"imageUrl": web.add("/broken", b"", 500)}).encode()]  # fmt: skip
    for body in bodies:
        path = "/predictions/chest-xray"
        headers = {**authorized, "Content-Type": "application/octet-stream"}
        through = edge.ask("POST", path, headers=headers, data=body)
        direct = requests.post(server.url, headers={**headers, **server.headers}, data=body)
        assert (through.status_code, through.json()) == (direct.status_code, direct.json())
        statuses.add(through.status_code)
    assert statuses == {400, 403, 404, 415, 422, 502}


def test_answers_of_torchserve_get_our_form(edge, authorized, film):
    unknown = edge.ask("POST", "/predictions/chest-xray/0.9", headers=authorized, data=film)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    headers = {**authorized, "Content-Type": "application/x-www-form-urlencoded"}
    no_form = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=film)
    assert (no_form.status_code, no_form.json()["code"]) == (400, "bad_request")


def test_what_goes_on_is_ours(upstream, before):
    """Of a caller's headers the type of content it sends and takes; the rest is the edge's."""
    edge = before()
    id, token = edge.create()
    upstream.requests.clear()
    forged = {
        "X-Key-Id": "root", "X-Answer-Form": "result", "X-Request-Start": "t=0", "explain": "True",
        "describe": "True", "Cookie": "a=b", "X-Forwarded-For": "10.0.0.1", "Accept": "image/png",
        "X-Probe": "password",
    }  # fmt: skip
    assert predict(edge, token, **forged).ok
    (path, headers, body) = upstream.requests[0]
    assert (path, body) == ("/predictions/chest-xray", b"x" * 1000)
    start = headers.pop("X-Request-Start").removeprefix("t=")
    assert abs(float(start) - time.time()) < 60
    assert headers == {
        "Host": "chest-xray",
        "Content-Length": "1000",
        "Content-Type": "image/png",
        "Accept": "image/png",
        "Authorization": "Bearer first",
        "X-Key-Id": id,
    }
    edge.ask("POST", "/todo/api/v1.0/covid19", headers={"Authorization": f"Bearer {token}"})
    path, headers, _ = upstream.requests[1]
    assert (path, headers["X-Answer-Form"]) == ("/predictions/chest-xray", "result")
    assert edge.ask("POST", "/todo/api/v1.0/covid19").status_code == 401
