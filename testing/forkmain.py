"""The process from which tests fork web processes and workers."""

# All modules are imported once, here. A child takes over the environment that it is given. If it differs in a setting
# that a module has read at its import, the child becomes a new Python process instead.

import asyncio
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from typing import Any

import django
from django.conf import settings
from django.db import connections

from testing.forkserver import die_with_parent

SETTINGS = ("lunaos.tuning", "lunaos.settings")  # in the order of their imports; a stack's own settings come last
MODULES = (
    *("daphne.cli", "daphne.endpoints", "lunaos.urls", "lunaos.request_limits"),
    *("celery.__main__", "celery.bin.celery", "celery.apps.worker", "celery.apps.beat"),
    *("celery.worker.worker", "celery.worker.strategy", "celery.concurrency.thread"),
)
PER_PROCESS = ("runs.recovery.liveness",)  # choose a number for their process while they are imported
READ_OUTSIDE_SETTINGS = ("OTEL_", "SENTRY_")  # by modules, while they are imported
REPLACEABLE = {"DATABASES"}  # nothing keeps the value but `connections`, which a child makes anew

Request = dict[str, Any]


def main(channel: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test process, which ends its servers
    _import_all()
    baseline, environment = _read_settings(), dict(os.environ)
    gc.freeze()  # or the children's collections would copy all memory
    request = _serve(channel)
    if request is not None:  # in a child
        _become(request, environment, baseline)


def _import_all() -> None:
    from lunaos.infra import lazy_imports

    django.setup()
    for name in MODULES:
        importlib.import_module(name)
    lazy_imports.import_all()


def _read_settings() -> dict[str, Any]:
    """Return the settings as this environment has them, in objects of their own."""
    for name in dict.fromkeys((*SETTINGS, os.environ["DJANGO_SETTINGS_MODULE"])):
        module = importlib.reload(importlib.import_module(name))
    return {name: getattr(module, name) for name in dir(module) if name.isupper()}


def _serve(channel: socket.socket) -> Request | None:
    """Fork a child for each request; return the request in the child, else None."""
    tests = os.getppid()
    for line in channel.makefile("r"):
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)  # so that the test process inherits the child
            _be_inherited(tests)
            channel.sendall(f"{os.getpid()}\n".encode())
            channel.close()
            return dict(json.loads(line))
        os.waitpid(between, 0)
    return None


def _be_inherited(tests: int) -> None:
    """Wait until this process is the test process's child; die with it from then on."""
    while os.getppid() != tests:
        if os.getppid() == 1:
            os._exit(1)
        time.sleep(0.001)
    die_with_parent()
    if os.getppid() != tests:
        os._exit(1)


def _become(request: Request, before: dict[str, str], baseline: dict[str, Any]) -> None:
    """Run `python -m MODULE WORDS` in this process, which has imported most of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["arguments"][0] != "-m" or not _can_take_over_settings(before, baseline):
        os.execv(sys.executable, [sys.executable, *request["arguments"]])
    for name in PER_PROCESS:
        importlib.reload(importlib.import_module(name))
    _renew_reactor()
    _, module, *words = request["arguments"]
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _can_take_over_settings(before: dict[str, str], baseline: dict[str, Any]) -> bool:
    changed = {name for name, _ in before.items() ^ os.environ.items()}
    if any(name.startswith(READ_OUTSIDE_SETTINGS) for name in changed):
        return False
    try:
        fresh = _read_settings()
    except Exception:  # the new process will say it in its own words
        return False
    differing = {name for name in baseline.keys() | fresh.keys() if baseline.get(name) != fresh.get(name)}
    if (differing - REPLACEABLE) & settings.__dict__.keys():  # where Django keeps each setting that was read
        return False
    for name in differing:
        if name in fresh:
            setattr(settings, name, fresh[name])
        else:
            delattr(settings, name)
    _renew_connections()
    return True


def _renew_connections() -> None:
    """Have the next use of a database read the settings again."""
    connections.__dict__.pop("settings", None)
    connections._settings = None  # type: ignore[attr-defined]
    for alias in settings.DATABASES:
        if hasattr(connections._connections, alias):  # type: ignore[attr-defined]
            delattr(connections._connections, alias)  # type: ignore[attr-defined]


def _renew_reactor() -> None:
    from twisted.internet import reactor

    # With an event loop of its own: epoll and pipes would be shared with the siblings.
    renewed: Any = reactor
    renewed.__init__(asyncio.new_event_loop())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
