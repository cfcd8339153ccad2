"""The product's settings, with a Valkey database for each parallel test process."""

import os

worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ["REDIS_URL"] = os.environ["REDIS_URL"].split("?")[0] + f"?db={worker}"
os.environ.setdefault("LUNAOS_LOG_LEVEL", "WARNING")

from lunaos.settings import *  # noqa: E402
