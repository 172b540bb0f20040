"""From version to version on the real server, under load, through manage.py."""

import json
from pathlib import Path

import pytest

from chest_xray.archive import Archive
from chest_xray_ops import archive
from chest_xray_ops.versions.rollout import located, stored
from chest_xray_versions import weights_path
from support.archives import altered, entry
from support.callers import calling


@pytest.fixture(scope="module")
def second_version(tmp_path_factory):
    """The same weights under another version number, outside the model store."""
    return archive.build("4.1", weights_path("4.0"), tmp_path_factory.mktemp("second"))


def manage(server, *arguments):
    return server.script("manage.py", *arguments)


def test_out_and_back_without_a_lost_request(managed, second_version, film):
    with calling(managed, film) as seen:
        run = manage(managed, "rollout", str(second_version), "--workers", "1", "--json")
        assert run.returncode == 0, run.stderr
        rows = {row["version"]: row for row in json.loads(run.stdout)}
        assert rows["4.1"]["default"]
        assert rows["4.0"]["workers"] == 1  # kept, for a rollback
        assert managed.client.predict(film)["model_version"] == "4.1"

        run = manage(managed, "rollback")
        assert run.returncode == 0, run.stderr
        assert managed.table()["4.0"]["default"]
        assert managed.client.predict(film)["model_version"] == "4.0"
    assert seen.failures == {}
    assert seen.answers["4.0"] > 10
    assert seen.answers["4.1"] > 10


def test_the_old_version_may_be_removed(managed, second_version, film):
    run = manage(managed, "rollout", str(second_version), "--workers", "1", "--remove")
    assert run.returncode == 0, run.stderr
    assert list(managed.table()) == ["4.1"]
    assert manage(managed, "rollback").returncode == 1
    first = "chest-xray-4.0.mar"  # which the model store still has
    assert manage(managed, "rollout", first, "--workers", "2", "--remove").returncode == 0
    assert managed.client.predict(film)["model_version"] == "4.0"


def test_a_bare_name_is_a_file_here_or_one_of_the_model_store(
    second_version, tmp_path, monkeypatch
):
    here, store = tmp_path / "here", tmp_path / "store"
    here.mkdir()
    store.mkdir()
    monkeypatch.chdir(here)
    name = Path(second_version.name)
    name.write_bytes(second_version.read_bytes())
    for _ in range(2):
        with stored(Archive.open(located(name, store)), store) as found:
            assert found == name.name
        assert (store / name).read_bytes() == second_version.read_bytes()
        name.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        Archive.open(located(Path("gone.mar"), store))


def bad_archives(good, folder):
    """Archives that must not take over, each with what is said of it, and when: the last one never
    gets READY."""
    data = good.read_bytes()
    corrupt = folder / "corrupt.mar"
    corrupt.write_bytes(data[: len(data) // 2])
    yield corrupt, "not a usable model archive", 8
    damaged = folder / "damaged.mar"
    middle = data.index(b"golden.json") + 40_000
    damaged.write_bytes(data[:middle] + b"xxxx" + data[middle + 4 :])
    yield damaged, "is damaged", 8
    answers = json.loads(entry(good, "golden.json"))
    answers[1]["probabilities"] = {"normal": 0.2, "pneumonia": 0.2, "covid-19": 0.6}
    other = json.dumps(answers).encode()
    yield altered(good, folder / "other.mar", {"golden.json": other}), "golden answers", 8
    handler = entry(good, "chest_xray_handler.py").replace(
        b"            headers = _headers(",
        b"            time.sleep(600)\n            headers = _headers(",
    )
    assert b"sleep(600)" in handler
    yield altered(good, folder / "hangs.mar", {"chest_xray_handler.py": handler}), "no answer", 8
    wrong = entry(good, "model-config.yaml").replace(b"handler:", b"handler:\n  threads: 0")
    settings = altered(good, folder / "settings.mar", {"model-config.yaml": wrong})
    yield settings, "handler setting threads", 8
    broken = altered(good, folder / "broken.mar", {"chest_xray_handler.py": b"import nothing"})
    yield broken, "workers are", 4


def test_bad_versions_do_not_take_over(managed, second_version, tmp_path, film):
    with calling(managed, film, count=2) as seen:
        for path, said, limit_s in bad_archives(second_version, tmp_path):
            limit = ("--workers", "1", "--timeout", str(limit_s))
            run = manage(managed, "rollout", str(path), *limit)
            assert run.returncode == 1, path
            assert said in run.stderr, run.stderr
            assert list(managed.table()) == ["4.0"]
            assert not (managed.instance.model_store / path.name).exists()
    assert seen.failures == {}
    assert set(seen.answers) == {"4.0"}


def test_canary(managed, second_version, film, tmp_path):
    assert manage(managed, "register", str(second_version), "--workers", "1").returncode == 0
    images = [tmp_path / "film.png", tmp_path / "none.png"]
    images[0].write_bytes(film)
    images[1].write_bytes(b"no image")
    run = manage(managed, "canary", "4.1", *map(str, images), "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["images"], found["agreement"], found["changes"]) == (2, 1.0, {})


def test_a_restart_brings_everything_back(start, tmp_path, second_version, film):
    first = start(tmp_path, TS_DEFAULT_WORKERS_PER_MODEL="1")
    first.wait_ready()
    assert manage(first, "rollout", str(second_version)).returncode == 0
    assert manage(first, "scale", "2").returncode == 0
    before = first.table()
    assert (before["4.1"]["default"], before["4.1"]["workers"]) == (True, 2)
    addresses = {name: value for name, value in first.environment.items() if "ADDRESS" in name}
    first.stop()
    again = start(tmp_path, **addresses)
    again.wait_ready()
    assert again.table() == before
    assert manage(again, "rollback").returncode == 0
    assert again.client.predict(film)["model_version"] == "4.0"


def test_drain_waits_for_callers(managed, film):
    assert manage(managed, "drain").returncode == 0
    with calling(managed, film, count=1):
        assert manage(managed, "drain", "--timeout", "2").returncode == 1
