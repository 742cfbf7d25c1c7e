"""A decision service whose answers the test chooses, and sends when it likes (docs/decision-service.md)."""

import queue
import socket
import struct
import threading

ACCEPT, CHALLENGE, REJECT, UNDECIDED, OVERLOADED = range(1, 6)
SECONDS = 20


class Question:
    """A request that waits for an answer on its connection."""

    def __init__(self, connection, fields):
        self.connection, self.id = connection, fields[1]
        self.message = fields[4]

    def answer(self, outcome, *fields, id=None):
        """Sends an answer. Returns whether the connection took it."""
        try:
            send(self.connection, 4, [(1, id or self.id), (2, bytes([outcome])), *fields])
        except OSError:
            return False
        return True


def text(tag, value):
    return tag, value.encode()


def status(number, phrase):
    return [(3, struct.pack("!H", number)), text(4, phrase)]


def send(connection, kind, fields):
    body = bytes([kind]) + b"".join(struct.pack("!HI", tag, len(it)) + it for tag, it in fields)
    connection.sendall(struct.pack("!I", len(body)) + body)


def read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the client has ended the connection")
        data += part
    return data


def receive(connection):
    """The kind and the fields of a frame; of repeated fields the last one."""
    (length,) = struct.unpack("!I", read(connection, 4))
    body = read(connection, length)
    fields, at = {}, 1
    while at < len(body):
        tag, length = struct.unpack_from("!HI", body, at)
        fields[tag] = body[at + 6 : at + 6 + length]
        at += 6 + length
    return body[0], fields


class FakeService:
    """Listens at a Unix socket until the end of the block."""

    def __init__(self, path):
        self.path, self.questions, self.connections = path, queue.Queue(), []

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.connections:
            connection.close()
        self.path.unlink()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            kind, _ = receive(connection)
            if kind != 1:
                raise ConnectionError("expected a hello")
            welcome = [(1, b"SIP-AUTHZ"), (2, struct.pack("!H", 1)), (4, struct.pack("!I", 131_072))]
            send(connection, 2, welcome)
            while True:
                kind, fields = receive(connection)
                if kind == 3:
                    self.questions.put(Question(connection, fields))
        except OSError:
            return

    def question(self):
        """The next request."""
        return self.questions.get(timeout=SECONDS)
