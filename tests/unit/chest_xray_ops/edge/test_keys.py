"""Keys of callers: their life, and the file they are kept in."""

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from chest_xray_ops.edge.keys import Keys
from support.paths import ROOT

SCRIPT = ROOT / "scripts" / "keys.py"

HOUR = timedelta(hours=1)


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            env={**os.environ, "CHEST_XRAY_KEYS": str(tmp_path / "keys.json")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def until(row):
    return datetime.fromisoformat(row["expires"]) - datetime.now(timezone.utc)


def test_a_key_from_create_to_revoke(run, tmp_path):
    made = json.loads(run("create", "--name", "ward-7").stdout)
    assert timedelta(days=364) < until(made) <= timedelta(days=365)
    file = tmp_path / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    secret = base64.b64decode(made["key"].removeprefix("cxr_")).decode().partition(":")[2]
    assert len(secret) == 43  # 256 bits
    assert secret not in file.read_text()

    renewed = json.loads(run("rotate", made["id"], "--grace-hours", "2").stdout)
    assert renewed["name"] == "ward-7"
    assert renewed["key"] != made["key"]
    rows = {row["id"]: row for row in json.loads(run("list", "--json").stdout)}
    assert {row["state"] for row in rows.values()} == {"valid"}
    assert HOUR < until(rows[made["id"]]) <= 2 * HOUR
    assert timedelta(days=364) < until(rows[renewed["id"]]) <= timedelta(days=365)

    revoked = json.loads(run("revoke", made["id"]).stdout)
    assert revoked["state"] == "revoked"
    listed = run("list")
    assert "revoked" in listed.stdout
    assert secret not in listed.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_no_grace_ends_the_old_key_at_once(run):
    made = json.loads(run("create", "--name", "trial", "--days", "0.5").stdout)
    run("rotate", made["id"], "--grace-hours", "0")
    states = [row["state"] for row in json.loads(run("list", "--json").stdout)]
    assert states == ["expired", "valid"]
    again = run("rotate", made["id"])
    assert again.returncode == 1
    assert "expired" in again.stderr


def test_a_grace_prolongs_nothing(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    key, _ = keys.create("short", HOUR)
    keys.rotate(key.id, 24 * HOUR)
    assert keys.read()[0].expires == key.expires


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["revoke", "0" * 10], 1), (["rotate", "0" * 10], 1), (["create", "--name", "a\nb"], 1),
     (["create", "--name", 'a"; }'], 1), (["create", "--name", "a", "--days", "0"], 2),
     (["create", "--name", "a", "--days", "soon"], 2), (["create"], 2), ([], 2)],
)  # fmt: skip
def test_wrong_usage(run, tmp_path, arguments, status):
    assert run(*arguments).returncode == status
    assert not (tmp_path / "keys.json").exists() or not Keys(tmp_path / "keys.json").read()


def test_a_damaged_file_is_told_and_kept(run, tmp_path):
    (tmp_path / "keys.json").write_text("{")
    assert run("create", "--name", "a").returncode == 1
    assert (tmp_path / "keys.json").read_text() == "{"


def test_changes_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as executor:
        made = list(executor.map(lambda n: Keys(path).create(f"caller {n}", HOUR), range(24)))
    assert {key.id for key, _ in made} == {key.id for key in Keys(path).read()}
