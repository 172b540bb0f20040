"""The key of TorchServe's management."""

import requests


def test_rotate_management(server):
    """The old management key ends, the new one is found by the tools, and inference goes on."""
    old, inference = (server.instance.key(kind) for kind in ("management", "inference"))
    run = server.script("keys.py", "rotate-management")
    assert run.returncode == 0, run.stderr
    assert server.instance.key("management") not in (None, old)
    assert server.instance.key("inference") == inference
    assert server.instance.key_file.stat().st_mode & 0o777 == 0o600
    models = f"{server.instance.management_url}/models"
    assert requests.get(models, headers={"Authorization": f"Bearer {old}"}).status_code == 400
    assert server.client.describe()["modelVersion"]
