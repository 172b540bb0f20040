import zipfile

import pytest

from chest_xray.archive import Archive
from chest_xray.settings import Settings
from chest_xray.typed_settings import SettingError, read_yaml

MODEL_CONFIG = "model-config.yaml"


@pytest.fixture
def archive(tmp_path):
    """Writes an archive with this YAML."""

    def write(text):
        with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
            file.writestr(MODEL_CONFIG, text)
        return Archive(tmp_path / "a.mar", "3.0", (), "network.py", "weights.pt", MODEL_CONFIG)

    return write


@pytest.mark.parametrize("text", ["", "batchSize: 16\n", "handler:\n", "handler:\n  # threads: 2"])
def test_an_archive_without_settings_has_the_defaults(archive, text):
    assert Settings.packed_in(archive(text), {}) == Settings()


def test_the_environment_overrides_an_archive(archive):
    loaded = Settings.packed_in(archive("handler: {threads: 2, audit: true}"),
                              {"CHEST_XRAY_THREADS": "3"})  # fmt: skip
    assert loaded == Settings(threads=3, audit=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("handler: {threads: 0}", "handler setting threads: expected a positive whole number, "
                                  "got 0"),
        ("handler: [threads]", "handler settings: expected names with values, got ['threads']"),
        ("[handler]", f"a.mar/{MODEL_CONFIG}: expected names with values, got ['handler']"),
    ],
)  # fmt: skip
def test_a_wrong_archive(archive, text, message):
    with pytest.raises(SettingError) as error:
        Settings.packed_in(archive(text), {})
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["a: {", "a: b: c", "\t", "a: !!python/none x", "\0"])
def test_what_is_not_yaml_is_told_in_one_line(text):
    with pytest.raises(SettingError, match="^here: invalid YAML: ") as error:
        read_yaml(text, "here")
    assert "\n" not in str(error.value)
