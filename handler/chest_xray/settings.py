"""Every setting of the handler, typed and checked once, when a worker loads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from chest_xray.archive import Archive
from chest_xray.hosts import is_trusted_host
from chest_xray.typed_settings import TypedSettings, read_yaml, setting

_MOST_PORT = 65_535


@dataclass(frozen=True)
class Settings(TypedSettings):
    """The ``handler:`` section of ``model-config.yaml``; each default is usable as it is.

    ``CHEST_XRAY_<NAME>`` in the environment of the server overrides a setting without a new
    archive; lists are comma-separated there.
    """

    part: ClassVar[str] = "handler"
    prefix: ClassVar[str] = "CHEST_XRAY_"

    threads: int = setting(
        1, "CPU threads of one worker; each core has workers of its own, so more would compete"
    )
    bfloat16: bool = setting(
        True,
        "compute convolutions with 16-bit numbers where the processor has instructions for them: "
        "faster, and probabilities move by up to 0.01",
    )
    fetch_timeout_s: float = setting(
        10.0,
        "time for fetching all images of a batch: name lookup, connections, headers and bodies",
        unit="seconds",
    )
    fetch_parallel: int = setting(32, "images of one batch that are fetched at the same time")
    https_only: bool = setting(False, "refuse imageUrl with http, redirects included")
    allowed_ports: tuple[int, ...] = setting(
        (), "ports that any public host may use, besides 80 and 443", most=_MOST_PORT
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "hosts whose addresses may be private: pacs.local, *.images.example.org, 10.1.2.3:8042; "
        "without a port, the allowed ports count",
        check=is_trusted_host,
        expected="a host, *.suffix or host:port",
    )
    allowed_hosts_only: bool = setting(False, "refuse every host that is not in allowed_hosts")
    answer_out_of_distribution: bool = setting(
        False, "label images that are no frontal chest films, whether or not the caller asks"
    )
    audit: bool = setting(
        False,
        "keep an audit trail: which key asked when, what was answered, and the image's SHA-256",
    )
    max_image_bytes: int = setting(
        20_000_000, "size of one encoded image, fetched or sent", unit="bytes"
    )
    max_image_pixels: int = setting(
        50_000_000,
        "width times height, checked before decoding; a full-size digital film has 9 to 18 million",
        unit="pixels",
    )
    dicom_timeout_s: float = setting(
        5.0, "time for decoding one DICOM file, in a process of its own", unit="seconds"
    )
    dicom_memory_bytes: int = setting(
        3_000_000_000,
        "address space of that process, of which Python and the decoders map about 0.5 GB",
        unit="bytes",
    )

    @classmethod
    def packed_in(cls, archive: Archive, environment: Mapping[str, str]) -> "Settings":
        """The settings that the workers of an archive load.

        Args:
            archive: whose YAML says them.
            environment: of the server, which overrides them.

        Raises:
            SettingError: they would refuse to; the message says why.
        """
        text = archive.read(archive.config_file).decode("utf-8", errors="replace")
        values = read_yaml(text, f"{archive.path.name}/{archive.config_file}")
        return cls.load(values.get("handler"), environment)
