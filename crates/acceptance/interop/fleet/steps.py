"""The steps of a test of several edges: their table, free ports, and a wait for a value."""

import socket
import time

# the machine may be busy
PATIENCE = 120
ALONE = "127.0.0.1"


class Failed(Exception):
    """The test could not run."""


class Table:
    """The steps, printed when they end."""

    def __init__(self):
        self.steps = self.failed = 0

    def step(self, step, expected, got):
        same = expected == got
        self.steps += 1
        self.failed += not same
        print(f"{step:64} {got!s:28} {'ok' if same else f'FAILED, not {expected}'}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind((ALONE, 0))
        return s.getsockname()[1]


def until(expected, ask):
    """Calls `ask` until it returns the expected value or the time is up. Returns the last value."""
    end = time.monotonic() + PATIENCE
    while (got := ask()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return got
