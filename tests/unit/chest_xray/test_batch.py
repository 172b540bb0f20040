"""Rows of one batch, fetched from real servers; see test_handler for what callers get."""

import time

import pytest

from chest_xray.batch import ImageLoader
from chest_xray.errors import InputError
from chest_xray.request import ImageUrl, InlineImage, Request
from chest_xray.settings import Settings
from support.dicoms import dicom
from support.films import draw_film, encode
from support.offline import loaded
from support.waiting import on_time

FILM = encode(draw_film(1), "PNG")


@pytest.fixture
def loader(web):
    made = ImageLoader(Settings(allowed_hosts=(web.host,), fetch_timeout_s=1.0))
    yield made
    made.close()


def codes(batch):
    return [row.error and row.error.code for row in batch.rows]


def test_slow_rows_cost_their_deadline_and_no_more(web, loader):
    slow = [
        Request(ImageUrl(web.add_drip(f"/batch/slow/{index}", seconds=10))) for index in range(5)
    ]
    quick = Request(ImageUrl(web.add("/batch/quick", FILM)))
    with on_time(1.0):
        batch = loaded(loader, [*slow, quick, Request(InlineImage(FILM))])
    assert codes(batch) == ["upstream_timeout"] * 5 + [None] * 2
    assert batch.values.shape == (2, 1, 224, 224)


def test_rows_are_fetched_side_by_side(web, loader):
    def page(request):
        time.sleep(0.2)
        request.send_response(200)
        request.send_header("Content-Length", str(len(FILM)))
        request.end_headers()
        request.wfile.write(FILM)

    for index in range(16):
        web.pages[f"/batch/wait/{index}"] = page
    start = time.monotonic()
    batch = loaded(
        loader, [Request(ImageUrl(f"{web.url}/batch/wait/{index}")) for index in range(16)]
    )
    assert codes(batch) == [None] * 16
    assert time.monotonic() - start < 16 * 0.2 / 3


def test_one_fetch_for_equal_urls(web, loader):
    seen = []

    def page(request):
        seen.append(request.path)
        request.send_response(200)
        request.send_header("Content-Length", str(len(FILM)))
        request.end_headers()
        request.wfile.write(FILM)

    web.pages["/batch/same"] = page
    missing = Request(ImageUrl(web.url + "/batch/missing"))
    batch = loaded(loader, [Request(ImageUrl(web.url + "/batch/same"))] * 3 + [missing] * 2)
    assert seen == ["/batch/same"]
    assert codes(batch) == [None] * 3 + ["image_not_found"] * 2
    assert (batch.values[0] == batch.values[2]).all()


def test_what_is_known_of_a_row(web, loader):
    url = Request(ImageUrl(web.add("/batch/known", FILM)))
    error = InputError("empty_request", "")
    batch = loaded(loader, [url, Request(InlineImage(dicom(draw_film(1), Modality=None))), error])
    assert [row.size > 0 for row in batch.rows] == [True, True, False]
    assert [row.host for row in batch.rows] == [web.host, "", ""]
    assert batch.rows[1].warnings == ("modality_absent",)
    assert batch.rows[2].error is error


def test_too_many_bytes():
    loader = ImageLoader(Settings(max_image_bytes=100))
    assert codes(loaded(loader, [Request(InlineImage(FILM))])) == ["image_too_large"]
    loader.close()


@pytest.mark.parametrize("fault", [MemoryError, OSError, EOFError])
def test_no_resources_cost_one_row(loader, monkeypatch, fault):
    def decode(data):
        raise fault

    monkeypatch.setattr(loader._dicom, "decode", decode)
    batch = loaded(loader, [Request(InlineImage(dicom(draw_film(1)))), Request(InlineImage(FILM))])
    assert codes(batch) == ["decoding_failed", None]
