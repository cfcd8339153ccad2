"""The supervisor of `make up`: start programs, restart them, stop them in order."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lunaos.embedded.process import Program, before_exec, spawn
from lunaos.embedded.rotation import rotate
from lunaos.infra import wait_messages

TICK_S = 0.1
LOG_CHECK_INTERVAL_S = 10.0
MIN_RESTART_PAUSE_S, MAX_RESTART_PAUSE_S = 1.0, 30.0
STABLE_AFTER_S = 60.0
CLIENTS_GRACE_S, SERVERS_GRACE_S = 5.0, 6.0  # the shutdown takes at most 15 s
READY_TIMEOUT_S = 120.0
MAX_STARTS = 3  # of a program that has never been ready
LOG_TAIL_LINES, LOG_TAIL_BYTES = 5, 4096


class StopRequested(Exception):
    """Raised after a signal to stop."""


class StartFailed(Exception):
    """Raised when a program is not ready in time."""


@dataclass
class Child:
    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause_s: float = MIN_RESTART_PAUSE_S
    starts: int = 1
    restart_at: float | None = None


class Supervisor:
    """Owner of child processes; `stop` ends all of them."""

    def __init__(self, environment: dict[str, str], print_line: Callable[[str], None] = print) -> None:
        # May be extended between two starts.
        self.environment = environment
        self._print_line = print_line
        self._children: list[Child] = []
        self._stop_signal: int | None = None
        self._logs_checked_at = 0.0

    def install_signal_handlers(self) -> None:
        """Stop on SIGINT, SIGTERM and a closed terminal; further signals change nothing."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        self._stop_signal = number

    def start(self, *programs: Program) -> None:
        """Start programs in parallel; return when all are ready.

        Raises:
            StartFailed: with the last lines of the program's log.
            StopRequested: after a signal.
        """
        self.await_ready(self.launch(*programs))

    def launch(self, *programs: Program) -> list[Child]:
        """Start programs without waiting; pass the result to `await_ready`."""
        children = [Child(program, spawn(program, self.environment), time.monotonic()) for program in programs]
        self._children += children
        return children

    def await_ready(self, children: list[Child]) -> None:
        """Wait until launched programs are ready; raise the errors of `start`."""
        remaining = list(children)
        with wait_messages.repeat_while_waiting(
            self._print_line, lambda: ", ".join(child.program.name for child in remaining)
        ):
            while remaining:
                for child in [child for child in remaining if child.program.ready()]:
                    remaining.remove(child)
                    self._print_line(f"  {child.program.name} is up ({time.monotonic() - child.started:.1f} s)")
                self._tick()
                for child in remaining:
                    self._fail_or_restart(child)

    def _fail_or_restart(self, child: Child) -> None:
        died = child.restart_at is None and child.process.poll() is not None
        if (died and child.starts >= MAX_STARTS) or time.monotonic() - child.started > READY_TIMEOUT_S:
            raise StartFailed(f"{child.program.name} did not start:\n{read_log_tail(child.program)}")
        self._restart_if_exited(child)

    def run(self, argv: list[str]) -> int:
        """Run a command with its output on this terminal; return its exit code."""
        process = subprocess.Popen(argv, env=self.environment, start_new_session=True, preexec_fn=before_exec())
        try:
            while process.poll() is None:
                self._tick()
        finally:
            process.terminate()
            _await_end(process, time.monotonic() + CLIENTS_GRACE_S)
        return process.returncode

    def run_in_foreground(self, argv: list[str]) -> int:
        """Run a command that owns the terminal; return its exit code as a shell does."""
        # A terminal sends Ctrl-C to the command itself. Without one, the command has its own group and gets our signal.
        at_terminal = os.isatty(0)
        group = None if at_terminal else 0
        process = subprocess.Popen(argv, env=self.environment, process_group=group, preexec_fn=before_exec())
        while process.poll() is None:
            time.sleep(TICK_S)
            self._rotate_logs()
            number, self._stop_signal = self._stop_signal, None
            if number and not (at_terminal and number == signal.SIGINT):
                process.send_signal(number)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def watch(self) -> None:
        while True:
            try:
                self._tick()
            except StopRequested:
                return
            for child in self._children:
                self._restart_if_exited(child)

    def _tick(self) -> None:
        time.sleep(TICK_S)
        self._rotate_logs()
        if self._stop_signal is not None:
            raise StopRequested

    def _rotate_logs(self) -> None:
        if time.monotonic() - self._logs_checked_at > LOG_CHECK_INTERVAL_S:
            self._logs_checked_at = time.monotonic()
            for child in self._children:
                # Tried again later: a full disk must not end the supervisor.
                with suppress(OSError):
                    rotate(child.program.log)

    def _restart_if_exited(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is None and child.process.poll() is not None:
            # The children of a program that died would hold its port or its socket.
            _kill_session(child.process)
            if now - child.started > STABLE_AFTER_S:
                child.pause_s = MIN_RESTART_PAUSE_S
            child.restart_at = now + child.pause_s
            self._print_line(
                f"{child.program.name} ended ({describe_exit(child.process.returncode)}); "
                f"restarting it in {child.pause_s:.0f} s\n{read_log_tail(child.program)}"
            )
            child.pause_s = min(2 * child.pause_s, MAX_RESTART_PAUSE_S)
        elif child.restart_at is not None and now >= child.restart_at:
            child.process, child.started = spawn(child.program, self.environment), now
            child.restart_at, child.starts = None, child.starts + 1

    def stop(self) -> None:
        """Stop all children in order; kill those that do not end in time."""
        alive = [child for child in self._children if child.restart_at is None]
        self._end([child for child in alive if child.program.stopped_first], CLIENTS_GRACE_S)
        self._end([child for child in alive if not child.program.stopped_first], SERVERS_GRACE_S)
        self._children.clear()

    def _end(self, children: list[Child], grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        for child in children:
            child.process.send_signal(child.program.stop_signal)
        for child in children:
            if not _await_end(child.process, deadline):
                self._print_line(f"{child.program.name} did not stop in {grace_s:.0f} s and was killed")


def _await_end(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    finally:
        _kill_session(process)
    return True


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    # Only right after the child's death, since process numbers are used again.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def describe_exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def read_log_tail(program: Program) -> str:
    with open(program.log, "rb") as log:
        log.seek(max(0, program.log.stat().st_size - LOG_TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join(f"    {line[:300]}" for line in lines)
