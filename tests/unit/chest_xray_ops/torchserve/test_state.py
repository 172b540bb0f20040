"""What a server remembers of itself."""

from types import SimpleNamespace

import pytest

from chest_xray_ops.torchserve.foreground import plan
from chest_xray_ops.torchserve.server import StartFailed
from chest_xray_ops.torchserve.state import Entry, State
from chest_xray_versions import DEFAULT_VERSION

STATE = State("3.1", (Entry("3.0", "a.mar", 1), Entry("3.1", "b.mar", 4)), previous="3.0")


@pytest.fixture
def instance(tmp_path, store):
    return SimpleNamespace(directory=tmp_path, model_store=store)


def test_what_is_saved_is_loaded(instance):
    assert State.load(instance) is None
    STATE.save(instance)
    assert State.load(instance) == STATE
    assert [path.name for path in instance.directory.iterdir()] == ["state.json"]
    assert STATE.entry("3.1").workers == 4
    assert STATE.entry("9.9") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"default": "3.0"}', '{"entries": [1]}'])
def test_a_damaged_file_is_none(instance, text):
    (instance.directory / "state.json").write_text(text)
    assert State.load(instance) is None


def test_a_named_version_starts_afresh(instance, monkeypatch):
    monkeypatch.setenv("TS_DEFAULT_WORKERS_PER_MODEL", "2")
    archive = f"chest-xray-{DEFAULT_VERSION}.mar"
    State(DEFAULT_VERSION, (Entry(DEFAULT_VERSION, archive, 7),)).save(instance)
    assert plan(instance, None)[0].entry(DEFAULT_VERSION).workers == 7
    state, opened = plan(instance, DEFAULT_VERSION)
    assert state == State(DEFAULT_VERSION, (Entry(DEFAULT_VERSION, archive, 2),))
    assert opened.version == DEFAULT_VERSION
    assert State.load(instance) is None
    assert plan(instance, None)[0].entry(DEFAULT_VERSION).workers == 2


def test_a_default_version_without_its_archive_does_not_start(instance):
    STATE.save(instance)
    with pytest.raises(StartFailed, match=r"b\.mar"):
        plan(instance, None)
