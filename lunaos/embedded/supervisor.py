"""Starts programs, keeps them running, and stops them in order."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from lunaos.embedded.process import Program, spawn

TICK_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STEADY_AFTER_S = 60.0
GRACE_S = 10.0
READY_WITHIN_S = 120.0
LOG_TAIL_LINES = 5


class Stopped(Exception):
    """Somebody asked the supervisor to end."""


class NeverReady(Exception):
    """A program did not come up."""


@dataclass
class Child:
    """A running program and how often it has died of late."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause_s: float = FIRST_PAUSE_S
    restart_at: float | None = None


class Supervisor:
    """Owns every process it starts; `stop` leaves none behind.

    Args:
        environment: of the children; may be added to between two starts.
        say: prints one line for a person.
    """

    def __init__(self, environment: dict[str, str], say: Callable[[str], None] = print) -> None:
        self.environment = environment
        self._say = say
        self._children: list[Child] = []
        self._asked_to_stop = False

    def listen(self) -> None:
        """Take SIGINT and SIGTERM as the wish to stop; a second one changes nothing."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note_stop)

    def _note_stop(self, *_: object) -> None:
        self._asked_to_stop = True

    def start(self, *programs: Program) -> None:
        """Start side by side and return when all are ready.

        Raises:
            NeverReady: with the last lines of its log.
            Stopped: somebody asked for it meanwhile.
        """
        began = time.monotonic()
        waiting = [self._spawn(program) for program in programs]
        while waiting:
            for child in [child for child in waiting if child.program.ready()]:
                waiting.remove(child)
                self._say(f"  {child.program.name} is up ({time.monotonic() - began:.1f} s)")
            self._check(waiting, began)

    def _spawn(self, program: Program) -> Child:
        child = Child(program, spawn(program, self.environment), time.monotonic())
        self._children.append(child)
        return child

    def _check(self, waiting: list[Child], began: float) -> None:
        self._tick()
        for child in waiting:
            if child.process.poll() is not None or time.monotonic() - began > READY_WITHIN_S:
                raise NeverReady(f"{child.program.name} did not come up:\n{tail(child.program)}")

    def run(self, argv: list[str], *, patient: bool = True) -> int:
        """Run one command to its end, on this terminal.

        Args:
            patient: leave Ctrl-C to the command; otherwise end it when asked to stop.

        Returns:
            Its exit code.

        Raises:
            Stopped: somebody asked for it meanwhile.
        """
        process = subprocess.Popen(argv, env=self.environment)
        while process.poll() is None:
            time.sleep(TICK_S)
            if self._asked_to_stop and not patient:
                process.terminate()
                process.wait()
                raise Stopped
        return process.returncode

    def watch(self) -> None:
        """Start again whatever dies, until asked to stop."""
        while True:
            try:
                self._tick()
            except Stopped:
                return
            for child in self._children:
                self._look_after(child)

    def _tick(self) -> None:
        time.sleep(TICK_S)
        if self._asked_to_stop:
            raise Stopped

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is None and child.process.poll() is not None:
            if now - child.started > STEADY_AFTER_S:
                child.pause_s = FIRST_PAUSE_S
            child.restart_at = now + child.pause_s
            self._say(
                f"{child.program.name} ended ({reason(child.process.returncode)}); "
                f"starting it again in {child.pause_s:.0f} s\n{tail(child.program)}"
            )
            child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S)
        elif child.restart_at is not None and now >= child.restart_at:
            child.process, child.started = spawn(child.program, self.environment), now
            child.restart_at = None

    def stop(self) -> None:
        """End all children, those started last first, each with a grace and then by force."""
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.send_signal(child.program.stop_signal)
                try:
                    child.process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    self._say(f"{child.program.name} did not stop in {GRACE_S:.0f} s and was killed")
            _kill_session(child.process)
        self._children.clear()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Whatever the child left behind in its own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def reason(code: int) -> str:
    """`exit code 1`, or `SIGKILL`."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def tail(program: Program) -> str:
    """The last lines of a program's log, indented."""
    lines = program.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join(f"    {line[:300]}" for line in lines)
