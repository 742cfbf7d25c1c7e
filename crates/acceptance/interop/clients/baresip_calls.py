"""Makes calls with the baresip 4 of the package baresip-python: baresip_calls.py JOB RESULT.

JOB and RESULT are those of ../second_client/interop.py. The messages of a call are one text, the
trace of the library.
"""

import asyncio
import json
import logging
import sys

import baresip
from baresip.events import Event
from baresip.runtime import Runtime
from baresip.ua import UserAgent


class Trace(logging.Handler):
    """Collects the log of the library, which has each SIP message as a record."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


async def main(job_file, result_file):
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    trace = Trace()
    log = logging.getLogger("baresip")
    log.setLevel(logging.DEBUG)
    log.addHandler(trace)
    runtime = Runtime()
    await runtime.start(
        baresip.Config(
            net_interface="127.0.0.1",
            sip_trace=True,
            native_log_level="debug",
            max_concurrent_calls=None,
        )
    )
    results = []
    for wanted in job["calls"]:
        trace.lines = []
        results.append(await call(runtime, job, wanted))
        # the log has a thread of its own
        await asyncio.sleep(0.1)
        results[-1]["messages"] = [["both", "\n".join(trace.lines)]]
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(results, file)
    await runtime.close()


async def call(runtime, job, wanted):
    account = baresip.Account(
        user=wanted["user"],
        domain=wanted["domain"],
        password=wanted["password"],
        registrar=f"127.0.0.1:{job['port']}",
        reg_interval=0,
        audio_codecs=("pcmu",),
    )
    loop = asyncio.get_running_loop()
    result = loop.create_future()

    agent = await UserAgent.create(runtime, account)

    def listener(event):
        # the call may be over before `dial` returns; the end of an earlier call has another agent
        ends = event.event in (Event.CALL_ESTABLISHED, Event.CALL_CLOSED)
        if ends and event.ua == agent.handle and not result.done():
            result.set_result(event.event is Event.CALL_ESTABLISHED)

    runtime.subscribe(listener)
    connected, error = False, None
    try:
        made = await agent.dial(f"sip:100@{wanted['domain']}")
        connected = await asyncio.wait_for(result, job["seconds"])
        if connected:
            await made.hangup()
    except TimeoutError:
        error = f"did not end within {job['seconds']} s"
    except baresip.BaresipError as failure:
        error = repr(failure)
    finally:
        runtime.unsubscribe(listener)
    return {"error": error, "connected": connected}


asyncio.run(main(*sys.argv[1:]))
