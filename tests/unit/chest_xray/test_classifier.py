"""Requests of one batch, fetched from real servers; see test_handler for what callers get."""

import time

import pytest

from chest_xray.classifier import Classifier
from chest_xray.errors import InputError
from chest_xray.request import ImageUrl, InlineImage, Request
from chest_xray.settings import Settings
from chest_xray_versions import load_network, weights_path
from support.dicoms import dicom
from support.films import draw_film, encode
from support.waiting import on_time

FILM = encode(draw_film(1), "PNG")


def made(**settings):
    network = load_network("4.0", weights_path("4.0"))
    settings = Settings(answer_out_of_distribution=True, **settings)
    return Classifier(network, "4.0", settings)


@pytest.fixture(scope="module")
def classifier(web):
    with made(allowed_hosts=(web.host,), fetch_timeout_s=1.0) as classifier:
        yield classifier


def codes(outcomes):
    return [getattr(outcome.answer, "code", None) for outcome in outcomes]


def test_slow_rows_cost_their_deadline_and_no_more(web, classifier):
    slow = [
        Request(ImageUrl(web.add_drip(f"/batch/slow/{index}", seconds=10))) for index in range(5)
    ]
    quick = Request(ImageUrl(web.add("/batch/quick", FILM)))
    with on_time(1.0):
        outcomes = classifier.classify([*slow, quick, Request(InlineImage(FILM))])
    assert codes(outcomes) == ["upstream_timeout"] * 5 + [None] * 2
    assert outcomes[5].answer.probabilities == pytest.approx(outcomes[6].answer.probabilities)


def test_rows_are_fetched_side_by_side(web, classifier):
    def page(request):
        time.sleep(0.2)
        request.send_response(200)
        request.send_header("Content-Length", str(len(FILM)))
        request.end_headers()
        request.wfile.write(FILM)

    for index in range(16):
        web.pages[f"/batch/wait/{index}"] = page
    start = time.monotonic()
    outcomes = classifier.classify(
        [Request(ImageUrl(f"{web.url}/batch/wait/{index}")) for index in range(16)]
    )
    assert codes(outcomes) == [None] * 16
    assert time.monotonic() - start < 16 * 0.2 / 3


def test_one_fetch_for_equal_urls(web, classifier):
    seen = []

    def page(request):
        seen.append(request.path)
        request.send_response(200)
        request.send_header("Content-Length", str(len(FILM)))
        request.end_headers()
        request.wfile.write(FILM)

    web.pages["/batch/same"] = page
    missing = Request(ImageUrl(web.url + "/batch/missing"))
    same = Request(ImageUrl(web.url + "/batch/same"))
    outcomes = classifier.classify([same] * 3 + [missing] * 2)
    assert seen == ["/batch/same"]
    assert codes(outcomes) == [None] * 3 + ["image_not_found"] * 2
    assert outcomes[0].image is outcomes[2].image
    assert outcomes[0].answer == outcomes[2].answer


def test_what_is_known_of_an_image(web, classifier):
    url = Request(ImageUrl(web.add("/batch/known", FILM)))
    error = InputError("empty_request", "")
    inline = Request(InlineImage(dicom(draw_film(1), Modality=None)))
    first, second, third = classifier.classify([url, inline, error])
    assert first.image.size > 0
    assert second.image.size > 0
    assert [first.image.host, second.image.host] == [web.host, ""]
    assert second.image.warnings == second.answer.warnings == ("modality_absent",)
    assert third.image is None
    assert third.answer is error


def test_too_many_bytes():
    with made(max_image_bytes=100) as classifier:
        assert codes(classifier.classify([Request(InlineImage(FILM))])) == ["image_too_large"]


@pytest.mark.parametrize("fault", [MemoryError, OSError, EOFError])
def test_no_resources_cost_one_row(classifier, monkeypatch, fault):
    def decode(data):
        raise fault

    monkeypatch.setattr(classifier._dicom, "decode", decode)
    requests = [Request(InlineImage(dicom(draw_film(1)))), Request(InlineImage(FILM))]
    assert codes(classifier.classify(requests)) == ["decoding_failed", None]
