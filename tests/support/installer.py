"""scripts/install.py as an administrator calls it."""

import json
import subprocess
import sys


def install(source, *arguments):
    run = subprocess.run(
        [sys.executable, str(source / "scripts" / "install.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, json.loads(run.stdout) if run.stdout else {}, run.stderr
