"""Where a fetch may go: what a URL may look like, which addresses are public, who is trusted.

Judges addresses, never their spelling: a host may be written in any way that the system's
resolver understands, and what it resolves to decides. Touches no network.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urljoin

from urllib3.util import parse_url

from chest_xray.errors import InputError
from chest_xray.hosts import UNWANTED, TrustedHost, canonical
from chest_xray.settings import Settings

Address = IPv4Address | IPv6Address

_MAX_URL = 8_192  # characters; presigned links have about 2,000
_DEFAULT_PORT = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)

# IANA's special-purpose registries, and multicast. Spelt out, since Python's own `is_global`
# changed between the versions we run on and knows none of the platform addresses.
_CLOSED_V4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform address
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
_OPEN_V6 = IPv6Network("2000::/3")  # global unicast; all else is local, reserved or multicast
_CLOSED_V6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: benchmarking, ORCHID and others
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


@dataclass(frozen=True)
class Target:
    """A URL, taken apart; only what is put together from this is ever requested."""

    scheme: str
    host: str
    """Lower case, A-labels, no trailing dot; an IPv6 address without brackets."""

    port: int
    path: str
    """Path and query, percent-encoded."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


class Egress:
    """The rules of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._schemes = ("https",) if settings.https_only else ("https", "http")
        self._ports = {*_DEFAULT_PORT.values(), *settings.allowed_ports}
        self._trusted = [TrustedHost.parse(text) for text in settings.allowed_hosts]
        self._trusted_only = settings.allowed_hosts_only

    def target(self, url: str) -> Target:
        """The one reading of ``url``; the fragment is dropped.

        Raises:
            InputError: ``invalid_url`` or ``url_not_allowed``.
        """
        target = _parse(url)
        if target.scheme not in self._schemes:
            raise InputError("url_not_allowed", "imageUrl must be an https URL.")
        if not self.trusts(target):
            if self._trusted_only:
                raise InputError("url_not_allowed", "imageUrl names a host that is not allowed.")
            if target.port not in self._ports:
                raise InputError("url_not_allowed", "imageUrl names a port that is not allowed.")
        return target

    def redirected(self, target: Target, location: str) -> Target:
        """Where a redirect leads to; judged like any URL, and never from https to http.

        Raises:
            InputError: ``upstream_failed`` or ``url_not_allowed``.
        """
        try:
            # Refused before it is joined, since joining drops some of it silently.
            if UNWANTED.search(location):
                raise ValueError
            following = self.target(urljoin(target.url, location))
        except InputError as error:
            if error.code == "url_not_allowed":
                raise
            raise _bad_redirect() from None
        except ValueError:
            raise _bad_redirect() from None
        if target.scheme == "https" and following.scheme == "http":
            raise InputError("url_not_allowed", "The image's server redirects from https to http.")
        return following

    def trusts(self, target: Target) -> bool:
        """Whether an operator allowed this host on purpose."""
        return any(each.covers(target.host, target.port, self._ports) for each in self._trusted)

    def judge(self, target: Target, addresses: Iterable[str]) -> None:
        """Refuse a host that resolves, even in part, to an address that is not public.

        Raises:
            InputError: ``url_not_allowed``.
        """
        if not self.trusts(target) and not all(is_public(address) for address in addresses):
            raise InputError("url_not_allowed", "imageUrl leads to an address that is not public.")


def is_public(text: str) -> bool:
    """Whether an address is globally routable, and so is every IPv4 address that it carries."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    if "%" in text:  # a zone: link-local by definition
        return False
    if carried := _translated(address):
        return all(is_public(str(inner)) for inner in carried)
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if not is_public(str(inner)):
            return False
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def _translated(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses behind a mapped, NAT64, 6to4 (RFC 3056) or Teredo (RFC 4380) address."""
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFF_FFFF)]
    return []


def _parse(url: str) -> Target:
    try:
        authority = _AUTHORITY.match(url)
        if authority is None or len(url) > _MAX_URL or UNWANTED.search(url):
            raise ValueError
        # User names confuse readers, and an encoded host is written to confuse programs.
        if "@" in authority[1] or "%" in authority[1]:
            raise ValueError
        parts = parse_url(url)
        scheme = parts.scheme or ""
        default = _DEFAULT_PORT[scheme]
        port = default if parts.port is None else parts.port
        if port == 0:
            raise ValueError
        return Target(scheme, canonical(parts.host or ""), port, parts.request_uri)
    except (ValueError, KeyError):  # urllib3's LocationParseError is a ValueError
        raise InputError("invalid_url", "imageUrl is not a valid http or https URL.") from None


def _bad_redirect() -> InputError:
    return InputError("upstream_failed", "The image's server redirects to no valid URL.")
