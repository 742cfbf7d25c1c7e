"""A phone of PJSIP that reads commands: pjsip_phone.py SETTINGS, a JSON file.

A line of the standard input is a JSON object with `command` and `params`. The output has the log of PJSIP, and a line for
each event, a JSON object with `type` and `param`. Commands and events have the names of baresip.
"""

import json
import os
import sys

import pjsua2 as pj


def event(kind, parameter=""):
    # one write with a line of its own: threads of PJSIP write to the same output
    line = json.dumps({"type": kind, "param": parameter})
    os.write(sys.stdout.fileno(), f"\n{line}\n".encode())


class Call(pj.Call):
    """A call. It gets the tone of this phone, and its audio is recorded."""

    recorder = None

    def onCallState(self, prm):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            event("CALL_RINGING", info.remoteUri)
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            event("CALL_ESTABLISHED", info.remoteUri)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            PHONE.closed(self)
            event("CALL_CLOSED", f"{info.lastStatusCode} {info.lastReason}")

    def onCallMediaState(self, prm):
        # the list lives as long as its owner
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(index)
                if self.recorder is None:
                    self.recorder = pj.AudioMediaRecorder()
                    self.recorder.createRecorder(PHONE.next_recording())
                audio.startTransmit(self.recorder)
                PHONE.tone.startTransmit(audio)

    def onCallTransferRequest(self, prm):
        event("TRANSFER", prm.dstUri)

    def onCallTransferStatus(self, prm):
        event("TRANSFER_STATUS", str(prm.statusCode))


class Account(pj.Account):
    def onRegState(self, prm):
        if prm.code != 200:
            event("REGISTER_FAIL", f"{prm.code} {prm.reason}")
        else:
            event("REGISTER_OK" if prm.expiration else "UNREGISTERED", str(prm.code))

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        PHONE.calls.append(call)
        ringing = pj.CallOpParam()
        ringing.statusCode = 180
        call.answer(ringing)
        event("CALL_INCOMING", call.getInfo().remoteUri)


class Phone:
    def __init__(self, settings):
        self.calls, self.old = [], []
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        # events are handled in this thread, where Python can be called
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        # to the standard output. A writer in Python would be called from the thread of the media
        config.logConfig.level = config.logConfig.consoleLevel = 4
        config.logConfig.msgLogging = 1
        config.medConfig.clockRate = settings["rate"]
        config.medConfig.noVad = True
        self.endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.boundAddress = settings["address"]
        transport.tlsConfig.CaListFile = settings["authorities"]
        transport.tlsConfig.verifyServer = True
        kinds = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
        self.endpoint.transportCreate(kinds[settings["transport"]], transport)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        # one codec is enough, and keeps the messages short
        for codec in self.endpoint.codecEnum2():
            if not codec.codecId.startswith("PCMU/"):
                self.endpoint.codecSetPriority(codec.codecId, 0)
        self.tone = pj.AudioMediaPlayer()
        self.tone.createPlayer(settings["tone"])
        self.recordings, self.number = settings["recordings"], 0

        account = pj.AccountConfig()
        account.idUri = settings["uri"]
        account.regConfig.registrarUri = settings["registrar"]
        account.regConfig.timeoutSec = settings["expires"]
        # after a connection broke, and after a failure
        account.regConfig.firstRetryIntervalSec = account.regConfig.retryIntervalSec = settings["retry"]
        account.regConfig.randomRetryIntervalSec = 0
        account.sipConfig.proxies.append(settings["proxy"])
        credentials = pj.AuthCredInfo("digest", "*", settings["user"], 0, settings["password"])
        account.sipConfig.authCreds.append(credentials)
        # seconds
        account.natConfig.udpKaIntervalSec = settings["keep_alive"]
        account.natConfig.sipOutboundUse = settings["keep_alive"]
        # the edge is the one who knows the way back: Contact and Via stay as they are
        account.natConfig.contactRewriteUse = account.natConfig.viaRewriteUse = 0
        account.natConfig.sdpNatRewriteUse = 0
        account.mediaConfig.transportConfig.boundAddress = settings["media"]
        account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
        self.account = Account()
        self.account.create(account)

    def next_recording(self):
        self.number += 1
        return f"{self.recordings}/heard-{self.number}.wav"

    def closed(self, call):
        self.calls.remove(call)
        # it is still in use until its callback ends
        self.old.append(call)

    def do(self, command, parameters):
        call = self.calls[-1] if self.calls else None
        usual = pj.CallOpParam(True)
        if command == "dial":
            call = Call(self.account)
            self.calls.append(call)
            call.makeCall(parameters, usual)
        elif command == "accept":
            usual.statusCode = 200
            call.answer(usual)
        elif command == "hangup":
            # of a call that rings here: busy
            usual.statusCode = 486
            call.hangup(usual)
        elif command == "hold":
            call.setHold(usual)
        elif command == "resume":
            usual.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(usual)
        elif command == "transfer":
            call.xfer(parameters, usual)
        elif command in ("register", "unregister"):
            self.account.setRegistration(command == "register")
        else:
            raise ValueError(command)

    def serve(self):
        os.set_blocking(0, False)
        typed = b""
        event("READY")
        while True:
            self.endpoint.libHandleEvents(20)
            try:
                more = os.read(0, 65_536)
            except BlockingIOError:
                continue
            if not more:
                return
            *lines, typed = (typed + more).split(b"\n")
            for line in lines:
                wanted = json.loads(line)
                try:
                    self.do(wanted["command"], wanted.get("params", ""))
                except (pj.Error, AttributeError) as error:
                    event("ERROR", str(getattr(error, "reason", error)))


with open(sys.argv[1], encoding="utf-8") as file:
    PHONE = Phone(json.load(file))
PHONE.serve()
# skips the shutdown of the library, which takes a second
os._exit(0)
