"""The YAML files of config/, which show every setting's default as a comment made from its field.

``python -m chest_xray_ops.config_files`` writes them again after a field has changed.
"""

from pathlib import Path

from chest_xray.files import write_atomically
from chest_xray.settings import Settings
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.places import CONFIG, MODEL_CONFIG

_HANDLER = "handler:\n"
_EDGE_HEAD = """\
# Settings of the edge, as comments with their defaults. CHEST_XRAY_EDGE_<SETTING> in the edge's
# environment overrides one; lists are comma-separated there.
"""


def contents() -> dict[Path, str]:
    """What each file should hold; of TorchServe's own settings, what it holds."""
    ours = MODEL_CONFIG.read_text(encoding="utf-8").partition(_HANDLER)[0]
    return {
        MODEL_CONFIG: ours + _HANDLER + Settings.as_comments(indent="  "),
        CONFIG / "edge.yaml": _EDGE_HEAD + EdgeSettings.as_comments(),
    }


if __name__ == "__main__":
    for path, text in contents().items():
        write_atomically(path, text)
        print(path)
