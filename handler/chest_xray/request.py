"""TorchServe row -> request: where the image is, and what is asked about it."""

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote_to_bytes

from chest_xray.errors import InputError

_HOW = (
    'Send {"imageUrl": "https://..."} or {"data": "<base64>"} as application/json, '
    "the image itself as the body, or one of them as a multipart field."
)
PROBE_HEADER = "X-Probe"
"""Carries the password of the supervisor, whose probes are no requests."""
_IMAGE_KEYS = ("imageUrl", "data")
_OPTIONS = {
    "allowOutOfDistribution": "allow_out_of_distribution",
    "operatingPoints": "operating_points",
}
"""What a body may ask for besides, and the field of a request that holds it."""
_BOOLEANS = {"true": True, "false": False}
_MEANT = {
    "imageUrl": {"imageurl", "url", "uri", "imageuri", "href", "link", "src", "path"},
    "data": {"data", "image", "imagedata", "base64", "b64", "b64json", "imagebase64", "bytes",
             "body", "content", "file", "img"},
}  # fmt: skip
"""What people write for our keys, in lower case and without separators."""
Options = dict[str, bool]
"""Fields of a request by name."""
_KEY_ID = re.compile(r"[^A-Za-z0-9._-]")
_DATA_URL = re.compile(r"data:[^,]{0,200}?(;base64)?,", re.IGNORECASE)


@dataclass(frozen=True)
class ImageUrl:
    """The image lies elsewhere."""

    url: str

    @property
    def host(self) -> str:
        """The host as written, in lower case; for telling hosts apart, not for fetching."""
        match = re.match(r"https?://([^/?#\\]*)", self.url, re.IGNORECASE)
        return match[1].rpartition("@")[2].lower() if match else ""


@dataclass(frozen=True)
class InlineImage:
    """The image came with the request, still encoded."""

    data: bytes


ImageSource = ImageUrl | InlineImage


class Explanation(Enum):
    """The form in which a caller wants the heat map."""

    GRID = "application/json"
    OVERLAY = "image/png"


@dataclass(frozen=True)
class Request:
    """What one row asks."""

    source: ImageSource
    allow_out_of_distribution: bool = False
    """Give a label even if the image is no frontal chest film."""
    explanation: Explanation | None = None
    """None asks for a prediction alone."""
    operating_points: bool = False
    """Name the operating points and say which of them the probabilities reach."""


@dataclass(frozen=True)
class Headers:
    """What a request says besides its body. The last four are the proxy's to say, which takes them
    from what callers send; without a proxy they are its word for no more than its own lines."""

    request_id: str = ""
    """As the caller got it."""
    explanation: Explanation | None = None
    declared_json: bool = False
    """The body is declared as JSON; TorchServe hands over one that it could not parse as bytes."""
    result_only: bool = False
    """Answer as the original project did."""
    key: str = ""
    """The id of the key that it came with."""
    waited_s: float | None = None
    """Seconds from the proxy to here."""
    probe: str = ""
    """The supervisor's password, whose requests are not counted."""


def parse_headers(headers: Mapping[str, str], request_id: str = "") -> Headers:
    """Names in any case. TorchServe itself sets ``explain`` from the path, whatever the client
    wrote."""
    plain = {name.lower(): str(value) for name, value in headers.items()}
    overlay = "image/png" in plain.get("accept", "").lower()
    form = Explanation.OVERLAY if overlay else Explanation.GRID
    return Headers(
        request_id=request_id,
        explanation=form if headers.get("explain") == "True" else None,
        declared_json="json" in plain.get("content-type", "").lower(),
        result_only=plain.get("x-answer-form") == "result",
        key=_KEY_ID.sub("", plain.get("x-key-id", ""))[:64],
        waited_s=_since(plain.get("x-request-start", "")),
        probe=plain.get(PROBE_HEADER.lower(), ""),
    )


def _since(start: str) -> float | None:
    """Seconds since ``t=SECONDS``, as proxies write it; None if it is not that, or not of today."""
    try:
        waited = time.time() - float(start.removeprefix("t="))
    except ValueError:
        return None
    return max(0.0, waited) if -1 < waited < 86_400 else None


_NO_HEADERS = Headers()


def parse_request(row: Any, headers: Headers = _NO_HEADERS) -> Request:
    """What one row asks to classify.

    A row is a mapping with ``body`` (a request body: bytes, or what TorchServe parsed from JSON
    or text), or a mapping of fields (multipart and gRPC: bytes; an envelope's instance: parsed
    JSON), or, from an envelope, the bare body.

    Args:
        row: as TorchServe passes it.

    Raises:
        InputError: ``empty_request``, ``invalid_json``, ``invalid_request``, ``unknown_key`` or
            ``invalid_base64``.
    """
    source, options = _parse(row, headers.declared_json)
    return Request(source, explanation=headers.explanation, **options)


def _parse(row: Any, declared_json: bool) -> tuple[ImageSource, Options]:
    if isinstance(row, Mapping):
        if "body" not in row:
            return _from_fields(row)
        row = row["body"]
    if isinstance(row, (bytes, bytearray)):
        return _from_bytes(bytes(row), declared_json)
    if isinstance(row, str):  # text/plain, which TorchServe decodes; or a JSON string
        return _from_bytes(row.encode(errors="replace"), declared_json=True)
    if isinstance(row, Mapping):
        return _from_object(row)
    raise InputError("invalid_request", f"The body is not a JSON object. {_HOW}")


