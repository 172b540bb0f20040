"""nginx in front of the real server: what passes, what does not, and what is not lost."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import yaml

from chest_xray_ops.edge.certificate import self_signed
from chest_xray_ops.edge.settings import EdgeSettings
from support.edge import (
    ANSWERS,
    HOUR,
    Upstream,
    give_key,
    needs_nginx,
    predict,
    secret_of,
    start_edge,
)
from support.films import draw_film, encode
from support.paths import ROOT
from support.waiting import wait_until

ORIGIN = "https://viewer.example.org"


@pytest.fixture(scope="module")
def edge(server, tmp_path_factory):
    """With TLS, in front of the real server."""
    running = start_edge(
        server.environment,
        tmp_path_factory.mktemp("edge"),
        "--self-signed",
        cors_origins=ORIGIN,
        access_log="true",
        rate_per_s="1000",
        rate_burst="1000",
        keyless_original="true",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(edge):
    return edge.create()[1]


@pytest.fixture(scope="module")
def authorized(token):
    return {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}


@pytest.fixture
def upstream():
    running = Upstream()
    yield running
    running.close()


@pytest.fixture
def before(upstream, tmp_path):
    """Starts an edge before ``upstream``."""
    started = []

    def start(**settings):
        environment = {
            **os.environ,
            "CHEST_XRAY_RUN_DIR": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "TS_INFERENCE_ADDRESS": upstream.url,
            "CHEST_XRAY_METRICS_ADDRESS": "127.0.0.1:9",
        }
        host = upstream.url.removeprefix("http://").replace(":", "-")
        give_key(tmp_path / host, "first")
        started.append(start_edge(environment, tmp_path, **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()


# What passes


@needs_nginx
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/predictions/chest-xray"), ("PUT", "/predictions/chest-xray"),
     ("POST", "/predictions/chest-xray/3.0"), ("POST", "/predictions/chest-xray?any=thing"),
     ("POST", "/explanations/chest-xray"), ("POST", "/explanations/chest-xray/3.0"),
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


@needs_nginx
def test_an_overlay_and_a_url_pass(edge, authorized, film, web):
    headers = {**authorized, "Accept": "image/png"}
    overlay = edge.ask("POST", "/explanations/chest-xray", headers=headers, data=film)
    assert overlay.headers["Content-Type"] == "image/png"
    assert overlay.content.startswith(b"\x89PNG")
    body = {"imageUrl": web.add("/edge.png", film)}
    headers = {"Authorization": authorized["Authorization"]}
    assert edge.ask("POST", "/predictions/chest-xray", headers=headers, json=body).ok


@needs_nginx
def test_a_client_of_the_original_project(edge, film, web):
    """It sends no key, and looks at result.label and result.probability."""
    body = {"imageUrl": web.add("/original.png", film)}
    answer = edge.ask("POST", "/todo/api/v1.0/covid19", json=body)
    assert answer.status_code == 200
    assert set(answer.json()["result"]) == {"label", "probability"}


@needs_nginx
def test_ping_is_readiness(edge):
    assert edge.ask("GET", "/ping").status_code == 200


@needs_nginx
def test_ping_without_a_supervisor(before):
    answer = before().ask("GET", "/ping")
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


@needs_nginx
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


@needs_nginx
def test_answers_of_torchserve_get_our_form(edge, authorized, film):
    unknown = edge.ask("POST", "/predictions/chest-xray/0.9", headers=authorized, data=film)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    headers = {**authorized, "Content-Type": "application/x-www-form-urlencoded"}
    no_form = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=film)
    assert (no_form.status_code, no_form.json()["code"]) == (400, "bad_request")


@needs_nginx
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


# What does not

NOT_FOUND = [
    "/", "/models", "/models/chest-xray", "/models?url=x.mar", "/metrics", "/workflows",
    "/wfpredict/x", "/token?type=management", "/api-description", "/invocations",
    "/models/chest-xray/invoke", "/chest-xray/predict", "/predictions", "/predictions/",
    "/predictions/other", "/predictions/chest-xray/", "/predictions/chest-xray/3.0/x",
    "/predictions/chest-xray-2", "/Predictions/chest-xray", "/predictions/../models",
    "/predictions/chest-xray/..", "/predictions/chest-xray/../../models",
    "/predictions/%2e%2e/models", "/predictions/..%2fmodels", "/predictions%2fchest-xray",
    "/predictions/chest%2dxray", "//predictions/chest-xray", "/predictions//chest-xray",
    "/./predictions/chest-xray", "/predictions/chest-xray/%2e%2e", "/predictions/chest-xray;x",
    "/predictions/chest-xray/.3", "/v1/models/chest-xray", "/v1/models/chest-xray:explain",
    "/v1/models/other:predict", "/v2/models/chest-xray/infer", "/ping/", "/_error", "/_ready",
    "/ready", "/todo/api/v1.0/covid19/", "/todo", "/predictions\\chest-xray",
    "http://127.0.0.1:8081/models", "http://127.0.0.1/predictions/chest-xray",
]  # fmt: skip


def request_of(target, token, method="POST", body=b"x"):
    return (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def parsed(answer):
    """Status, headers and body of one answer as it came."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


