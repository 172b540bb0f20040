"""All versions at once on the real server: what each answers, refuses and explains."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from chest_xray_ops import archive
from chest_xray_versions import DEFAULT_VERSION, weights_path
from support.films import draw_film, encode
from support.offline import offline, plain, served

VERSIONS = ("1.0", "2.0", "3.0", "4.0")
FILMS = [encode(draw_film(seed), "PNG") for seed in range(6)]
NO_FILM = encode(255 * (draw_film(0) > 128).astype("uint8")[::-1], "PNG")


@pytest.fixture(scope="module")
def everything(server, store):
    """The server with one worker of every version."""
    others = [version for version in VERSIONS if version != DEFAULT_VERSION]
    for version in others:
        path = archive.build(version, weights_path(version), store)
        run = server.script("manage.py", "register", str(path), "--workers", "1")
        assert run.returncode == 0, run.stderr
    yield server
    for version in others:
        assert server.script("manage.py", "unregister", version).returncode == 0


def image(server, **more):
    return {**server.headers, "Content-Type": "image/png", **more}


def test_every_version_answers_as_it_does_offline(everything, ask_grpc):
    for version in VERSIONS:
        for data in FILMS[:3]:
            expected = offline(data, served(version))
            exact = offline(data, plain(version))
            url = f"{everything.url}/{version}"
            rest = requests.post(url, headers=image(everything), data=data).json()
            for body in (rest, ask_grpc(version, data=data)):
                assert body["model_version"] == version
                assert body["label"] == expected.label
                assert body["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)
                assert body["in_distribution_score"] == pytest.approx(expected.score, abs=1e-3)
                assert body["in_distribution"] == expected.in_distribution
                assert body["probabilities"] == pytest.approx(exact.probabilities, abs=0.02)


def explain(server, version, data, **headers):
    url = server.url.replace("/predictions/", "/explanations/") + f"/{version}"
    return requests.post(url, headers=image(server, **headers), data=data)


@pytest.mark.parametrize("version", VERSIONS)
def test_explanations(everything, version):
    answer = explain(everything, version, FILMS[0])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["label"] == offline(FILMS[0], served(version)).label
    grid = body["heatmap"]
    assert len({len(row) for row in grid}) == 1
    assert all(value >= 0 for row in grid for value in row)
    assert sum(map(sum, grid)) == pytest.approx(1, abs=1e-3)

    answer = explain(everything, version, FILMS[0], Accept="image/png")
    assert answer.headers["Content-Type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (224, 258))


def test_explanations_beside_predictions(everything):
    def call(number):
        data = FILMS[number % len(FILMS)]
        if number % 3 == 0:
            return requests.post(everything.url, headers=image(everything), data=data)
        accept = ("application/json", "image/png")[number % 2]
        return explain(everything, DEFAULT_VERSION, data, Accept=accept)

    with ThreadPoolExecutor(12) as executor:
        answers = list(executor.map(call, range(96)))
    assert {answer.status_code for answer in answers} == {200}
    kinds = [answer.headers["Content-Type"] for answer in answers]
    assert set(kinds) == {"application/json", "image/png"}
    for number, answer in enumerate(answers):
        if kinds[number] == "application/json":
            assert ("heatmap" in answer.json()) == (number % 3 != 0)


def test_bad_explanations_are_errors_as_everywhere(everything):
    answer = explain(everything, DEFAULT_VERSION, b"no film", Accept="image/png")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_image")
    assert answer.headers["Content-Type"] == "application/json"


def test_what_is_no_film_gets_no_label_unless_asked_for(start, tmp_path, web):
    server = start(tmp_path, CHEST_XRAY_ANSWER_OUT_OF_DISTRIBUTION="false")
    server.wait_ready()
    refused = requests.post(server.url, headers=image(server), data=NO_FILM)
    assert refused.status_code == 422
    body = refused.json()
    assert (body["code"], body["in_distribution"]) == ("not_a_chest_xray", False)
    assert 0 <= body["in_distribution_score"] < 0.5
    assert "label" not in body
    assert explain(server, DEFAULT_VERSION, NO_FILM, Accept="image/png").status_code == 422

    url = web.add("/no-film.png", NO_FILM)
    asked = {"imageUrl": url, "allowOutOfDistribution": True}
    given = requests.post(server.url, headers=server.headers, json=asked)
    form = {"film": NO_FILM, "allowOutOfDistribution": (None, "true")}
    for answer in (given, requests.post(server.url, headers=server.headers, files=form)):
        assert answer.status_code == 200, answer.text
        assert answer.json()["in_distribution"] is False
        assert "label" in answer.json()
