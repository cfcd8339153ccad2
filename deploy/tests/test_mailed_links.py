"""Proxies log no token of a link that was mailed."""

import yaml

from deploy.tests.test_body_limits import adapted
from testing.servers import ROOT

PAGES = {"/confirm-email", "/reset-password", "/pay", "/portal"}


def test_caddy() -> None:
    encoder = adapted()["logging"]["logs"]["default"]["encoder"]
    rule = {"parameter": "token", "type": "replace", "value": "REDACTED"}
    assert encoder["fields"] == {"request>uri": {"filter": "query", "actions": [rule]}}


def test_the_ingress() -> None:
    ingresses = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/example/ingress.yaml").read_text()))
    without_log = [
        path["path"]
        for ingress in ingresses
        if ingress["metadata"]["annotations"].get("nginx.ingress.kubernetes.io/enable-access-log") == "false"
        for path in ingress["spec"]["rules"][0]["http"]["paths"]
    ]
    assert set(without_log) == PAGES