@needs_nginx
def test_other_paths(upstream, before):
    edge = before()
    _, token = edge.create()
    upstream.requests.clear()
    for target in NOT_FOUND:
        status, headers, body = parsed(edge.say(request_of(target, token)))
        assert (target, status) == (target, 404)
        assert headers["content-type"] == "application/json"
        assert set(json.loads(body)) == {"code", "type", "message"}
    for target in ("/predictions/%zz", "/predictions/chest-xray%00", "*", "predictions", "\x01"):
        status, _, body = parsed(edge.say(request_of(target, token)))
        assert (target, status) == (target, 400)
        assert json.loads(body)["code"] == "bad_request"
    assert upstream.requests == []


@needs_nginx
def test_other_methods(upstream, before):
    edge = before()
    _, token = edge.create()
    upstream.requests.clear()
    for method in ("GET", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "QUERY"):
        status, _, _ = parsed(edge.say(request_of("/predictions/chest-xray", token, method)))
        assert (method, status) == (method, 405)
    for target in ("/explanations/chest-xray", "/v1/models/chest-xray:predict"):
        status, headers, body = parsed(edge.say(request_of(target, token, "PUT")))
        assert (status, headers["allow"]) == (405, "post")
        assert json.loads(body)["code"] == "method_not_allowed"
    assert upstream.requests == []


def raw(token, *lines, body=b""):
    first = [b"POST /predictions/chest-xray HTTP/1.1", b"Host: localhost",
             b"Authorization: Bearer " + token.encode()]  # fmt: skip
    return b"\r\n".join([*first, *lines, b"", b""]) + body


