"""A self-signed certificate, for trying the edge out."""

import subprocess
from pathlib import Path

from chest_xray_ops.edge.nginx import EdgeFailed

_DAYS = "30"


def self_signed(directory: Path) -> dict[str, str]:
    """Have openssl make a certificate for this machine's own names, and a key.

    Returns:
        The edge's settings that name both files.

    Raises:
        EdgeFailed: openssl cannot make them; the message is its own.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "self-signed.pem", directory / "self-signed.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", _DAYS, "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)
    if run.returncode:
        raise EdgeFailed(f"openssl: {run.stderr}")
    return {"certificate": str(certificate), "certificate_key": str(key)}
