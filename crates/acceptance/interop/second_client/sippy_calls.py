"""Makes calls with sippy's user agent: sippy_calls.py JOB RESULT (see interop.py)."""

import json
import re
import socket
import sys

from sippy.CCEvents import CCEventConnect, CCEventFail, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipURL import SipURL
from sippy.UA import UA

OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 40000 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]
)


class Wire:
    """Replaces sippy's log."""

    def __init__(self):
        self.messages = []
        self.on_message = None

    def write(self, label, *texts, **_):
        for mark, direction in (("SENDING", "sent"), ("RECEIVED", "received")):
            if label.startswith(mark):
                self.messages.append([direction, texts[0]])
                self.on_message(direction, texts[0])


class Try(CCEventTry):
    """An outgoing call to a domain that differs from the address of the next hop."""

    domain = None

    def onUacSetupComplete(self, ua):
        ua.rTarget = SipURL(username="100", host=self.domain)
        for end in (ua.rUri, ua.lUri):
            end.getUrl().host = self.domain


class Call:
    def __init__(self, wire, config, job, wanted):
        self.connected = False
        self.over = False
        server = ("127.0.0.1", job["port"])
        self.ua = UA(config, self.on_event, wanted["user"], wanted["password"], server)
        self.ua.outbound_proxy = server
        wire.on_message = self.on_message
        event = Try((None, wanted["user"], "100", MsgBody(OFFER), None, None))
        event.domain = wanted["domain"]
        self.ua.recvEvent(event)

    def on_event(self, event, ua):
        if isinstance(event, CCEventConnect):
            self.connected = True
            ua.disconnect()
        elif isinstance(event, CCEventFail):
            self.end()

    def on_message(self, direction, text):
        """sippy has no event for the answer to a BYE."""
        answer = direction == "received" and str(self.ua.cId) in text
        if answer and re.search(r"^CSeq: *\d+ +BYE", text, re.M):
            self.end()

    def end(self):
        self.over = True
        ED2.breakLoop()


def main(job_file, result_file):
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wire = Wire()
    config = {"_sip_address": "127.0.0.1", "_sip_port": port, "_sip_logger": wire}
    # this user agent receives no calls
    config["_sip_tm"] = SipTransactionManager(config, lambda request, transaction: None)
    results = []
    for wanted in job["calls"]:
        wire.messages = []
        results.append(make_call(wire, config, job, wanted))
        if results[-1]["error"]:
            break
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(results, file)


def make_call(wire, config, job, wanted):
    call = Call(wire, config, job, wanted)
    ED2.loop(timeout=job["seconds"])
    error = None if call.over else f"did not end within {job['seconds']} s"
    return {"error": error, "connected": call.connected, "messages": wire.messages}


main(*sys.argv[1:])