INNER = b"POST /models?url=evil.mar HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = {
    "length and chunks": ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "chunks and length": ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], b"0\r\n\r\n"),
    "chunks twice": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "chunks and another": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"], b"0\r\n\r\n"),
    "chunks hidden": ([b"Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
    "chunks in a list": ([b"Transfer-Encoding: identity, chunked"], b"0\r\n\r\n"),
    "chunks with a tab": ([b"Transfer-Encoding:\x0bchunked"], b"0\r\n\r\n"),
    "two lengths": ([b"Content-Length: 5", b"Content-Length: 0"], b""),
    "the same length twice": ([b"Content-Length: 5", b"Content-Length: 5"], b"12345"),
    "a length in a list": ([b"Content-Length: 5, 0"], b""),
    "a negative length": ([b"Content-Length: -1"], b""),
    "a length with a sign": ([b"Content-Length: +5"], b"12345"),
    "a length in hex": ([b"Content-Length: 0x5"], b"12345"),
    "a giant length": ([b"Content-Length: 99999999999999999999"], b""),
    "a bad chunk": ([b"Transfer-Encoding: chunked"], b"zz\r\n"),
    "a giant chunk": ([b"Transfer-Encoding: chunked"], b"fffffffffffffffff\r\n"),
    "a space before the colon": ([b"Content-Length : 5"], b"12345"),
    "a folded line": ([b"Content-Length: 0", b"X: a", b" Transfer-Encoding: chunked"], b""),
    "a NUL": ([b"X: a\0b", b"Content-Length: 0"], b""),
    "a bare CR": ([b"X: a\rContent-Length: 5"], b""),
    "two keys": ([b"Authorization: Bearer x", b"Content-Length: 0"], b""),
    "two hosts": ([b"Host: other", b"Content-Length: 0"], b""),
    "a large header": ([b"X: " + b"a" * 40_000], b""),
    "many headers": ([b"X: " + b"a" * 7_000] * 9, b""),
}


@needs_nginx
def test_no_smuggling(upstream, before):
    """Each is refused with the connection, or is one request with one answer, and what follows it
    is judged for itself. Nothing but predictions ever reaches TorchServe."""
    edge = before(client_timeout_s=1)
    _, token = edge.create()
    upstream.requests.clear()
    for name, (lines, body) in SMUGGLED.items():
        answer = edge.say(raw(token, *lines, body=body) + INNER)
        statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses, name
        assert set(statuses) <= {200, 400, 404, 413, 501}, (name, statuses)
        refused = name not in ("a folded line", "a space before the colon", "a bare CR")
        assert not refused or (len(statuses) == 1 and statuses[0] >= 400), (name, statuses)
        for part in answer.split(b"\r\n\r\n{")[1:]:
            assert b'"' in part
        if statuses[0] >= 400:
            assert b'{"code": "' in answer, name
    assert {path for path, _, _ in upstream.requests} <= {"/predictions/chest-xray"}


@needs_nginx
def test_bare_line_feeds_and_pipelines(upstream, before):
    """Ends of lines without CR count as ends; requests in a row have their answers in a row."""
    edge = before(client_timeout_s=1)
    _, token = edge.create()
    upstream.requests.clear()
    one = raw(token, b"Content-Length: 1", body=b"x")
    answers = edge.say(one.replace(b"\r\n", b"\n") + one + INNER + one)
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200]
    assert [body for _, _, body in upstream.requests] == [b"x"] * 3


# Bodies


@needs_nginx
def test_bodies_stay_in_memory_up_to_the_limit(upstream, before):
    edge = before()
    _, token = edge.create()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
    large, path = os.urandom(30_000_000), "/predictions/chest-xray"
    upstream.requests.clear()
    made = files_made_during(
        edge,
        lambda: [
            edge.ask("POST", path, headers=headers, data=large),
            edge.ask("POST", path, headers=headers, data=iter([large[:10_000_000]] * 3)),
        ],
    )
    assert made == set()
    assert [len(body) for _, _, body in upstream.requests] == [30_000_000] * 2
    assert upstream.requests[0][2] == large

    limit = EdgeSettings().max_body_bytes
    too_large = edge.ask("POST", path, headers=headers, data=bytes(limit + 1))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
    chunks = (
        raw(token, b"Transfer-Encoding: chunked"),
        *[b"100000\r\n" + bytes(2**20) + b"\r\n"] * 34,
    )
    status, _, body = parsed(edge.say(*chunks))
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")
    assert len(upstream.requests) == 2


def files_made_during(edge, action):
    """Files that nginx has open or leaves behind, besides what it always has."""
    folder = edge.instance.directory
    before, seen, done = set(folder.rglob("*")), set(), threading.Event()

    def watch():
        while not done.wait(0.002):
            for process in edge.processes():
                with contextlib.suppress(OSError):
                    for link in Path(f"/proc/{process}/fd").iterdir():
                        with contextlib.suppress(OSError):
                            seen.add(os.readlink(link))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert all(answer.ok for answer in action())
    done.set()
    watcher.join()
    assert any(link.startswith("socket:") for link in seen)
    kinds = ("socket:", "pipe:", "anon_inode:", "/dev/null", "/dev/zero", str(edge.output))
    return {link for link in seen if not link.startswith(kinds)} | (set(folder.rglob("*")) - before)


