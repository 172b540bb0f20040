"""Rows are written as TorchServe passes them."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chest_xray.errors import InputError
from chest_xray.request import (
    Explanation,
    Headers,
    ImageUrl,
    InlineImage,
    Request,
    parse_headers,
    parse_request,
)

IMAGE = b"\x89PNG\r\n\x1a\n and so on"
BASE64 = base64.b64encode(IMAGE).decode()
URL = "https://example.org/film.png"


@pytest.mark.parametrize(
    ("row", "source"),
    [
        # application/json, parsed by TorchServe
        ({"body": {"imageUrl": URL}}, ImageUrl(URL)),
        ({"body": {"data": BASE64}}, InlineImage(IMAGE)),
        ({"body": {"data": BASE64[:8] + "\n" + BASE64[8:]}}, InlineImage(IMAGE)),
        ({"body": {"imageUrl": f"data:image/png;base64,{BASE64}"}}, InlineImage(IMAGE)),
        ({"body": {"data": f"data:image/png;base64,{BASE64}"}}, InlineImage(IMAGE)),
        ({"body": {"imageUrl": f"DATA:;Base64,{quote(BASE64, safe='')}"}}, InlineImage(IMAGE)),
        ({"body": {"imageUrl": "data:," + quote(IMAGE)}}, InlineImage(IMAGE)),
        # any other type
        ({"body": bytearray(IMAGE)}, InlineImage(IMAGE)),
        ({"body": bytearray(b'  {"imageUrl": "%s"}' % URL.encode())}, ImageUrl(URL)),
        ({"body": json.dumps({"imageUrl": URL})}, ImageUrl(URL)),  # text/plain
        # multipart and gRPC
        ({"file": bytearray(IMAGE)}, InlineImage(IMAGE)),
        ({"data": bytearray(IMAGE)}, InlineImage(IMAGE)),
        ({"data": bytearray(BASE64.encode())}, InlineImage(IMAGE)),
        ({"data": bytearray(f"data:;base64,{BASE64}".encode())}, InlineImage(IMAGE)),
        ({"imageUrl": bytearray(URL.encode())}, ImageUrl(URL)),
        # an envelope's instance
        ({"imageUrl": URL}, ImageUrl(URL)),
        ({"data": BASE64}, InlineImage(IMAGE)),
        (IMAGE, InlineImage(IMAGE)),
    ],
)
def test_forms(row, source):
    assert parse_request(row) == Request(source)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "empty_request"),
        ({"body": bytearray()}, "empty_request"),
        ({"body": bytearray(b"  \n")}, "empty_request"),
        ({"body": {}}, "empty_request"),
        ({"file": bytearray()}, "empty_request"),
        ({"body": bytearray(b'{"imageUrl": ')}, "invalid_json"),
        ({"body": bytearray(b"[" * 100_000 + b"{")}, None),  # no image, but not JSON's business
        ({"body": bytearray(b'{"a":' * 100_000)}, "invalid_json"),  # too deep for the parser
        ({"body": [1]}, "invalid_request"),
        ({"body": None}, "invalid_request"),
        ({"body": 3}, "invalid_request"),
        ({"body": {"url": URL}}, "unknown_key"),
        ({"body": {"imageUrl": URL, "note": "x"}}, "unknown_key"),
        ({"body": {"instances": [{"imageUrl": URL}]}}, "unknown_key"),
        ({"body": {"": URL}}, "unknown_key"),
        ({"body": {"imageUrl": URL, "data": BASE64}}, "invalid_request"),
        ({"body": {"imageUrl": 3}}, "invalid_request"),
        ({"body": {"imageUrl": ""}}, "empty_request"),
        ({"body": {"data": [1, 2]}}, "invalid_request"),
        ({"body": {"data": "not base64!"}}, "invalid_base64"),
        ({"body": {"data": "é"}}, "invalid_base64"),
        ({"body": {"data": " "}}, "empty_request"),
        ({"body": {"imageUrl": "data:;base64,"}}, "empty_request"),
        ({"body": {"imageUrl": "data:,"}}, "empty_request"),
        ({"body": {"imageUrl": "data:;base64,%%"}}, "invalid_base64"),
        # curl -d '{"imageUrl": "…?a=b"}' declares a form, and TorchServe cuts it at "="
        ({'{"imageUrl": "https://example.org/?a': bytearray(b'b"}')}, "invalid_request"),
        ({"a": bytearray(IMAGE), "b": bytearray(IMAGE)}, "invalid_request"),
    ],
)
def test_malformed(row, code):
    if code is None:
        assert isinstance(parse_request(row).source, InlineImage)
        return
    with pytest.raises(InputError) as caught:
        parse_request(row)
    assert caught.value.code == code
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"no json", b'"text"', b"[1]", b"\xff\xfe"])
def test_declared_json_must_be_a_json_object(body):
    with pytest.raises(InputError) as caught:
        parse_request({"body": bytearray(body)}, Headers(declared_json=True))
    assert caught.value.code in ("invalid_json", "invalid_request")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("url", "imageUrl"), ("image_url", "imageUrl"), ("imageURL", "imageUrl"), ("Data", "data"),
     ("b64_json", "data"), ("image", "data"), ("instances", "instance"), ("patient-4711", "only")],
)  # fmt: skip
def test_an_unknown_key_gets_a_hint_and_is_not_sent_back(key, meant):
    with pytest.raises(InputError) as caught:
        parse_request({"body": {key: URL}})
    hint = caught.value.message.partition(" Send ")[0]
    assert meant in hint
    assert "4711" not in hint


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://Films.example/a?b", "films.example"), ("http://u:p@a.example:80", "a.example:80"),
     ("nonsense", ""), ("http://", "")],
)  # fmt: skip
def test_hosts_for_telling_apart(url, host):
    assert ImageUrl(url).host == host


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
)


@given(row=st.dictionaries(st.text() | st.sampled_from(["body", "data", "imageUrl"]), JSON) | JSON)
def test_any_row_is_a_source_or_the_callers_error(row):
    try:
        assert isinstance(parse_request(row).source, (ImageUrl, InlineImage))
    except InputError as error:
        assert error.status == 400
        assert error.message


@pytest.mark.parametrize(
    "row",
    [
        {"body": {"imageUrl": URL, "allowOutOfDistribution": True}},
        {"body": b'{"allowOutOfDistribution": true, "imageUrl": "%s"}' % URL.encode()},
        {"imageUrl": bytearray(URL.encode()), "allowOutOfDistribution": bytearray(b"true")},
        {"allowOutOfDistribution": True, "imageUrl": URL},
    ],
)
def test_a_label_for_any_image(row):
    assert parse_request(row) == Request(ImageUrl(URL), allow_out_of_distribution=True)


def test_the_option_beside_a_file():
    fields = {"film": bytearray(IMAGE), "allowOutOfDistribution": bytearray(b"True")}
    assert parse_request(fields) == Request(InlineImage(IMAGE), allow_out_of_distribution=True)
    fields["allowOutOfDistribution"] = bytearray(b"false")
    assert parse_request(fields) == Request(InlineImage(IMAGE))


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"body": {"imageUrl": URL, "allowOutOfDistribution": 1}}, "invalid_request"),
        ({"body": {"imageUrl": URL, "allowOutOfDistribution": None}}, "invalid_request"),
        ({"body": {"imageUrl": URL, "allowOutOfDistribution": "yes"}}, "invalid_request"),
        (
            {"file": bytearray(IMAGE), "allowOutOfDistribution": bytearray(b"\xff")},
            "invalid_request",
        ),
        ({"body": {"allowOutOfDistribution": True}}, "empty_request"),
        ({"allowOutOfDistribution": bytearray(b"true")}, "empty_request"),
    ],
)
def test_the_option_is_no_image_and_is_true_or_false(row, code):
    with pytest.raises(InputError) as caught:
        parse_request(row)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, Headers()),
        ({"explain": "False", "Accept": "image/png"}, Headers()),
        ({"explain": "True"}, Headers(explanation=Explanation.GRID)),
        ({"explain": "True", "accept": "*/*"}, Headers(explanation=Explanation.GRID)),
        (
            {"explain": "True", "ACCEPT": "text/html, Image/PNG;q=0.9"},
            Headers(explanation=Explanation.OVERLAY),
        ),
        ({"Content-Type": "application/JSON; charset=utf-8"}, Headers(declared_json=True)),
        (
            {"X-Answer-Form": "result", "X-Key-Id": "ward-7"},
            Headers(result_only=True, key="ward-7"),
        ),
        ({"X-Key-Id": 'a"\n{b}' + 99 * "c"}, Headers(key="ab" + 62 * "c")),
        ({"X-Request-Start": "yesterday"}, Headers()),
        ({"X-Request-Start": "t=nan"}, Headers()),
        ({"X-Request-Start": "t=1e400"}, Headers()),
        ({"X-Request-Start": "t=0"}, Headers()),
    ],
)
def test_headers(headers, asked):
    assert parse_headers(headers) == asked


@pytest.mark.parametrize("form", ["t={:.3f}", "{:.3f}"])
def test_seconds_since_the_proxy(form):
    waited = parse_headers({"x-request-start": form.format(time.time() - 2)}).waited_s
    assert waited == pytest.approx(2, abs=1)
