"""Stand-ins for the CUDA libraries that PyPI's torch links to, for machines without a GPU.

torch's Linux wheel cannot be loaded without sixteen CUDA libraries (2.6 GB, and packages of 2 GB
more), though without a GPU nothing in them does any work. This writes libraries of the same names
with the functions that torch links to, each of which only answers that there is no GPU
(cudaErrorNoDevice). torch itself stays as it is. A real library, once installed, takes the place
of its stand-in.
"""

import re
import struct
from pathlib import Path

LIBRARIES = {  # name -> the functions in it
    "libcublas.so.13": r"cublas(?!Lt)",
    "libcublasLt.so.13": r"cublasLt",
    "libcudnn.so.9": r"cudnn",
    "libcudart.so.13": r"(__)?cuda",
    "libcufft.so.12": r"cufft",
    "libcufile.so.0": r"cuFile",
    "libcupti.so.13": r"cupti",
    "libcurand.so.10": r"curand",
    "libcusolver.so.12": r"cusolver",
    "libcusparse.so.12": r"cusparse(?!Lt)",
    "libcusparseLt.so.0": r"cusparseLt",
    "libnccl.so.2": r"p?nccl[A-Z]",
    "libnvJitLink.so.13": r"nvJitLink",
    "libnvrtc-builtins.so.13.0": r"(?!)",
    "libnvrtc.so.13": r"nvrtc",
    "libnvshmem_host.so.3": r"nvshmem",
}
_TEXT = r"Get(Last)?ErrorString$|GetErrorName$|ncclGetLastError$"  # functions that answer a text
_MESSAGE = b"this installation has no CUDA libraries\0"


def _undefined(path: Path) -> set[str]:
    """The names that a 64-bit ELF library wants from others."""
    with path.open("rb") as file:

        def at(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        header = at(0, 64)
        if header[:6] != b"\x7fELF\2\1":
            return set()
        (table,) = struct.unpack_from("<Q", header, 40)
        size, count = struct.unpack_from("<HH", header, 58)
        sections = [
            struct.unpack_from("<IIQQQQI", at(table + i * size, size)) for i in range(count)
        ]
        symbols = next(s for s in sections if s[1] == 11)  # SHT_DYNSYM
        strings = sections[symbols[6]]
        names = at(strings[4], strings[5])
        return {
            names[name : names.index(0, name)].decode()
            for name, _, _, section, _, _ in struct.iter_unpack("<IBBHQQ", at(*symbols[4:6]))
            if section == 0 and name
        }


def _library(soname: str, version: str, functions: list[str]) -> bytes:
    """A 64-bit ELF library for x86, in which functions that answer a text answer _MESSAGE and all
    others 100."""
    strings = b"\0".join(name.encode() for name in ("", *functions, soname, version)) + b"\0"

    def string(name: str) -> int:
        return strings.index(b"\0" + name.encode() + b"\0") + 1

    count = len(functions) + 1  # symbol 0 is none
    code = bytes.fromhex("b864000000c3 9090 488d0501000000 c3") + _MESSAGE
    failure, text = 0, 8  # where in it: mov eax, 100; ret | lea rax, [MESSAGE]; ret
    parts = {
        # one bucket, whose chain runs through all symbols: 1, 2, ... and 0 to end it
        "hash": struct.pack(
            f"<{3 + count}I", 1, count, min(1, count - 1), 0, *range(2, count), *[0] * (count > 1)
        ),
        "symbols": bytes(24 * count),
        "strings": strings,
        "versions": struct.pack(f"<{count}H", 0, *[2] * (count - 1)),
        "definitions": b"".join(
            struct.pack("<HHHHIII", 1, flags, index, 1, _elf_hash(name), 20, following)
            + struct.pack("<II", string(name), 0)
            for flags, index, name, following in ((1, 1, soname, 28), (0, 2, version, 0))
        ),
        "code": code,
    }
    where, end = {}, 64 + 4 * 56  # the header and four segments come first
    for name, part in parts.items():
        where[name] = end
        end = (end + len(part) + 7) & -8
    end = (end + 0xFFF) & -0x1000
    parts["symbols"] = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", string(name), 0x12, 0, 1, where["code"] + entry, 8)
        for name in functions
        for entry in [text if re.search(_TEXT, name) else failure]
    )
    dynamic = b"".join(
        struct.pack("<QQ", tag, value)
        for tag, value in {
            14: string(soname),
            4: where["hash"],
            5: where["strings"],
            10: len(strings),
            6: where["symbols"],
            11: 24,
            0x6FFFFFF0: where["versions"],
            0x6FFFFFFC: where["definitions"],
            0x6FFFFFFD: 2,
            0: 0,
        }.items()
    )
    image = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0
    )
    for kind, flags, start, size in (
        (1, 5, 0, end),  # to be read and run
        (1, 6, end, len(dynamic)),  # to be written
        (2, 6, end, len(dynamic)),  # the dynamic section in it
        (0x6474E551, 6, 0, 0),  # no code on the stack
    ):
        image += struct.pack("<IIQQQQQQ", kind, flags, start, start, start, size, size, 0x1000)
    for name, part in parts.items():
        image = image.ljust(where[name], b"\0") + part
    return image.ljust(end, b"\0") + dynamic


def _elf_hash(name: str) -> int:
    """The hash that ELF keeps of a version's name."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def write(packages: Path) -> list[str]:
    """Write the stand-ins that a site-packages folder lacks into the folder where torch looks for
    the real libraries.

    Returns:
        Their names.
    """
    wanted = set[str]().union(
        *map(_undefined, [*packages.glob("torch/lib/*.so"), *packages.glob("torchvision/*.so")])
    )
    folder = packages / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in LIBRARIES if not [*packages.glob(f"nvidia/*/lib/{name}")]]
    for name in missing:
        functions = sorted(filter(re.compile(LIBRARIES[name]).match, wanted))
        version = "NVSHMEM" if "nvshmem" in name else name
        (folder / name).write_bytes(_library(name, version, functions))
    return missing


def remove(packages: Path, names: list[str]) -> None:
    """Remove stand-ins that :func:`write` made."""
    for name in names:
        (packages / "nvidia" / "cu13" / "lib" / name).unlink()