def _from_bytes(body: bytes, declared_json: bool) -> tuple[ImageSource, Options]:
    """A body as it was sent: JSON, whatever its declared type, or the image itself."""
    start = body[:64].lstrip()
    if not start:
        raise InputError("empty_request", f"The request is empty. {_HOW}")
    if not declared_json and start[:1] != b"{":
        return InlineImage(body), {}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("invalid_json", f"The body is not valid JSON. {_HOW}") from None
    if not isinstance(parsed, dict):
        raise InputError("invalid_request", f"The body is not a JSON object. {_HOW}")
    return _from_object(parsed)


def _from_object(body: Mapping[str, Any]) -> tuple[ImageSource, Options]:
    """A JSON object with exactly one of ``imageUrl`` and ``data``, both strings, and maybe
    options."""
    if not body:
        raise InputError("empty_request", f"The JSON object is empty. {_HOW}")
    if unknown := [key for key in body if key not in (*_IMAGE_KEYS, *_OPTIONS)]:
        raise InputError("unknown_key", f"{_hint(unknown, body)} {_HOW}")
    options = _options(body)
    images = [(key, value) for key, value in body.items() if key not in _OPTIONS]
    if not images:
        raise InputError("empty_request", f"The request has no image. {_HOW}")
    if len(images) > 1:
        raise InputError("invalid_request", f"imageUrl and data exclude each other. {_HOW}")
    [(key, value)] = images
    if not isinstance(value, str):
        raise InputError("invalid_request", f"The value of {key} is not a string. {_HOW}")
    if not value.strip():
        raise InputError("empty_request", f"The value of {key} is empty. {_HOW}")
    if declared := _DATA_URL.match(value):
        return InlineImage(_from_data_url(value[declared.end() :], bool(declared[1]))), options
    return (ImageUrl(value) if key == "imageUrl" else InlineImage(_decode_base64(value))), options


def _options(body: Mapping[str, Any]) -> Options:
    """The options among the keys of a body or the fields of a form."""
    return {field: _option(key, body[key]) for key, field in _OPTIONS.items() if key in body}


def _option(key: str, value: Any) -> bool:
    """JSON's true or false, or that word in a form."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[:8]).decode("ascii", "replace")
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower())
    if not isinstance(value, bool):
        raise InputError("invalid_request", f"{key} is neither true nor false. {_HOW}")
    return value


def _hint(unknown: list[Any], body: Mapping[str, Any]) -> str:
    """What a key may have been meant for, in our words: the caller's own are not sent back."""
    if "instances" in body:
        return "This is one request per image: send what an instance holds."
    for key in unknown:
        plain = re.sub(r"[\s_.-]", "", str(key)[:40]).lower()
        for known, meant in _MEANT.items():
            if plain in meant:
                return f"A key is unknown; {known} is probably meant."
    return f"A key is unknown: only {', '.join((*_IMAGE_KEYS, *_OPTIONS))} are."


def _from_fields(fields: Mapping[str, Any]) -> tuple[ImageSource, Options]:
    """Fields of a form, of a gRPC input map, or of an envelope's instance.

    ``imageUrl`` holds a URL. Any other single field holds an image: a file's field may have any
    name, and ``data`` may also be base64 text, as it is in JSON. Options may come with either.
    """
    images = {key: value for key, value in fields.items() if key not in _OPTIONS}
    if not images:
        raise InputError("empty_request", f"The request has no image. {_HOW}")
    if len(images) > 1:
        raise InputError("invalid_request", f"The request has more than one image. {_HOW}")
    [(key, value)] = images.items()
    if key.lstrip().startswith("{"):  # curl -d without a Content-Type declares a form
        raise InputError("invalid_request", f"JSON was declared as a form. {_HOW}")
    options = {key: fields[key] for key in _OPTIONS if key in fields}
    if isinstance(value, (bytes, bytearray)) and key != "imageUrl":
        data = bytes(value)
        if not data:
            raise InputError("empty_request", f"The field {_shown(key)} is empty. {_HOW}")
        if key == "data" and _is_text(data):
            return _from_object({key: data.decode("ascii", "replace"), **options})
        return InlineImage(data), _options(options)
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    return _from_object({key: value, **options})


def _shown(key: str) -> str:
    """A field's name for a message: ours, or none."""
    return key if key in _IMAGE_KEYS else "with the image"


def _is_text(data: bytes) -> bool:
    return data[:64].isascii() and b"\0" not in data[:64]


def _from_data_url(payload: str, is_base64: bool) -> bytes:
    """The image in a data: URL (RFC 2397)."""
    data = unquote_to_bytes(payload)
    if is_base64:
        return _decode_base64(data)
    if not data:
        raise InputError("empty_request", f"The data: URL is empty. {_HOW}")
    return data


def _decode_base64(text: str | bytes) -> bytes:
    """Standard base64, line breaks allowed."""
    try:
        packed = "".join((text if isinstance(text, str) else text.decode("ascii")).split())
        data = base64.b64decode(packed, validate=True)
    except (ValueError, binascii.Error):
        raise InputError("invalid_base64", "The value of data is not valid base64.") from None
    if not data:
        raise InputError("empty_request", f"The value of data is empty. {_HOW}")
    return data
