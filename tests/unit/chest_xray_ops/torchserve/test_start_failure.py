from chest_xray_ops.torchserve.start_failure import explain

WORKERS = """\
2026-01-01T00:00:00,000|W-9000-chest-xray_1.0-stdout|Torch worker started.
2026-01-01T00:00:00,000|W-9000-chest-xray_1.0-stdout|Backend worker process died.
2026-01-01T00:00:00,000|W-9001-chest-xray_1.0-stdout|Torch worker started.
2026-01-01T00:00:00,000|W-9000-chest-xray_1.0-stdout|Traceback (most recent call last):
2026-01-01T00:00:00,001|W-9001-chest-xray_1.0-stdout|something else
2026-01-01T00:00:00,001|W-9000-chest-xray_1.0-stdout|ValueError: a|b
2026-01-01T00:00:02,000|W-9000-chest-xray_1.0-stdout|s_name_part0=/tmp, s_name_part1=9000, pid=2
2026-01-01T00:00:02,000|W-9000-chest-xray_1.0-stdout|Backend worker process died.
"""


def test_a_workers_own_traceback(tmp_path):
    (tmp_path / "workers.log").write_text(WORKERS)
    expected = "Traceback (most recent call last):\nValueError: a|b"
    assert explain(tmp_path) == explain(tmp_path, only_workers=True) == expected


def test_a_traceback_alone_is_no_death(tmp_path):
    (tmp_path / "workers.log").write_text("t|W-1|Traceback (most recent call last):\n")
    assert explain(tmp_path, only_workers=True) == ""


def test_the_servers_complaints_without_their_frames(tmp_path):
    (tmp_path / "server.log").write_text("2026-01-01T00:00:00,000 WARN main - careful\n")
    (tmp_path / "java.log").write_text(
        "java.io.IOException: Failed to bind\n\tat some.Frame(X.java:1)\n"
        "Caused by: bind(..) failed: Address already in use\n\t... 3 more\n"
    )
    assert explain(tmp_path).splitlines() == [
        "2026-01-01T00:00:00,000 WARN main - careful",
        "java.io.IOException: Failed to bind",
        "Caused by: bind(..) failed: Address already in use",
    ]
    assert explain(tmp_path / "nowhere") == ""
