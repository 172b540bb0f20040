"""The YAML files of config/ show the settings as they are."""

import yaml

from chest_xray.settings import Settings
from chest_xray_ops import config_files
from chest_xray_ops.edge.settings import EdgeSettings


def test_the_files_show_every_setting_with_its_default():
    wrong = [path.name for path, text in config_files.contents().items()
             if path.read_text(encoding="utf-8") != text]  # fmt: skip
    assert not wrong, "run: python -m chest_xray_ops.config_files"


def test_a_file_as_it_is_sets_nothing():
    model, edge = (yaml.safe_load(text) for text in config_files.contents().values())
    assert Settings.load(model["handler"], {}) == Settings()
    assert EdgeSettings.load(edge, {}) == EdgeSettings()
