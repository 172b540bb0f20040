"""Limits of bodies, and of how often and how much at a time a key may ask."""

import contextlib
import http.client
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chest_xray_ops.edge.settings import EdgeSettings
from support.edge import predict
from support.raw_http import parsed, raw


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