@needs_nginx
def test_a_body_that_fits_no_memory_is_refused(upstream, before):
    """In chunks of one byte, whose marks are many times as large as what they hold."""
    edge = before(max_body_bytes=100_000)
    _, token = edge.create()
    upstream.requests.clear()
    tiny = b"1\r\nx\r\n" * 90_000 + b"0\r\n\r\n"
    lines = b"Transfer-Encoding: chunked", b"Connection: close"
    status, _, body = parsed(edge.say(raw(token, *lines, body=tiny)))
    if status == 200:  # the edge put them together before they were many
        assert [len(body) for _, _, body in upstream.requests] == [90_000]
    else:
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")
        assert upstream.requests == []


# Keys and limits


@needs_nginx
def test_keys(upstream, before):
    edge = before()
    id, token = edge.create()
    secret = secret_of(token)

    def made_of(id, secret):
        return "Bearer cxr_" + base64.b64encode(f"{id}:{secret}".encode()).decode()

    assert made_of(id, secret) == f"Bearer {token}"
    wrong = ["", f"Bearer {token}x", f"Bearer {token[:-1]}", f"Basic {token}", token, "Bearer",
             "Basic " + token.removeprefix("cxr_"), made_of(id, "A" * 43), made_of(id, ""),
             made_of("0" * 10, secret), made_of("", secret), made_of(id, secret[:-1] + "\0"),
             "Bearer first", f"Bearer {token.upper()}", f"Bearer {token} x",
             made_of(id, edge.keys.read()[0].hash)]  # fmt: skip
    for authorization in wrong:
        headers = {"Authorization": authorization} if authorization else {}
        answer = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=b"x")
        assert (authorization, answer.status_code) == (authorization, 401)
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    headers = {"Authorization": made_of(id, "A" * 43)}
    large = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=bytes(30_000_000))
    assert large.status_code == 401
    assert upstream.requests == []

    edge.keys.revoke(id)
    edge.wait_for(lambda: predict(edge, token).status_code == 401)
    _, short = edge.create(timedelta(seconds=3))
    assert predict(edge, short).status_code == 200
    edge.wait_for(lambda: predict(edge, short).status_code == 401)


@needs_nginx
def test_a_damaged_key_file_changes_nothing(before):
    edge = before()
    _, token = edge.create()
    good = edge.keys.path.read_text()
    edge.keys.path.write_text(good[:-20])
    edge.wait_for(lambda: "still uses the previous" in edge.errors)
    assert predict(edge, token).status_code == 200
    edge.keys.path.write_text(good)
    assert edge.create()


@needs_nginx
def test_a_key_is_rotated_under_load(edge, film):
    """Callers change over when they like; nobody is refused, and nobody is cut off."""
    id, token = edge.create()
    with load(edge, lambda: token, film) as statuses:
        for _ in range(3):
            new, new_token = edge.keys.rotate(id, HOUR)
            edge.wait_for(lambda new=new: new.id in edge.callers.read_text())
            id, token = new.id, new_token
            until = len(statuses) + 20
            edge.wait_for(lambda until=until: len(statuses) > until, 30)
    assert set(statuses) == {200}


@contextlib.contextmanager
def load(edge, token, film, callers=6, keep=True):
    """Callers that ask again and again meanwhile; gives their statuses, or what went wrong."""
    done, statuses = threading.Event(), []

    def ask():
        session = requests.Session()
        while not done.is_set():
            headers = {"Authorization": f"Bearer {token()}", "Content-Type": "image/png"}
            headers["Connection"] = "keep-alive" if keep else "close"
            try:
                answer = session.post(
                    f"{edge.url}/predictions/chest-xray",
                    headers=headers,
                    data=film,
                    verify=edge.certificate,
                    timeout=60,
                )
                statuses.append(answer.status_code)
            except requests.RequestException as error:
                statuses.append(repr(error))
        session.close()

    with ThreadPoolExecutor(callers) as executor:
        asked = [executor.submit(ask) for _ in range(callers)]
        try:
            yield statuses
        finally:
            done.set()
    for one in asked:
        one.result()


