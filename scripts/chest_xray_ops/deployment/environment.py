"""Makes the virtual environment that the service runs in, from locked requirements.

PyPI's torch for Linux brings 3.8 GB of CUDA libraries along. On a machine without an NVIDIA GPU
they are left out and stand-ins take their place (see ``no_cuda``); if torch does not work with
those, everything is installed after all.
"""

import platform
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from chest_xray_ops.deployment import no_cuda
from chest_xray_ops.failure import Failure

CUDA = "requirements-gpu.txt"
"""The packages that only a GPU needs; the other lists of requirements are without them."""
DEVICES = ("auto", "cpu", "gpu")
_WORKS = "import torch, torchvision; assert not torch.cuda.is_available()"
_PACKAGE = re.compile(r"Collecting ([\w.-]+)|Processing (?:\S*/)?([\w.]+)")
_SIZE = re.compile(r"(?:Downloading|Using cached) .*\((.*B)\)")
_FOR_OTHERS = "Ignoring "
"""How pip begins to say that a requirement is for another Python or system."""
_NOISE = ("Looking in ", "WARNING: Location ")
_REMEMBERED = 20  # lines of pip that are shown if it fails


def make(folder: Path, requirements: Path, device: str = "auto") -> None:
    """Make a virtual environment; one that is there is replaced.

    Args:
        folder: of the environment.
        requirements: the list to install, which lies next to :data:`CUDA`.
        device: ``gpu`` installs the CUDA libraries, ``cpu`` does not, ``auto`` looks for a GPU.

    Raises:
        Failure: pip cannot install them; the message has what it said.
    """
    start = time.monotonic()
    _say(f"making {folder}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    small = _can_leave_cuda_out() and (device == "cpu" or (device == "auto" and not has_gpu()))
    lists = [requirements] if small else [requirements, requirements.with_name(CUDA)]
    install(python, *lists)
    if small:
        [packages] = folder.glob("lib/python*/site-packages")
        names = no_cuda.write(packages)
        _say(f"no GPU here: {len(names)} stand-ins take the place of 3.8 GB of CUDA libraries")
        if subprocess.run([str(python), "-c", _WORKS], capture_output=True).returncode:
            _say("torch does not work with the stand-ins: installing the CUDA libraries")
            no_cuda.remove(packages, names)
            install(python, requirements.with_name(CUDA))
    _say(f"installed in {time.monotonic() - start:.0f} s, {_size_gb(folder):.1f} GB")


def install(python: Path, *requirements: Path) -> None:
    """Install complete lists of requirements, saying which package is under way.

    Raises:
        Failure: pip fails.
    """
    total = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in requirements)
    chosen = [argument for path in requirements for argument in ("-r", str(path))]
    start, count, name = time.monotonic(), 0, ""
    for line in _pip(python, "--progress-bar", "off", *chosen):
        seconds = f"{time.monotonic() - start:.0f} s"
        if line.startswith(_FOR_OTHERS):
            total -= 1
        elif package := _PACKAGE.match(line):
            count, name = count + 1, package[1] or package[2]
            if package[2]:  # a file that is here
                _say(f"[{count}/{total}] {name}, {seconds}")
        elif size := _SIZE.match(line):
            _say(f"[{count}/{total}] {name} {size[1]}, {seconds}")
        elif line.startswith("Installing collected"):
            _say(f"unpacking {count} packages, {seconds}")


def install_project(python: Path, clone: Path, editable: bool = False) -> None:
    """Build the wheel of a clone and install it, without what it depends on.

    Args:
        python: of the environment to install it in.
        clone: the folder of the project.
        editable: install links to the clone, so that changes of its files count at once.

    Raises:
        Failure: pip fails.
    """
    has_builder = not subprocess.run(
        [str(python), "-c", "import hatchling"], capture_output=True
    ).returncode
    options = ["--no-build-isolation"] if has_builder else []
    _say(f"installing the project from {clone.resolve()}")
    what = ["--editable", str(clone)] if editable else [str(clone)]
    for _ in _pip(python, "--force-reinstall", *options, *what):
        pass  # it takes seconds


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU with its driver."""
    return bool(shutil.which("nvidia-smi")) or Path("/dev/nvidia0").exists()


def _can_leave_cuda_out() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _pip(python: Path, *arguments: str) -> Iterator[str]:
    """Run ``pip install --no-deps`` and give the lines that it prints."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        last = deque[str](maxlen=_REMEMBERED)
        for line in map(str.strip, process.stdout):
            if line and not line.startswith(_NOISE):
                last.append(line)
                yield line
    if process.returncode:
        raise Failure("pip failed:\n" + "\n".join(last))


def _size_gb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
