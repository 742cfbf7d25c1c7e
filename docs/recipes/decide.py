#!/usr/bin/env python3
"""Asks the decision service of `sip-authz serve --decide` about a request (docs/decision-service.md).

Usage: decide.py unix:PATH|tcp:HOST:PORT TRANSPORT SOURCE-IP SOURCE-PORT < MESSAGE

For TCP the environment has SIP_AUTHZ_DECIDE_TOKEN. Prints the outcome with the status, then the header lines
of the response, then the other fields. The exit code is 0 for an accept. Needs Python 3.9 or later alone.
"""
import os
import socket
import struct
import sys

OUTCOMES = {b"\1": "accept", b"\2": "challenge", b"\3": "reject", b"\4": "undecided", b"\5": "overloaded"}
NAMES = {7: "account", 8: "target", 9: "name", 10: "user", 11: "permission", 13: "reason", 14: "cause"}


class Service:
    """A connection for one process. After an exception, refuse the request and make a new connection."""

    def __init__(self, place, token="", seconds=2):
        kind, _, rest = place.partition(":")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(seconds)
            self.socket.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), seconds)
        self.id = 0
        self.send(1, [(1, b"SIP-AUTHZ"), (2, struct.pack("!HH", 1, 1)), (3, token.encode())])
        (self.limit,) = struct.unpack("!I", self.receive(2)[4][0])

    def send(self, kind, fields):
        body = bytes([kind]) + b"".join(struct.pack("!HI", tag, len(it)) + it for tag, it in fields)
        self.socket.sendall(struct.pack("!I", len(body)) + body)

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the service has ended the connection")
            data += part
        return data

    def receive(self, kind):
        """The values of each tag of the next frame."""
        body = self.read(struct.unpack("!I", self.read(4))[0])
        fields, at = {}, 1
        while at < len(body):
            tag, length = struct.unpack_from("!HI", body, at)
            fields.setdefault(tag, []).append(body[at + 6 : at + 6 + length])
            at += 6 + length
        if at != len(body):
            raise ConnectionError("a field ends behind its frame")
        if body[0] != kind:
            raise ConnectionError(b"".join(fields.get(2, [])).decode() or f"frame {body[0]}")
        return fields

    def decide(self, message, transport, ip, port):
        """The fields of the answer. Only the outcome 1 is an accept."""
        self.id += 1
        number = struct.pack("!Q", self.id)
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        source = socket.inet_pton(family, ip) + struct.pack("!H", port)
        fields = [(1, number), (2, transport.encode()), (3, source), (4, message)]
        if 1 + sum(6 + len(value) for _, value in fields) > self.limit:
            raise ValueError("the message is too long for a frame")
        try:
            self.send(3, fields)
            answer = self.receive(4)
            if answer[1] != [number]:
                raise ConnectionError("the answer to another request")
        except Exception:
            # a late answer must never meet a later request
            self.socket.close()
            raise
        return answer


def main(place, transport, ip, port):
    service = Service(place, os.environ.get("SIP_AUTHZ_DECIDE_TOKEN", ""))
    answer = service.decide(sys.stdin.buffer.read(), transport, ip, int(port))
    status = [str(struct.unpack("!H", it)[0]) for it in answer.get(3, [])]
    print(*(OUTCOMES.get(it, "unknown") for it in answer[2]), *status, *(it.decode() for it in answer.get(4, [])))
    print(end=b"".join(answer.get(5, [])).decode())
    for used in answer.get(6, []):
        print("used header:", struct.unpack("!H", used[:2])[0], used[2:].decode())
    for tag, name in NAMES.items():
        for value in answer.get(tag, []):
            print(f"{name}: {value.decode()}")
    for _ in answer.get(12, []):
        print("retransmission")
    return 0 if answer[2] == [b"\1"] else 1


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
