"""Image URL -> bytes: everything that touches the network, and its limits.

Owns schemes, redirects, time and size. Does not look at what the bytes are. Nothing here writes
to disk or logs a URL.
"""

import time
from contextlib import closing
from urllib.parse import urljoin

import urllib3

from chest_xray.errors import InputError
from chest_xray.settings import Settings

_MAX_REDIRECTS = 3
_CHUNK_BYTES = 65_536
_HEADERS = {
    "User-Agent": "chest-xray/1.0",
    "Accept-Encoding": "identity",  # what is counted is what is kept
    "Connection": "close",
}


def fetch(url: str, settings: Settings) -> bytes:
    """The body behind ``url``, of at most ``max_image_bytes``, within ``fetch_timeout_s``.

    Raises:
        InputError: ``invalid_url``, ``image_not_found``, ``upstream_failed``,
            ``upstream_timeout`` or ``image_too_large``.
    """
    deadline = time.monotonic() + settings.fetch_timeout_s
    for _ in range(_MAX_REDIRECTS + 1):
        _check(url)
        # A pool of its own, so that no connection is used twice: a kept one may be dead already,
        # and a fetch is tried once, since the caller knows better whether to try again.
        with (
            urllib3.PoolManager(retries=False) as pool,
            closing(_open(pool, url, deadline)) as response,
        ):
            location = response.get_redirect_location()
            if not location:
                _check_status(response.status)
                return _read(response, deadline, settings.max_image_bytes)
            url = urljoin(url, location)
    raise InputError("upstream_failed", "The image's server redirects too often.")


def _open(pool: urllib3.PoolManager, url: str, deadline: float) -> urllib3.BaseHTTPResponse:
    """One request, answered by its headers; its body is still to be read."""
    try:
        return pool.request(
            "GET",
            url,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(total=max(0.001, deadline - time.monotonic())),
            headers=_HEADERS,
        )
    except urllib3.exceptions.LocationValueError:
        raise _invalid_url() from None
    except urllib3.exceptions.HTTPError as error:
        raise _upstream_error(error) from None


def _check(url: str) -> None:
    try:
        parts = urllib3.util.parse_url(url)
        usable = parts.scheme in ("http", "https") and bool(parts.host) and url.isprintable()
    except urllib3.exceptions.LocationParseError:
        usable = False
    if not usable or " " in url:
        raise _invalid_url()


def _check_status(status: int) -> None:
    if status in (404, 410):
        raise InputError("image_not_found", "The image's server has no image at imageUrl.")
    if status != 200:
        raise InputError("upstream_failed", f"The image's server answered with status {status}.")


def _read(response: urllib3.BaseHTTPResponse, deadline: float, limit: int) -> bytes:
    """The whole body; a slow drip ends at the deadline and an endless one at the limit."""
    too_large = InputError("image_too_large", f"The image has more than {limit} bytes.")
    if (response.length_remaining or 0) > limit:  # Content-Length, where it makes sense
        raise too_large
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                raise too_large
            if time.monotonic() > deadline:
                raise _timeout()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _upstream_error(error) from None
    return bytes(body)


def _upstream_error(error: Exception) -> InputError:
    reason = getattr(error, "reason", error)
    # A refused connection or an unknown name is a kind of timeout to urllib3.
    refused = isinstance(reason, urllib3.exceptions.NewConnectionError)
    if isinstance(reason, urllib3.exceptions.TimeoutError) and not refused:
        return _timeout()
    return InputError("upstream_failed", "The image's server could not be reached.")


def _invalid_url() -> InputError:
    return InputError("invalid_url", "imageUrl is not a valid http or https URL.")


def _timeout() -> InputError:
    return InputError("upstream_timeout", "The image's server took too long.")
