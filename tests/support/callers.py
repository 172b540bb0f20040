"""Callers that ask all the time while something happens to the server."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from support.server import RunningServer

PAUSE_S = 0.02  # which leaves the cores time for what is to happen


class Callers:
    """What they saw."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """How often each model version answered, or each status or fault instead."""
        self.seconds: list[float] = []

    @property
    def failures(self) -> dict[str, int]:
        return {name: count for name, count in self.answers.items() if name.count(".") != 1}

    def ask(self, send: Callable[[], requests.Response]) -> None:
        start = time.perf_counter()
        try:
            answer = send()
            found = answer.json().get("model_version", f"status {answer.status_code}")
        except (requests.RequestException, ValueError) as error:
            found = f"fault {type(error).__name__}"
        self.answers[found] += 1
        self.seconds.append(time.perf_counter() - start)


@contextmanager
def calling(
    server: RunningServer, film: bytes, count: int = 8, path: str = ""
) -> Iterator[Callers]:
    """So many callers; ends once each has its last answer, and every one of them was asked for."""
    seen, stop = Callers(), threading.Event()
    url, headers = server.url + path, {**server.headers, "Content-Type": "image/png"}

    def call() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                seen.ask(lambda: session.post(url, headers=headers, data=film, timeout=60))
                time.sleep(PAUSE_S)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for each in threads:
        each.start()
    try:
        yield seen
    finally:
        stop.set()
        for each in threads:
            each.join()
