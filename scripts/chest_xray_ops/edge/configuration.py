"""nginx's configuration and its list of keys, as functions of what they are made from."""

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chest_xray_ops.edge.keys import Key
from chest_xray_ops.edge.routes import ROUTES, Route, maps
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.places import CONFIG
from chest_xray_ops.torchserve.instance import MODEL, Instance

TEMPLATE = CONFIG / "nginx.conf"
PAGES = CONFIG / "pages"
CALLERS = "callers"
"""The file in the edge's folder that nginx checks keys against, at every request."""
_TRIES = 3
"""How often TorchServe is asked before a request counts as failed."""


def render(
    settings: EdgeSettings,
    instance: Instance,
    *,
    directory: Path,
    sockets: Path,
    authorization: str | None,
    as_root: bool = False,
    routes: Iterable[Route] = ROUTES,
    pages: Path = PAGES,
) -> str:
    """The configuration: the template with every placeholder filled in.

    Args:
        settings: the edge's settings.
        instance: the server that it stands in front of.
        directory: folder of the edge's own files.
        sockets: folder of the sockets between the parts of nginx.
        authorization: what TorchServe is sent as ``Authorization``; empty if it wants no key, None
            while it is away and nobody can be asked.
        as_root: nginx is started by root, and its workers must open root's sockets.
        routes: what passes.
        pages: folder of the pages' files.
    """
    tls = bool(settings.certificate)
    values: dict[str, Any] = {
        **vars(settings),
        **maps(routes, settings),
        "model": MODEL,
        "directory": directory,
        "sockets": sockets,
        "pages": pages,
        "user": "user root;" if as_root else "",
        "access_log": f"{instance.logs}/edge.log line" if settings.access_log else "off",
        "other_hosts_misdirected": "1" if settings.server_names else '""',
        "server_names": [f'{name} "";' for name in settings.server_names],
        "callers": directory / CALLERS,
        "cors_origins": [f'"{origin}" "{origin}";' for origin in settings.cors_origins],
        "listen": [
            f"listen {address}{' ssl http2' if tls else ''};" for address in settings.listen
        ],
        "tls": _tls(settings) if tls else [],
        "hsts": "max-age=31536000" if tls else '""',
        # More than a body, since one that comes in chunks is kept with their marks.
        "body_memory": settings.max_body_bytes + settings.max_body_bytes // 4,
        "supervisor": urlsplit(instance.monitor_url).netloc,
        "torchserve": _torchserve(instance, sockets, authorization),
        "authorization": f'"{authorization or ""}"',
    }
    return _fill(TEMPLATE.read_text(encoding="utf-8"), values)


def callers(keys: Iterable[Key], now: datetime) -> str:
    """What nginx checks keys against: every key that is valid now, by id and hash."""
    return "".join(f"{key.id}:{key.hash}\n" for key in keys if key.state(now) == "valid")


def _fill(template: str, values: dict[str, Any]) -> str:
    """A template with its placeholders replaced; those for lists stand on lines of their own."""

    def lines(match: re.Match[str]) -> str:
        value = values[match[2]]
        items = value if isinstance(value, list) else [value]
        return "\n".join(f"{match[1]}{item}" for item in items)

    template = re.sub(r"^( *)\{\{(\w+)\}\}$", lines, template, flags=re.MULTILINE)
    return re.sub(r"\{\{(\w+)\}\}", lambda match: str(values[match[1]]), template)


def _torchserve(instance: Instance, sockets: Path, authorization: str | None) -> list[str]:
    """Whom to ask, in order; while the server is away, only the one that refuses everything."""
    nobody = f"server unix:{sockets}/nobody.sock"
    if authorization is None:
        return [f"{nobody};"]
    server = f"server {urlsplit(instance.inference_url).netloc} max_fails=0;"
    return [server] * _TRIES + [f"{nobody} backup;"]


def _tls(settings: EdgeSettings) -> list[str]:
    return [
        f"ssl_certificate {Path(settings.certificate).resolve()};",
        f"ssl_certificate_key {Path(settings.certificate_key).resolve()};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_cache shared:tls:2m;",
        "ssl_session_tickets off;",
    ]
