"""Workers go one at a time, also where none can be told to."""

from types import SimpleNamespace

import pytest

from chest_xray.worker.contract import retirement_order
from chest_xray_ops.versions import scaling


class Client:
    """A server whose workers heed no order, or stand still as soon as they are asked."""

    def __init__(self, scratch, heeds):
        self.scratch, self.heeds, self.workers = scratch, heeds, [11, 12, 13]
        self.seen = []

    def describe(self, version):
        rows = [{"pid": pid, "status": "READY"} for pid in self.workers]
        return {"modelVersion": "3.0", "minWorkers": len(rows), "workers": rows}

    def ask_a_worker(self, version, timeout_s):
        if self.heeds:
            retirement_order(self.scratch, self.workers[-1]).unlink()

    def scale(self, workers, version):
        self.seen.append((workers, [path.name for path in self.scratch.iterdir()]))
        del self.workers[workers:]

    def wait_ready(self, workers, version, timeout_s):
        assert len(self.workers) == workers


@pytest.mark.parametrize("heeds", [True, False])
def test_one_at_a_time(tmp_path, monkeypatch, heeds):
    monkeypatch.setattr(scaling, "_RETIRE_S", 0.2)
    client, said = Client(tmp_path, heeds), []
    scaling.scale(client, SimpleNamespace(scratch=tmp_path, envelope=""), 1, say=said.append)
    assert client.seen == [(2, []), (1, []), (1, [])]  # nor is an order left behind
    assert bool(said) is not heeds


@pytest.mark.parametrize(("folder", "envelope"), [("none", ""), (".", "json")])
def test_where_no_worker_can_be_told(tmp_path, folder, envelope):
    """From another machine, or through an envelope."""
    client, said = Client(tmp_path, heeds=False), []
    instance = SimpleNamespace(scratch=tmp_path / folder, envelope=envelope)
    scaling.scale(client, instance, 2, say=said.append)
    assert client.workers == [11, 12]
    assert "500" in said[0]