@needs_nginx
def test_a_key_has_its_rate(upstream, before):
    edge = before(rate_per_s=1, rate_burst=4)
    _, token = edge.create()
    statuses = [predict(edge, token).status_code for _ in range(10)]
    assert 429 in statuses
    limited = predict(edge, token)
    assert limited.json()["code"] == "too_many_requests"
    assert limited.headers["Retry-After"] == "1"
    _, other = edge.create()
    assert predict(edge, other).status_code == 200


@needs_nginx
def test_a_key_has_its_number_of_requests_at_a_time(upstream, before):
    edge = before(connections_per_key=2)
    _, token = edge.create()
    upstream.answers[:] = [None, None]
    with ThreadPoolExecutor(2) as executor:
        waiting = [executor.submit(predict, edge, token) for _ in range(2)]
        edge.wait_for(lambda: not upstream.answers)
        assert predict(edge, token).status_code == 429
        upstream.released.set()
        assert {one.result().status_code for one in waiting} <= {200, 503}


@needs_nginx
def test_a_connection_that_will_be_closed_says_so(before):
    """A refusal before the body came: else the caller's next request would get no answer."""
    edge = before(rate_per_s=1, rate_burst=1)
    _, token = edge.create()
    start = b"POST /predictions/chest-xray HTTP/1.1\r\nHost: edge\r\nContent-Length: 10\r\n"
    wrong, right = (
        start + f"Authorization: Bearer {key}\r\n\r\n".encode() for key in ("none", token)
    )
    for status, request in ((401, wrong), (429, right)):
        while status == 429 and predict(edge, token).status_code == 200:
            pass
        with edge.connect() as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            assert answer.headers["Connection"] == "close"
            assert json.loads(answer.read())["message"]
            connection.sendall(bytes(10))
            assert connection.recv(1) == b""


# Browsers


