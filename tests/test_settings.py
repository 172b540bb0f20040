from pathlib import Path

import pytest
import yaml

from chest_xray.settings import Settings

CONFIG = Path(__file__).parent.parent / "config" / "model-config.yaml"


def test_the_file_states_the_defaults():
    handler = yaml.safe_load(CONFIG.read_text())["handler"]
    assert Settings.from_mapping(handler) == Settings()
    assert set(handler) == set(vars(Settings()))


def test_partial_and_integer_for_seconds():
    assert Settings.from_mapping({"fetch_timeout_s": 3}).fetch_timeout_s == 3


@pytest.mark.parametrize(
    "values",
    [{"fetch_timeout": 3}, {"threads": 0}, {"threads": 1.5}, {"threads": True}, {"threads": "2"},
     {"fetch_timeout_s": float("nan")}, {"max_image_bytes": None}],
)  # fmt: skip
def test_wrong_values_name_the_key(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Settings.from_mapping(values)
