"""Registers with PJSIP's user agent and makes a call: pjsip_registered.py REGISTRAR_PORT USER PASSWORD
URI. Prints all messages, then `registered: True` and `connected: True` or False."""

import os
import sys
import time

import pjsua2 as pj

SECONDS = 40


class Log(pj.LogWriter):
    def write(self, entry):
        print(entry.msg.rstrip(), flush=True)


class Account(pj.Account):
    registered = None

    def onRegState(self, prm):
        self.registered = prm.code == 200


class Call(pj.Call):
    connected = False
    over = False

    def onCallState(self, prm):
        state = self.getInfo().state
        self.connected |= state == pj.PJSIP_INV_STATE_CONFIRMED
        self.over |= state == pj.PJSIP_INV_STATE_DISCONNECTED

    def onCallRedirected(self, prm):
        return pj.PJSIP_REDIRECT_ACCEPT_REPLACE


def wait(endpoint, done):
    until = time.monotonic() + SECONDS / 2
    while not done() and time.monotonic() < until:
        endpoint.libHandleEvents(20)


def main(registrar, user, password, uri):
    endpoint, log = pj.Endpoint(), Log()
    endpoint.libCreate()
    config = pj.EpConfig()
    # events are handled in this thread, where Python can be called
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 4
    config.logConfig.msgLogging = 1
    config.logConfig.writer = log
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = transport.publicAddress = "127.0.0.1"
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()

    settings = pj.AccountConfig()
    settings.idUri = f"sip:{user}@127.0.0.1:{registrar}"
    settings.regConfig.registrarUri = f"sip:127.0.0.1:{registrar}"
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    settings.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account = Account()
    account.create(settings)
    wait(endpoint, lambda: account.registered is not None)

    call = Call(account)
    call.makeCall(uri, pj.CallOpParam(True))
    wait(endpoint, lambda: call.over or call.connected)
    print(f"registered: {bool(account.registered)}")
    print(f"connected: {call.connected}", flush=True)
    # skips the shutdown of the library, which takes a second
    os._exit(0)


main(*sys.argv[1:])
