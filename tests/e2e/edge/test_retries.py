"""What fails behind the edge: repeated where nothing was answered, and never lost."""

import contextlib
import os
import signal
from pathlib import Path

from support.edge import load, predict, start_edge
from support.films import draw_film, encode
from support.upstream import ANSWERS, give_key


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


def test_what_goes_on_failing_is_unavailable(upstream, before):
    edge = before()
    _, token = edge.create()
    for status in (500, 507, 503, 0):
        upstream.answers[:] = [status] * 20
        answer = predict(edge, token)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert len(upstream.answers) >= 14  # and is not repeated for ever


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


def test_no_answer_in_time_is_not_repeated(upstream, before):
    edge = before(answer_timeout_s=1)
    _, token = edge.create()
    upstream.requests.clear()
    upstream.answers[:] = [None]
    answer = predict(edge, token)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert len(upstream.requests) == 1


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
