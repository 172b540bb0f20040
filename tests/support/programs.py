"""Programs that tests run and that pip does not install."""

import os
import shutil

import pytest

PATH = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"))
PACKAGES = {"nginx": "nginx-light", "prometheus": "prometheus", "promtool": "prometheus"}


def required(program: str) -> str:
    """Where a program lies; the test that needs it fails where it is not installed, since a suite
    that skips it says nothing about what it would have shown."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.fail(
            f"{program} is not installed: .ci/run installs it, as root, and so does "
            f"`apt-get install {PACKAGES[program]}`",
            pytrace=False,
        )
    return found