@needs_nginx
def test_cors(edge, authorized, film):
    path = "/predictions/chest-xray"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    allowed = edge.ask("OPTIONS", path, headers={"Origin": ORIGIN, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    answer = edge.ask("POST", path, headers={**authorized, "Origin": ORIGIN}, data=film)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = edge.ask("POST", path, headers={"Origin": ORIGIN})  # a page may read this too
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)

    for origin in ("https://other.example.org", f"{ORIGIN}.evil.example", "null", f"x{ORIGIN}"):
        refused = edge.ask("OPTIONS", path, headers={"Origin": origin, **asks})
        assert refused.status_code == 405
        answer = edge.ask("POST", path, headers={**authorized, "Origin": origin}, data=film)
        for one in (refused, answer):
            assert not [name for name in one.headers if name.startswith("Access-Control")]


# TLS


@needs_nginx
def test_tls(edge):
    def version(least, most, ciphers="ALL:@SECLEVEL=0"):
        context = ssl.create_default_context(cafile=edge.certificate)
        context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = least, most
        with (
            socket.create_connection(("127.0.0.1", edge.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            return wrapped.version()

    modern = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for one in modern:
        assert version(one, one) == one.name.replace("_", ".")
    with pytest.warns(DeprecationWarning, match="TLS"), pytest.raises((ssl.SSLError, OSError)):
        version(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    for weak in ("AES128-SHA", "ECDHE+SHA", "aNULL:@SECLEVEL=0", "AES256-GCM-SHA384"):
        with pytest.raises((ssl.SSLError, OSError)):
            version(modern[0], modern[0], weak)
    # Plain HTTP at the TLS port.
    with socket.create_connection(("127.0.0.1", edge.port), 10) as plain:
        plain.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = parsed(plain.recv(65536))
    assert (status, json.loads(body)["code"]) == (400, "bad_request")


@needs_nginx
@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_http2_and_no_tickets(edge):
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-alpn", "h2", "-tls1_2"],
        input="", capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert "ALPN protocol: h2" in run.stdout
    assert "session ticket" not in run.stdout


@needs_nginx
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_http2(edge, token, film, tmp_path):
    (tmp_path / "film.png").write_bytes(film)
    run = subprocess.run(
        ["curl", "-s", "--http2", "--cacert", edge.certificate,
         "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: image/png",
         "--data-binary", f"@{tmp_path}/film.png",
         "-w", "\n%{http_version}", f"{edge.url}/predictions/chest-xray"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    body, _, version = run.stdout.rpartition("\n")
    assert "label" in json.loads(body)
    assert version == "2"


@needs_nginx
def test_a_new_certificate_is_taken_over(before, tmp_path):
    (tmp_path / "tls").mkdir()
    settings = self_signed(tmp_path / "tls")
    edge = before(**settings)
    edge.certificate = settings["certificate"]

    def serial():
        context = ssl.create_default_context(cafile=edge.certificate)
        try:
            with (
                socket.create_connection(("127.0.0.1", edge.port), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as wrapped,
            ):
                return wrapped.getpeercert()["serialNumber"]
        except ssl.SSLError:  # still the old one
            return None

    first = serial()
    self_signed(tmp_path / "tls")
    edge.wait_for(lambda: serial() not in (first, None))


# Nothing is lost


@needs_nginx
def test_what_failed_is_repeated(upstream, before):
    edge = before()
    _, token = edge.create()
    for answers in ([500], [500, 500], [507], [503], [507, 500], [503, 500], [0], [0, 500],
                    [500, 507, 500, 500]):  # fmt: skip
        upstream.requests.clear()
        upstream.answers[:] = answers
        answer = predict(edge, token)
        assert (answer.status_code, answer.json()) == (200, {"label": "normal"}), answers
        assert {body for _, _, body in upstream.requests} == {b"x" * 1000}
        assert len(upstream.requests) == len(answers) + 1


@needs_nginx
def test_what_goes_on_failing_is_unavailable(upstream, before):
    edge = before()
    _, token = edge.create()
    for status in (500, 507, 503, 0):
        upstream.answers[:] = [status] * 20
        answer = predict(edge, token)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert len(upstream.answers) >= 14  # and is not repeated for ever


@needs_nginx
def test_what_the_server_says_is_not_repeated(upstream, before):
    edge = before()
    _, token = edge.create()
    for status in (502, 504, 413):
        upstream.requests.clear()
        upstream.answers[:] = [status]
        answer = predict(edge, token)
        body = {**ANSWERS[status], **({"code": "body_too_large"} if status == 413 else {})}
        assert (answer.status_code, answer.json()) == (status, body)
        assert len(upstream.requests) == 1


@needs_nginx
def test_no_answer_in_time_is_not_repeated(upstream, before):
    edge = before(answer_timeout_s=1)
    _, token = edge.create()
    upstream.requests.clear()
    upstream.answers[:] = [None]
    answer = predict(edge, token)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert len(upstream.requests) == 1


@needs_nginx
def test_a_server_that_comes_back_with_another_key(upstream, before):
    edge = before()
    _, token = edge.create()
    edge.instance.key_file.unlink()
    edge.wait_for(lambda: predict(edge, token).status_code == 503)
    upstream.requests.clear()
    assert predict(edge, token).json()["code"] == "unavailable"
    assert upstream.requests == []  # it is not asked with a key that it does not know
    give_key(edge.instance.directory, "second")
    edge.wait_for(lambda: predict(edge, token).status_code == 200)
    assert upstream.requests[-1][1]["Authorization"] == "Bearer second"


@needs_nginx
def test_workers_killed_under_load(edge, server, token):
    """Every caller gets an answer, though batches die and workers are away for a second."""
    film = encode(draw_film(3, 900, 900), "PNG")
    with load(edge, lambda: token, film, callers=8) as statuses:
        for _ in range(3):
            until = len(statuses) + 20
            edge.wait_for(lambda until=until: len(statuses) > until, 60)
            workers = server.client.describe()["workers"]
            victim = next(worker for worker in workers if worker["status"] == "READY")
            os.kill(int(victim["pid"]), signal.SIGKILL)
        until = len(statuses) + 20
        edge.wait_for(lambda: len(statuses) > until, 60)
    assert set(statuses) == {200}
    server.wait_whole(int(victim["pid"]))


@needs_nginx
def test_java_killed_under_load(start, tmp_path, film):
    """While it is away, callers are told to come again, and nothing else; then all goes on. They
    keep no connection: nginx closes idle ones when it takes over another key."""
    server = start(tmp_path)
    server.wait_ready()
    edge = start_edge(server.environment, tmp_path, rate_per_s=1000, rate_burst=1000)
    try:
        _, token = edge.create()
        first = server.instance.key("inference")
        with load(edge, lambda: token, film, keep=False) as statuses:
            edge.wait_for(lambda: len(statuses) > 20, 30)
            os.kill(java_of(server), signal.SIGKILL)
            edge.wait_for(lambda: 503 in statuses, 30)
            edge.wait_for(lambda: statuses[-20:] == [200] * 20, 90)
        assert set(statuses) == {200, 503}
        assert server.instance.key("inference") not in (None, first)
    finally:
        edge.stop()


def java_of(server):
    """The process of TorchServe itself."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")")[1].split()[1])
                command = (entry / "cmdline").read_bytes()
                if parent == server.process.pid and b"org.pytorch.serve.ModelServer" in command:
                    return int(entry.name)
    raise AssertionError("no Java process")


# What it leaves behind


@needs_nginx
def test_logs_hold_nothing_of_a_request(edge, token, authorized, film):
    """Neither key, path, query, address nor header, whatever is sent; but status, key id, time."""
    id = base64.b64decode(token.removeprefix("cxr_")).decode().partition(":")[0]
    path = "/predictions/chest-xray?patient=Marker-7"
    assert edge.ask("POST", path, headers={**authorized, "X-Any": "Marker-7"}, data=film).ok
    edge.ask("POST", "/Marker-7", headers={**authorized, "User-Agent": "Marker-7"})
    nobody = base64.b64encode(f"Marker-7-x:{secret_of(token)}".encode()).decode()
    edge.ask("POST", path, headers={"Authorization": f"Bearer cxr_{nobody}"})
    edge.say(b"Marker-7\r\n\r\n", b"\xff" * 100)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", edge.port)) as plain:
        plain.sendall(b"\x16\x03\x01Marker-7" * 20)  # no TLS handshake
        plain.recv(1000)
    log = edge.instance.logs / "edge.log"
    edge.wait_for(lambda: '"route":"predictions"' in log.read_text())
    for file in (log, edge.output.with_suffix(".stderr"), edge.output.with_suffix(".stdout")):
        text = file.read_text(errors="replace")
        assert not [
            word for word in ("Marker-7", secret_of(token), token, "127.0.0.1 ") if word in text
        ], file
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"status", "route", "key", "seconds"} <= set(lines[-1])
    assert id in {line["key"] for line in lines}

    log.rename(log.with_suffix(".1"))
    edge.process.send_signal(signal.SIGUSR1)
    edge.wait_for(log.exists)


@needs_nginx
def test_secrets_are_ours_alone(before):
    edge = before()
    _, token = edge.create()
    for file in (edge.configuration, edge.keys.path, edge.callers):
        assert file.stat().st_mode & 0o777 == 0o600
        assert secret_of(token) not in file.read_text()
        assert token not in file.read_text()


@needs_nginx
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_end(upstream, before, tmp_path, number):
    """A request in progress has its answer, except after kill -9; nothing goes on running."""
    edge = before()
    _, token = edge.create()
    processes = edge.processes()
    assert len(processes) >= 2
    upstream.answers[:] = [None]
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(predict, edge, token)
        edge.wait_for(lambda: not upstream.answers)
        edge.process.send_signal(number)
        if number == signal.SIGKILL:
            with pytest.raises(requests.ConnectionError):
                waiting.result()
        else:
            upstream.answers[:] = []
            upstream.released.set()  # None was popped: the connection closes, and is repeated
            assert waiting.result().status_code == 200
    assert edge.process.wait(20) == (-number if number == signal.SIGKILL else 0)
    wait_until(lambda: not any(Path(f"/proc/{each}/exe").exists() for each in processes), 10)
    before()  # there may be a next one, which tidies up what a killed one could not
    assert len(list(tmp_path.glob("chest-xray-edge-*"))) == 1


@needs_nginx
def test_a_second_one_is_refused(before, tmp_path):
    edge = before()
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "edge.py")],
        env=edge.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "already runs" in run.stderr


@needs_nginx
def test_check_and_render(tmp_path):
    environment = {**os.environ, "CHEST_XRAY_RUN_DIR": str(tmp_path / "run")}

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "edge.py"), *arguments],
            env={**environment, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("--check").returncode == 0
    assert run("--check", "--self-signed").returncode == 0
    missing = {"CHEST_XRAY_EDGE_CERTIFICATE": "/none", "CHEST_XRAY_EDGE_CERTIFICATE_KEY": "/none"}
    wrong = run("--check", **missing)
    assert wrong.returncode == 1
    assert "/none" in wrong.stderr
    out = tmp_path / "out.conf"
    assert run("--render", str(out)).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "{{" not in out.read_text()


# Settings

CONFIG = ROOT / "config" / "edge.yaml"


def test_the_file_states_the_defaults():
    assert EdgeSettings.load(CONFIG, {}) == EdgeSettings()
    assert set(yaml.safe_load(CONFIG.read_text())) == set(vars(EdgeSettings()))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("LISTEN", "127.0.0.1:80, [::1]:80", ("127.0.0.1:80", "[::1]:80")), ("RATE_PER_S", "7", 7),
     ("KEYLESS_ORIGINAL", "TRUE", True), ("CORS_ORIGINS", "", ())],
)  # fmt: skip
def test_the_environment_comes_last(name, text, value):
    settings = EdgeSettings.load(CONFIG, {f"CHEST_XRAY_EDGE_{name}": text})
    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("LISTEN", "0.0.0.0:80"), ("LISTEN", "8443"), ("LISTEN", ""), ("RATE_PER_S", "0"),
     ("RATE_PER_S", "many"), ("KEYLESS_ORIGINAL", "1"), ("CERTIFICATE", "/some.pem"),
     ("CORS_ORIGINS", "viewer.example.org"), ("CORS_ORIGINS", 'https://a" "";}'),
     ("SERVER_NAMES", "a;b"), ("CERTIFICATE", "/a b.pem"), ("LISTENS", "127.0.0.1:80"),
     ("RATE", "7")],
)  # fmt: skip
def test_wrong_settings_name_the_setting(name, text):
    with pytest.raises(ValueError, match=f"(?i){name}"):
        EdgeSettings.load(CONFIG, {f"CHEST_XRAY_EDGE_{name}": text})


def test_an_unknown_setting_in_the_file(tmp_path):
    (tmp_path / "edge.yaml").write_text("rate_pre_s: 5\n")
    with pytest.raises(ValueError, match="rate_pre_s"):
        EdgeSettings.load(tmp_path / "edge.yaml", {})


@needs_nginx
def test_server_names(before):
    edge = before(server_names="films.example.org,*.clinic.example")
    _, token = edge.keys.create("test", HOUR)
    statuses = {}
    for host in ("films.example.org", "a.clinic.example", "other.example", "127.0.0.1"):
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
        connection.request("POST", "/predictions/chest-xray", headers={"Host": host})
        statuses[host] = connection.getresponse().status
        connection.close()
    assert list(statuses.values()) == [401, 401, 421, 421]
