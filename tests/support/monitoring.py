"""Configuration of Prometheus and Grafana."""

import json

from support.paths import ROOT

PROMETHEUS = ROOT / "config" / "prometheus"

GRAFANA = ROOT / "config" / "grafana"

DASHBOARD = json.loads((GRAFANA / "dashboards" / "chest-xray.json").read_text())
