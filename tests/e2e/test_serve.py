"""The real server over REST and gRPC: every input form, and what a bad one gets."""

import base64
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from chest_xray_versions import DEFAULT_VERSION
from support.films import draw_film, encode, forms
from support.offline import offline, served


@pytest.fixture(scope="module")
def expected():
    """What the same picture gives offline."""
    return lambda data: offline(data, served(DEFAULT_VERSION))


def agree(body, prediction):
    assert body["label"] == prediction.label
    assert body["model_version"] == DEFAULT_VERSION
    assert isinstance(body["probability"], float)
    assert body["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-4)
    assert body["in_distribution_score"] == pytest.approx(prediction.score, abs=1e-4)


def every_form(url, headers, data, image_url):
    """The ways in, as calls without arguments."""
    packed = base64.b64encode(data).decode()
    binary = {**headers, "Content-Type": "application/octet-stream"}
    return {
        "raw": lambda: requests.post(url, headers=binary, data=data),
        "raw, image type": lambda: requests.post(
            url, headers={**headers, "Content-Type": "image/png"}, data=data
        ),
        "raw, PUT": lambda: requests.put(url, headers=headers, data=data),
        "base64": lambda: requests.post(url, headers=headers, json={"data": packed}),
        "imageUrl": lambda: requests.post(url, headers=headers, json={"imageUrl": image_url}),
        "JSON with charset": lambda: requests.post(
            url,
            headers={**headers, "Content-Type": "application/json; charset=utf-8"},
            data=json.dumps({"imageUrl": image_url}),
        ),
        "JSON as bytes": lambda: requests.post(
            url, headers=binary, data=json.dumps({"imageUrl": image_url})
        ),
        "multipart file": lambda: requests.post(url, headers=headers, files={"file": data}),
        "multipart data": lambda: requests.post(url, headers=headers, files={"data": data}),
        "multipart imageUrl": lambda: requests.post(
            url, headers=headers, files={"imageUrl": (None, image_url)}
        ),
        "KServe path": lambda: requests.post(
            url.replace("/predictions/", "/v1/models/") + ":predict", headers=binary, data=data
        ),
    }


CUT_OFF = encode(draw_film(1), "PNG")[:900]
BAD = {
    "broken JSON": ({"data": b'{"imageUrl": ', "type": "application/json"}, 400, "invalid_json"),
    "no image key": ({"json": {"url": "https://example.org"}}, 400, "unknown_key"),
    "both keys": ({"json": {"imageUrl": "https://a.org", "data": "eA=="}}, 400, "invalid_request"),
    "bad base64": ({"json": {"data": "%%%"}}, 400, "invalid_base64"),
    "file URL": ({"json": {"imageUrl": "file:///etc/passwd"}}, 400, "invalid_url"),
    "empty": ({"data": b"", "type": "image/png"}, 400, "empty_request"),
    "text": ({"data": b"This is no film.", "type": "image/png"}, 415, "unsupported_image"),
    "GIF": ({"data": encode(draw_film(1), "GIF"), "type": "image/gif"}, 415, "unsupported_image"),
    "cut off": ({"data": CUT_OFF, "type": "image/png"}, 422, "corrupt_image"),
}  # fmt: skip


def post_bad(url, headers, request):
    if "json" in request:
        return requests.post(url, headers=headers, json=request["json"])
    headers = {**headers, "Content-Type": request["type"]}
    return requests.post(url, headers=headers, data=request["data"])


def test_every_form(server, web, film, expected):
    image_url = web.add("/film.png", film)
    for name, call in every_form(server.url, server.headers, film, image_url).items():
        answer = call()
        assert answer.status_code == 200, (name, answer.text)
        assert answer.headers["Content-Type"] == "application/json", name
        agree(answer.json(), expected(film))


def test_every_picture_form(server, expected):
    gray = draw_film(9)
    bodies = [
        requests.post(
            server.url, headers={**server.headers, "Content-Type": "image/png"}, data=data
        )
        for data in forms(gray).values()
    ]
    for body in bodies:
        agree(body.json(), expected(encode(gray, "PNG")))


@pytest.mark.parametrize("name", BAD)
def test_bad_rows(server, name):
    request, status, code = BAD[name]
    answer = post_bad(server.url, server.headers, request)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "type", "message"}
    assert answer.json()["code"] == code
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("page", "status"), [({"status": 404, "body": b""}, 404), ({"status": 500, "body": b""}, 502),
                         ({"status": 200, "body": b"<html>"}, 415)]
)  # fmt: skip
def test_bad_upstream(server, web, page, status):
    url = web.add(f"/upstream/{status}", **page)
    answer = requests.post(server.url, headers=server.headers, json={"imageUrl": url})
    assert answer.status_code == status


