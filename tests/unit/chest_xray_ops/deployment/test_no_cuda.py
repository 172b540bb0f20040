"""Stand-ins for CUDA libraries are libraries that load and say that there is no GPU."""

import _ctypes
import ctypes
import platform
import sys
from pathlib import Path

import pytest

from chest_xray_ops.deployment import no_cuda

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="elsewhere there are none"
)


WANTED = {"cudaGetDeviceCount", "cudaGetErrorString", "cublasCreate_v2", "malloc"}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of packages whose torch wants functions of CUDA and of the C library."""
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "lib" / "libtorch_cuda.so").touch()
    monkeypatch.setattr(no_cuda, "_undefined", lambda path: WANTED)
    return tmp_path


def test_they_load_and_answer_no_device(packages):
    names = no_cuda.write(packages)
    assert set(names) == set(no_cuda.LIBRARIES)
    made = packages / "nvidia" / "cu13" / "lib"
    for name in names:
        ctypes.CDLL(str(made / name))
    runtime = ctypes.CDLL(str(made / "libcudart.so.13"))
    assert runtime.cudaGetDeviceCount(None) == 100  # cudaErrorNoDevice
    runtime.cudaGetErrorString.restype = ctypes.c_char_p
    assert b"no CUDA" in runtime.cudaGetErrorString(100)
    assert not hasattr(runtime, "cublasCreate_v2")
    assert ctypes.CDLL(str(made / "libcublas.so.13")).cublasCreate_v2(None) == 100
    assert sum(path.stat().st_size for path in made.iterdir()) < 200_000

    no_cuda.remove(packages, names)
    assert not list(made.iterdir())


def test_a_real_library_is_left_alone(packages):
    real = packages / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    assert "libcudnn.so.9" not in no_cuda.write(packages)
    assert real.read_bytes() == b"real"


def test_what_torch_wants_is_read_from_its_libraries():
    """From a library of this Python: what it wants is none of its own functions."""

    names = no_cuda._undefined(Path(_ctypes.__file__))
    assert "PyErr_SetString" in names
    assert "PyInit__ctypes" not in names
