"""Grafana's dashboards as code; `python -m harness.dashboards` writes deploy/grafana/dashboards."""