def test_slow_upstream(server, web):
    url = web.add_drip("/slow", seconds=30)
    answer = requests.post(server.url, headers=server.headers, json={"imageUrl": url})
    assert answer.status_code == 504
    assert 9 < answer.elapsed.total_seconds() < 15


def test_sixteen_callers_mixing_good_and_bad_rows(server, web, expected):
    """Rows meet in batches; each gets its own answer."""
    films = {seed: encode(draw_film(seed), "PNG") for seed in range(8)}
    predictions = {seed: expected(data) for seed, data in films.items()}
    urls = {seed: web.add(f"/mixed/{seed}", data) for seed, data in films.items()}

    def call(number):
        seed = number % 8
        if number % 3 == 2:
            request, status, code = BAD[list(BAD)[number % len(BAD)]]
            answer = post_bad(server.url, server.headers, request)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            return
        calls = every_form(server.url, server.headers, films[seed], urls[seed])
        answer = list(calls.values())[number % len(calls)]()
        assert answer.status_code == 200, answer.text
        agree(answer.json(), predictions[seed])

    with ThreadPoolExecutor(16) as executor:
        assert len(list(executor.map(call, range(320)))) == 320
    statuses = [worker["status"] for worker in server.client.describe()["workers"]]
    assert set(statuses) == {"READY"}


def test_tokens(server, film):
    assert requests.post(server.url, data=film).status_code == 400
    wrong = {"Authorization": "Bearer wrong", "Content-Type": "image/png"}
    assert requests.post(server.url, headers=wrong, data=film).status_code == 400


def test_large_film_as_base64(server):
    """Larger than TorchServe's default limit of 6.5 MB."""
    noisy = draw_film(4, 3600, 3000)
    data = encode(noisy, "PNG")
    packed = base64.b64encode(data).decode()
    assert len(packed) > 6_553_500
    assert requests.post(server.url, headers=server.headers, json={"data": packed}).ok


def test_grpc(ask_grpc, web, film, expected):
    url = web.add("/grpc.png", film)
    for fields in (
        {"data": film},
        {"data": base64.b64encode(film)},
        {"body": film},
        {"imageUrl": url.encode()},
        {"body": json.dumps({"imageUrl": url}).encode()},
    ):
        agree(ask_grpc(**fields), expected(film))


def test_grpc_errors_carry_the_same_body(ask_grpc):
    body = ask_grpc(data=b"\x00no film")
    assert (body["code"], body["type"]) == ("unsupported_image", "UnsupportedMediaType")


def test_printed_curl_line(server, web, film, expected):
    [line] = [line for line in server.banner.splitlines() if line.startswith("curl ")]
    url = web.add("/curl.png", film)
    command = [re.sub(r'"https://[^"]*"', f'"{url}"', part) for part in shlex.split(line)]
    run = subprocess.run([*command, "--silent"], capture_output=True, check=True)
    agree(json.loads(run.stdout), expected(film))


def test_predict_script(server, web, film, tmp_path, expected):
    (tmp_path / "film.png").write_bytes(film)
    (tmp_path / "notes.txt").write_text("no film")
    url = web.add("/script.png", film)
    inputs = [str(tmp_path / "film.png"), url, str(tmp_path / "notes.txt"), "gone.png"]
    run = server.script("predict.py", *inputs)
    assert run.returncode == 1
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert [answer["input"] for answer in answers] == inputs
    agree(answers[0], expected(film))
    agree(answers[1], expected(film))
    assert answers[2]["status"] == 415
    assert answers[3]["code"] == "unreadable_file"
    assert server.script("predict.py", inputs[0]).returncode == 0

    run = server.script(
        "predict.py", *inputs[:2], "--any-image", "--heatmaps", str(tmp_path / "pictures")
    )
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    pictures = [tmp_path / "pictures" / f"{name}.png" for name in ("0001-film", "0002-script")]
    assert [answer["heatmap"] for answer in answers] == list(map(str, pictures))
    for picture in pictures:
        with Image.open(picture) as opened:
            assert opened.size == (224, 258)


def test_nothing_of_a_request_is_logged_or_left_on_disk(server, web, film):
    """Runs last in this file: what the tests above sent must be nowhere."""
    secret = web.add("/film.png?patient=zq4711", film)
    requests.post(server.url, headers=server.headers, json={"imageUrl": secret})
    requests.post(server.url + "?name=zq4711", headers=server.headers, data=b"patient-4711")
    requests.post(
        server.url, headers={**server.headers, "Content-Type": "application/json"}, data=b'{"zq4711'
    )
    text = "".join(path.read_text(errors="replace") for path in server.instance.logs.glob("*.log"))
    for needle in ("zq4711", "film.png", "JFIF", "IHDR", base64.b64encode(film).decode()[:30]):
        assert needle not in text
    files = [path for path in server.instance.directory.rglob("*") if path.is_file()]
    assert not [path for path in files if film[:100] in path.read_bytes()]
