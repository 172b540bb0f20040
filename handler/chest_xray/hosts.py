"""Hosts as text -> one spelling per host, and the rules with which an operator trusts some."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from urllib3.util import parse_url

UNWANTED = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
"""Characters that no URL and no host may have."""
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")


@dataclass(frozen=True)
class TrustedHost:
    """One item of ``allowed_hosts``."""

    host: str
    suffix: bool
    """Every host whose name ends with this one is meant."""
    port: int | None
    """None stands for every port that is allowed."""

    @classmethod
    def parse(cls, text: str) -> "TrustedHost":
        """Raises ValueError if this is neither a host, nor ``*.suffix``, nor one with a port."""
        if UNWANTED.search(text) or re.search(r"[/?#@%]", text):
            raise ValueError(f"invalid host: {text!r}")
        suffix = text.startswith("*.")
        bare = text.count(":") > 1 and not text.startswith("[")  # an IPv6 address
        parts = parse_url(f"http://[{text}]" if bare else f"http://{text[2 * suffix :]}")
        host = canonical(parts.host or "")
        if parts.port == 0 or (suffix and _is_address(host)):
            raise ValueError(f"invalid host: {text!r}")
        return cls(host, suffix, parts.port)

    def covers(self, host: str, port: int, ports: Collection[int]) -> bool:
        """Whether a host and its port are meant.

        Args:
            host: as :func:`canonical` spells it.
            ports: those that are allowed at any host.
        """
        named = host.endswith("." + self.host) if self.suffix else host == self.host
        return named and (port == self.port if self.port else port in ports)


def is_trusted_host(text: str) -> bool:
    """Whether :class:`TrustedHost` understands this."""
    try:
        TrustedHost.parse(text)
    except ValueError:  # urllib3's LocationParseError is one
        return False
    return True


def canonical(host: str) -> str:
    """The one spelling of a host; raises ValueError if it is neither a name nor an address."""
    if host.startswith("["):
        return str(IPv6Address(host[1:-1]))
    host = host.removesuffix(".").lower()  # urllib3 leaves digits with letters as they are
    if not _NAME.fullmatch(host):
        raise ValueError(f"invalid host: {host!r}")
    return host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
