"""What the edge refuses: other paths, methods and hosts, and smuggled requests."""

import http.client
import json

from support.edge import HOUR
from support.raw_http import parsed, raw, request_of

NOT_FOUND = [
    "/", "/models", "/models/chest-xray", "/models?url=x.mar", "/metrics", "/workflows",
    "/wfpredict/x", "/token?type=management", "/api-description", "/invocations",
    "/models/chest-xray/invoke", "/chest-xray/predict", "/predictions", "/predictions/",
    "/predictions/other", "/predictions/chest-xray/", "/predictions/chest-xray/4.0/x",
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
