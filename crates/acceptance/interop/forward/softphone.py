"""A phone: baresip 1, driven through its module ctrl_tcp."""

import contextlib
import json
import re
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from edge import Failed, end, free_port, start  # noqa: E402
from phones import baresip_files  # noqa: E402

# Seconds until what must come has come. The machine may be busy.
PATIENCE = 60


class Late(Exception):
    """Something did not come."""


def wait_for(what, condition, *, show=lambda: "", patience=PATIENCE):
    """The first result of `condition` that is true."""
    until = time.monotonic() + patience
    while True:
        if found := condition():
            return found
        if time.monotonic() > until:
            raise Late(f"{what}: not within {patience} s\n{show()[-5000:]}")
        time.sleep(0.03)


class Here:
    """The network namespace of this process."""

    prefix, inside = [], contextlib.nullcontext


class Softphone:
    """A phone with one account, until the end of the block. It has an address, and messages from `peer`."""

    def __init__(self, directory, account, peer, *, more="", address="127.0.0.1", host=Here):
        directory.mkdir(parents=True)
        self.name, self.directory, self.out = directory.name, directory, directory / "out"
        self.peer, self.host, self.received, self.events = peer, host, b"", []
        self.port = free_port()
        more += f"module_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{self.port}\n"
        baresip_files(directory, account, more)
        config = directory / "config"
        config.write_text(config.read_text().replace("127.0.0.1:0", f"{address}:0"))
        self.command = [*host.prefix, "baresip", "-4", "-s", "-f", str(directory), "-n", address]

    def __enter__(self):
        self.process = start(self.command, self.out, cwd=self.directory)
        try:
            self.control = wait_for(f"control of {self.name}", self.connect)
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_):
        self.control.close()
        end(self.process)

    def connect(self):
        if self.process.poll() is not None:
            raise Failed(f"baresip ended:\n{self.text()}")
        try:
            with self.host.inside():
                return socket.create_connection(("127.0.0.1", self.port))
        except ConnectionError:
            return None

    def text(self):
        """The output of the phone, with all its messages."""
        return self.out.read_text(errors="replace")

    def messages(self, since=0):
        """The messages since this mark with their direction: `->` or `<-`."""
        plain = re.sub(r"\x1b?\[[0-9;]*m", "", self.text()[since:])
        parts = re.split(r"^#\n\w+ (\S+) -> \S+\n", plain, flags=re.M)
        arrows = ["<-" if source == self.peer else "->" for source in parts[1::2]]
        return list(zip(arrows, parts[2::2]))

    def mark(self):
        """A mark for `messages`. Forgets the events so far."""
        self.poll()
        self.events.clear()
        return len(self.text())

    def message(self, what, since, direction, *patterns, patience=PATIENCE):
        """Waits for a message that all patterns match, and returns it."""

        def seen():
            for arrow, text in self.messages(since):
                if arrow == direction and all(re.search(one, text, re.M) for one in patterns):
                    return text
            return None

        what = f"{what} at {self.name}"
        return wait_for(what, seen, show=lambda: self.text()[since:], patience=patience)

    def do(self, command, parameters=""):
        """Sends a command of the menu."""
        text = json.dumps({"command": command, "params": parameters, "token": command}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))

    def poll(self):
        """Reads the events that have come."""
        self.control.setblocking(False)
        try:
            while more := self.control.recv(65_536):
                self.received += more
        except BlockingIOError:
            pass
        finally:
            self.control.setblocking(True)
        while match := re.match(rb"(\d+):", self.received):
            begin, length = match.end(), int(match[1])
            if len(self.received) < begin + length + 1:
                break
            value = json.loads(self.received[begin : begin + length].decode(errors="replace"))
            self.received = self.received[begin + length + 1 :]
            if value.get("event"):
                self.events.append(value)

    def event(self, kind):
        """Waits for an event of this kind, and returns its parameter."""

        def seen():
            self.poll()
            return [one for one in self.events if one["type"] == kind]

        return wait_for(f"{kind} of {self.name}", seen, show=self.text)[0].get("param", "")
