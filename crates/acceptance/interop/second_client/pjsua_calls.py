"""Makes calls with PJSIP's user agent: pjsua_calls.py JOB RESULT (see interop.py)."""

import json
import os
import sys
import time

import pjsua2 as pj


class Wire(pj.LogWriter):
    """Extracts the messages from PJSIP's log, and prints the other lines."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def write(self, entry):
        _, separator, rest = entry.msg.partition(":\n")
        text, end, _ = rest.partition("\n--end msg--")
        if not separator or not end:
            print(entry.msg.rstrip(), flush=True)
            return
        for mark, direction in (("TX ", "sent"), ("RX ", "received")):
            if mark in entry.msg.partition("\n")[0]:
                self.messages.append([direction, text])

    def has_sent(self, method):
        return any(way == "sent" and text.startswith(method + " ") for way, text in self.messages)


class Call(pj.Call):
    connected = False
    over = False

    def onCallState(self, prm):
        state = self.getInfo().state
        self.connected |= state == pj.PJSIP_INV_STATE_CONFIRMED
        self.over |= state == pj.PJSIP_INV_STATE_DISCONNECTED


def main(job_file, result_file):
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    wire = Wire()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    # events are handled in this thread, where Python can be called
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = 4
    # also the log level of the writer
    config.logConfig.consoleLevel = 4
    config.logConfig.msgLogging = 1
    config.logConfig.writer = wire
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    transport.publicAddress = "127.0.0.1"
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, transport)
    if job["secure_port"] is not None:
        endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    # one codec is enough, and keeps the messages short
    for codec in endpoint.codecEnum2():
        if not codec.codecId.startswith("PCMU/"):
            endpoint.codecSetPriority(codec.codecId, 0)

    results = []
    for wanted in job["calls"]:
        wire.messages = []
        results.append(make_call(endpoint, job, wanted, wire))
        if results[-1]["error"]:
            break
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(results, file)
    # skips the shutdown of the library, which takes a second
    os._exit(0)


def make_call(endpoint, job, wanted, wire):
    user, domain = wanted["user"], wanted["domain"]
    account_config = pj.AccountConfig()
    account_config.idUri = f"sip:{user}@{domain}"
    account_config.regConfig.registerOnAdd = False
    credentials = pj.AuthCredInfo("digest", "*", user, 0, wanted["password"])
    account_config.sipConfig.authCreds.append(credentials)
    way = wanted["transport"]
    transport = f";transport={way}" if way in ("tcp", "tls") else ""
    port = job["secure_port" if way == "tls" else "port"]
    account_config.sipConfig.proxies.append(f"sip:127.0.0.1:{port}{transport};lr")
    account_config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account = pj.Account()
    account.create(account_config)
    options = pj.CallOpParam(True)
    if wanted["transport"] == "udp, then tcp":
        # with credentials it is too long for UDP (RFC 3261 §18.1.1)
        subject = pj.SipHeader()
        subject.hName, subject.hValue = "Subject", "far too long " * 20
        options.txOption.headers.append(subject)
    call = Call(account)
    error = None
    try:
        call.makeCall(f"sip:100@{domain}", options)
    except pj.Error as failure:
        error = failure.reason
    deadline = time.monotonic() + job["seconds"]
    while error is None and not call.over:
        if time.monotonic() > deadline:
            error = f"did not end within {job['seconds']} s"
        endpoint.libHandleEvents(20)
        # PJSIP hangs up if all media was declined
        if call.connected and not call.over and not wire.has_sent("BYE"):
            call.hangup(pj.CallOpParam())
    if error is not None:
        endpoint.hangupAllCalls()
    account.shutdown()
    return {"error": error, "connected": call.connected, "messages": wire.messages}


main(*sys.argv[1:])
