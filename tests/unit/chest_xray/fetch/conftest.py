"""Real sockets on loopback, trusted on purpose where a fetch is meant to succeed."""

import socket

import pytest

from support import hostile_urls
from support.fetching import RawServer, fetcher_for


@pytest.fixture(scope="module")
def fetcher(web):
    with fetcher_for(web.host) as made:
        yield made


@pytest.fixture
def serve():
    servers = []

    def start(talk, **options):
        servers.append(RawServer(talk, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def resolver(monkeypatch):
    """Names resolve as a test says; every question is counted."""
    real = socket.getaddrinfo
    answers, questions = dict(hostile_urls.NAMES), []

    def getaddrinfo(host, port, *args, flags=0, **options):
        if flags & socket.AI_NUMERICHOST or host not in answers:
            return real(host, port, *args, flags=flags | socket.AI_NUMERICHOST, **options)
        questions.append(host)
        found = answers[host]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, port))
            for address in (found() if callable(found) else found)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    getaddrinfo.answers, getaddrinfo.questions = answers, questions
    return getaddrinfo
