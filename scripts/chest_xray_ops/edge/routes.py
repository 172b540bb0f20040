"""What passes the edge: one row per route or page, from which config/nginx.conf is filled in.

A new route is a row of :data:`ROUTES`. A new page is a row whose ``server`` is ``Server.PAGES``,
and the file that its ``target`` names in config/pages.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.torchserve.instance import MODEL

_PLACEHOLDERS = {
    "[": "(?:",
    "]": ")?",
    "{model}": MODEL,
    "{version}": r"[0-9A-Za-z][\w.-]{0,31}",
}


class Server(Enum):
    """Who answers the requests of a route."""

    TORCHSERVE = "torchserve"
    """The model. It is asked with a key only, and each key has its limits."""
    SUPERVISOR = "supervisor"
    """Readiness; for everybody, whatever host name they use, and without limits."""
    PAGES = "pages"
    """nginx itself, from the files in config/pages; for everybody, without limits."""


@dataclass(frozen=True)
class Route:
    """One path, and what is done with requests for it."""

    name: str
    """A word that is no other route's; it stands for the key of requests without one."""
    path: str
    """The path as it must be sent, to the letter. ``{model}`` is the model's name, ``{version}``
    any version, and what stands in brackets may be left out."""
    methods: tuple[str, ...]
    server: Server = Server.TORCHSERVE
    target: str = ""
    """The path that the server is asked for, or the page's file; by default the path as sent."""
    keyless: str = ""
    """The setting that lets callers of TorchServe do without a key here; by default none does."""
    answer_form: str = ""
    """The form of the handler's answer, if it is not the usual one."""
    cache_control: str = ""
    """How long callers may keep the answer, as the header ``Cache-Control`` says it."""

    @property
    def pattern(self) -> str:
        """The path as a regular expression."""
        parts = re.split(r"(\{\w+\}|[\[\]])", self.path)
        return "".join(_PLACEHOLDERS.get(part) or re.escape(part) for part in parts)


ROUTES = (
    Route("predictions", "/predictions/{model}[/{version}]", ("POST", "PUT")),
    Route("explanations", "/explanations/{model}[/{version}]", ("POST",)),
    Route("v1", "/v1/models/{model}:predict", ("POST",)),
    Route(
        "original",
        "/todo/api/v1.0/covid19",
        ("POST",),
        target=f"/predictions/{MODEL}",
        keyless="keyless_original",
        answer_form="result",
    ),
    Route("ping", "/ping", ("GET", "HEAD"), Server.SUPERVISOR, target="/ready"),
)


def maps(routes: Iterable[Route], settings: EdgeSettings) -> dict[str, list[str]]:
    """The lines of nginx's maps, by the name of the placeholder that they replace."""
    routes = tuple(routes)

    def by_name(value: Callable[[Route], str]) -> list[str]:
        return [f'{route.name} "{text}";' for route in routes if (text := value(route))]

    return {
        "routes": [_line("|".join(route.methods), route, route.name) for route in routes],
        "methods": [_line(r"\S+", route, f'"{", ".join(route.methods)}"') for route in routes],
        "servers": by_name(lambda route: route.server.value),
        "targets": by_name(lambda route: route.target or "$path"),
        "keyless_routes": by_name(
            lambda route: "off" if route.keyless and getattr(settings, route.keyless) else ""
        ),
        "answer_forms": by_name(lambda route: route.answer_form),
        "cache_controls": by_name(lambda route: route.cache_control),
    }


def _line(methods: str, route: Route, value: str) -> str:
    """A line that gives requests with these methods a value, by their request line as sent."""
    return rf'"~^(?:{methods}) (?<path>{route.pattern})(?:\?\S*)? HTTP/" {value};'
