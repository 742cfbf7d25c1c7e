"""Requests that are not of a phone."""

import itertools
import re
import socket

NUMBERS = itertools.count(1)


class Stranger:
    """A socket for UDP in a namespace, which asks the edge."""

    def __init__(self, host, address, edge, port):
        with host.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(20)
        self.socket.connect((edge, port))

    def answer(self, method, uri, route=None):
        """The status of the final answer to a request, or None."""
        number = next(NUMBERS)
        own = "{}:{}".format(*self.socket.getsockname())
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {own};branch=z9hG4bKstranger{number};rport",
            *([f"Route: {route}"] if route else []),
            f"From: <sip:stranger@{own}>;tag=1",
            f"To: <{uri}>",
            f"Call-ID: stranger-{number}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:stranger@{own}>",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.socket.send("\r\n".join([*lines, "", ""]).encode())
        while True:
            try:
                answer = self.socket.recv(65_535).decode(errors="replace")
            except TimeoutError:
                return None
            status = re.match(r"SIP/2\.0 ([2-6]\d\d)", answer)
            if status and f"stranger-{number}\r" in answer:
                return status[1]
