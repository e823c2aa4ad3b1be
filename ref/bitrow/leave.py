"""How a command leaves when a signal says so: what it had begun is undone, one line is told, the status says which.

Not by an exception: one is lost where C calls Python back (JAX's callback of the garbage collection), waits while the
main thread compiles, and lets the interpreter pull down what XLA's threads still use. A thread waits for the numbers
that Python's C handler writes to a pipe, undoes what is registered here, and ends the process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")
    if hasattr(signal, name)
)
DIFFERS, BAD_INPUT, DEFECT, INTERRUPTED = 1, 2, 3, 130  # exit statuses, `docs/running.md`
PATIENCE = 10.0  # seconds that a signal waits for two steps that belong together

_undo: dict[object, Callable[[], None]] = {}
_whole = threading.RLock()
_installed = False
_said = False
_status: int | None = None


def install() -> None:
    """End this process by one of `SIGNALS` in one line, with the status 128 + its number; an ignored one stays so."""
    global _installed
    if _installed:
        return
    _installed = True
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _noted)
    atexit.register(_ignore)
    threading.Thread(target=_watch, args=(reader,), name="bitrow-signals", daemon=True).start()


def _ignore() -> None:
    """Python's end gives handlers back to the system's, which kill; ignored signals stay so."""
    if _status is not None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _noted(*_: object) -> None:
    """Python's part of a signal: nothing; its C part has written the number."""


def _watch(reader: int) -> None:
    while number := os.read(reader, 1):
        if number[0] in SIGNALS:
            _leave(number[0])


def _leave(number: int) -> None:
    _whole.acquire(timeout=PATIENCE)  # and never released: no other thread ends the process, or says a line, any more
    if _status is not None:
        os._exit(_status)
    if _said:
        _whole.release()
        return
    for action in reversed(list(_undo.values())):
        with contextlib.suppress(Exception):
            action()
    said = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    with contextlib.suppress(OSError):
        shown = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # in place of a progress bar, which hides the cursor
        os.write(2, f"{shown}bitrow: {said}\n".encode())
    os._exit(128 + number)


@contextlib.contextmanager
def undoing(action: Callable[[], None]) -> Iterator[None]:
    """Inside, a signal calls `action`, from another thread, before the process ends."""
    key = object()
    _undo[key] = action
    try:
        yield
    finally:
        _undo.pop(key, None)


@contextlib.contextmanager
def uncut() -> Iterator[None]:
    """Inside, a signal waits: these steps belong together."""
    with _whole:
        yield


def said() -> None:
    """The command's last line is being told: a signal adds no other."""
    global _said
    with _whole:
        _said = True


def over(status: int) -> None:
    """What the command does is done, and told: a signal from here on changes nothing, it only hurries the end."""
    global _status
    with _whole:
        _status = status


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Processes started inside never see `SIGNALS`: who started them decides for them, and they keep them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
