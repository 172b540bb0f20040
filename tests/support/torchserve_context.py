"""What TorchServe gives a handler: a context, and rows."""

import json
from types import SimpleNamespace

from ts.context import Context, RequestProcessor


def context_of(folder, rows, headers=(), config=None):
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    context = Context(
        "chest-xray",
        str(folder),
        manifest,
        8,
        None,
        "0.12.0",
        True,
        SimpleNamespace(),
        config or {},
    )
    context.request_ids = {index: f"id-{index}" for index in range(len(rows))}
    headers = headers or [{} for _ in rows]
    context.request_processor = [RequestProcessor(dict(each)) for each in headers]
    return context


def ask(handler, folder, rows, headers=()):
    context = context_of(folder, rows, headers)
    bodies = handler.handle(rows, context)
    assert len(bodies) == len(rows)
    return bodies, [context.get_response_status(index)[0] for index in range(len(rows))], context
