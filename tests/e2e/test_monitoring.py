"""What a real Prometheus makes of a real server."""

import math
import re
import subprocess
import time

import pytest
import requests
import yaml

from chest_xray_ops.torchserve.client import ServerError
from chest_xray_versions import DEFAULT_VERSION
from support.monitoring import DASHBOARD, PROMETHEUS
from support.processes import die_with_parent, free_ports
from support.programs import required


class Prometheus:
    """A real one, that scrapes a server every second and keeps our rules."""

    def __init__(self, folder, target):
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(
            ("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s"
        )
        config["rule_files"] = [str(PROMETHEUS / "alerts.yml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self._url = f"http://{address}"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    required("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={address}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def is_up(self):
        return requests.get(f"{self._url}/-/ready", timeout=10).ok

    def ask(self, path, **parameters):
        answer = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """Labels and numbers, without those that are none."""
        found = self.ask("query", query=expression)["result"]
        return [each["metric"] for each in found if math.isfinite(float(each["value"][1]))]


def until(true, timeout_s=60):
    """The first result that is true; what cannot be reached yet is not."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if found := true():
                return found
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, true
        time.sleep(0.1)


@pytest.fixture
def prometheus(server, tmp_path):
    prometheus = Prometheus(tmp_path, server.instance.monitor_url.removeprefix("http://"))
    try:
        until(prometheus.is_up)
        until(lambda: prometheus.query("chest_xray_ready == 1"))
        yield prometheus
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(20)


def _expressions():
    """Of the dashboard: title, legend, and PromQL as Grafana would send it."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], target["legendFormat"], expression.replace("$instance", ".*")


def test_prometheus_sees_a_healthy_server(server, prometheus, web, film):
    url = web.add("/monitored.png", film)
    for _ in range(30):
        server.client.predict(film, headers={"X-Request-Start": f"t={time.time():.3f}"})
    for _ in range(5):
        server.client.predict({"imageUrl": url})
    with pytest.raises(ServerError):
        server.client.predict(b"no image")
    until(lambda: prometheus.query("sum(increase(chest_xray_requests_total[1m])) >= 30"))

    empty = []
    for title, legend, expression in _expressions():
        assert "$" not in expression
        try:
            found = until(lambda expression=expression: prometheus.query(expression), 15)
        except AssertionError:
            empty.append((title, expression))
        else:
            assert set(re.findall(r"{{(\w+)}}", legend)) <= set(found[0]), title
    assert not empty

    def rules():
        found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    for rule in until(rules):
        assert rule["health"] == "ok", rule
        assert rule.get("state", "inactive") == "inactive", rule
    # A rule with a name that nobody serves is silent for ever.
    used = set(re.findall(r"(?<!:)\bchest_xray_\w+", (PROMETHEUS / "alerts.yml").read_text()))
    served = set(prometheus.ask("label/__name__/values"))
    assert used - served == set()
    assert prometheus.query(f'chest_xray_default_version{{version="{DEFAULT_VERSION}"}} == 1')
