"""The load generator wrk, told what to send and what to print."""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local file = io.open(os.getenv("BODY"), "rb")
local body = file:read("*a")
file:close()
local changing = #body < 1000 and body:find("@COUNT@")
local headers = {}
for line in io.lines(os.getenv("HEADERS")) do
  local name, value = line:match("^(.-): (.*)$")
  headers[name] = value
end
local count = 0
function request()
  count = count + 1
  return wrk.format("POST", nil, headers, changing and body:gsub("@COUNT@", count) or body)
end
function done(summary, latency)
  local wrong = summary.errors
  print(string.format(
    '{"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run saw."""

    per_s: float
    """Answered requests per second, failed ones left out."""
    p50_ms: float
    p99_ms: float
    failed: int


def load(url: str, headers: Mapping[str, str], body: bytes, callers: int, seconds: float) -> Load:
    """Ask again and again with so many callers, each of which waits for its answer.

    Raises:
        FileNotFoundError: wrk is not installed.
        RuntimeError: it gave no figures.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "body").write_bytes(body)
        lines = "".join(f"{key}: {value}\n" for key, value in headers.items())
        (folder / "headers").write_text(lines, encoding="ascii")
        (folder / "script.lua").write_text(_SCRIPT, encoding="ascii")
        run = subprocess.run(
            ["wrk", "-t1", f"-c{callers}", f"-d{seconds:g}s", "--timeout", "20s",
             "-s", str(folder / "script.lua"), url],
            env={**os.environ, "BODY": str(folder / "body"), "HEADERS": str(folder / "headers")},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    try:
        figures = json.loads(run.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"wrk gave no figures: {run.stdout}{run.stderr}") from None
    answered = figures["requests"] - figures["failed"]
    return Load(
        per_s=1e6 * max(0, answered) / figures["us"],
        p50_ms=figures["p50_us"] / 1000,
        p99_ms=figures["p99_us"] / 1000,
        failed=figures["failed"],
    )


def as_base64(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of our request with the image as text."""
    body = json.dumps({"data": base64.b64encode(image).decode()}).encode()
    return {"Content-Type": "application/json"}, body


def as_url(url: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of our request with an address, another one each time."""
    body = json.dumps({"imageUrl": f"{url}?@COUNT@"}).encode()
    return {"Content-Type": "application/json"}, body
