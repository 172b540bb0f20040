"""Rules and alerts of Prometheus, and the dashboard of Grafana."""

import subprocess

import yaml

from support.monitoring import DASHBOARD, GRAFANA, PROMETHEUS
from support.programs import required


def test_promtool_agrees():
    promtool = required("promtool")
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        done = subprocess.run(
            [promtool, *command],
            cwd=PROMETHEUS,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do():
    tested = (PROMETHEUS / "alerts_test.yml").read_text()
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 10
    for alert in alerts:
        assert alert["for"]
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert f'alertname="{alert["alert"]}"' in tested


def test_grafana_finds_its_files():
    folder = GRAFANA / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert source["datasources"][0]["type"] == "prometheus"
    interval = config["global"]["scrape_interval"]
    assert source["datasources"][0]["jsonData"]["timeInterval"] == interval
    providers = yaml.safe_load((folder / "dashboards" / "chest-xray.yml").read_text())["providers"]
    assert providers[0]["options"]["path"] == "/var/lib/grafana/dashboards"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
