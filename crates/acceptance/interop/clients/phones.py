"""The clients: how each makes a call with a password.

A client has a name, the package that brings it, and two functions. `version` returns its version,
or None if it is not installed. `dial` makes calls and returns a result for each.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edge import Failed, end, start

HERE = Path(__file__).resolve().parent
# Seconds: for a call, and for a client that makes all calls in one process. The machine may be busy.
A_CALL, A_CLIENT = 20, 600


@dataclass(frozen=True)
class Call:
    """A call that a client must make to `sip:100@DOMAIN` through the proxy 127.0.0.1:PORT."""

    user: str
    password: str
    domain: str


@dataclass(frozen=True)
class Result:
    """The client's view of its call: whether it was connected, and its trace of messages."""

    connected: bool
    trace: str

    def credentials(self):
        """The parameters of the credentials in each INVITE that the client sent, in order."""
        method, found = None, []
        for line in self.trace.splitlines():
            if request := re.search(r"\b([A-Z]+) sips?:\S+ SIP/2\.0$", line):
                method = request[1]
            sent = re.search(r"Authorization:\s*Digest\s+(.*)", line)
            if sent and method == "INVITE":
                found.append(dict(parameters(sent[1])))
        return found


def parameters(text):
    for name, quoted, plain in re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', text):
        yield name.lower(), quoted or plain


def run(
    command, directory, done=None, *, log=None, seconds=A_CALL, ready=None, act=None, acted=None
):
    """Runs a command until it ends, or until its output or the file `log` matches `done`. Calls `act`
    with its standard input once the texts match `ready`, and again each two seconds until they match
    `acted`. Returns its exit code, or None if it was stopped, and both texts."""
    out = directory / "out"

    def text():
        files = [file for file in (out, log) if file and file.exists()]
        return "".join(file.read_text(errors="replace") for file in files)

    env = {**os.environ, "TERM": "xterm", "HOME": str(directory)}
    process = start(command, out, cwd=directory, env=env, stdin=subprocess.PIPE)
    until = time.monotonic() + seconds
    code, last = None, 0
    try:
        while time.monotonic() < until:
            code = process.poll()
            if code is not None or (done and re.search(done, text())):
                break
            if act and time.monotonic() > last + 2 and re.search(ready, text()):
                if not last or (acted and not re.search(acted, text())):
                    act(process.stdin)
                last = time.monotonic()
            time.sleep(0.1)
    finally:
        end(process)
    return code, text()


def one_by_one(dial):
    """Makes a function that makes all calls from one that makes a single call."""

    def all_calls(calls, port, directory, progress):
        results = []
        for number, call in enumerate(calls):
            own = directory / str(number)
            own.mkdir(parents=True)
            results.append(dial(call, port, own))
            progress()
        return results

    return all_calls


def in_one_process(script):
    """Makes a function that makes all calls with a script that reads JOB and writes RESULT."""

    def all_calls(calls, port, directory, progress):
        directory.mkdir(parents=True)
        job, result = directory / "job", directory / "result"
        wanted = [{**vars(call), "transport": "udp"} for call in calls]
        job.write_text(
            json.dumps({"port": port, "secure_port": None, "seconds": A_CALL, "calls": wanted})
        )
        command = [sys.executable, str(script), str(job), str(result)]
        code, out = run(command, directory, seconds=A_CLIENT)
        if code != 0:
            raise Failed(f"{script.name} ended with {code}:\n{out}")
        results = json.loads(result.read_text())
        if len(results) != len(calls):
            raise Failed(f"{script.name} gave up after {len(results)} calls:\n{out}")
        for _ in calls:
            progress()
        return [
            Result(entry["connected"], "\n".join(text for _, text in entry["messages"]))
            for entry in results
        ]

    return all_calls


# --- baresip ---------------------------------------------------------------------------------------------------------

BARESIP_CONFIG = """\
sip_listen 127.0.0.1:0
module_path {modules}
module g711.so
module aubridge.so
module_app account.so
module_app menu.so
audio_source aubridge,x
audio_player aubridge,x
"""


def baresip_files(directory, account, more=""):
    modules = "/usr/lib/baresip/modules"
    (directory / "config").write_text(BARESIP_CONFIG.format(modules=modules) + more)
    (directory / "accounts").write_text(account + "\n")


def baresip(call, port, directory):
    account = f"<sip:{call.user}@{call.domain};transport=udp>;auth_user={call.user};regint=0"
    account += f';auth_pass={call.password};outbound="sip:127.0.0.1:{port}"'
    baresip_files(directory, account)
    command = ["baresip", "-4", "-s", "-f", str(directory), "-n", "127.0.0.1"]
    command += ["-e", f"/dial sip:100@{call.domain}"]
    _, out = run(command, directory, r"session closed|Call established")
    return Result("Call established" in out, out)


# --- linphone --------------------------------------------------------------------------------------------------------

LINPHONE_CONFIG = """\
[sip]
sip_port=-1
sip_tcp_port=0
sip_tls_port=0
contact="{user}" <sip:{user}@{domain}>
guess_hostname=0
default_proxy=0
use_ipv6=0
verify_server_certs=0

[net]
mtu=0

[sound]
playback_dev_id=
capture_dev_id=

[auth_info_0]
username={user}
passwd={password}
realm={realm}
domain={domain}

[proxy_0]
reg_proxy=<sip:127.0.0.1:{port};transport=udp>
{route}
reg_identity=sip:{user}@{domain}
reg_sendregister={register}
realm={realm}
publish=0
"""


def linphone_calls(uri, directory, ready, **settings):
    """Runs linphone with these settings, which makes a call once its log matches `ready`. Returns its
    output and log."""
    config = directory / "linphonerc"
    config.write_text(LINPHONE_CONFIG.format(**settings))
    # without this folder for its database, linphone does not start to listen
    (directory / ".local/share/linphone").mkdir(parents=True)
    log = directory / "log"

    def dial(stdin):
        stdin.write(f"soundcard use files\ncall {uri}\n".encode())
        stdin.flush()

    command = ["linphonec", "-c", str(config), "-d", "6", "-l", str(log)]
    # linphone asks its user for a password if it cannot answer the challenge
    done = r"connected\.|Call 1 .* (ended|error)|pending authentication"
    return run(command, directory, done, log=log, ready=ready, act=dial)[1]


def linphone(call, port, directory):
    route = f"reg_route=<sip:127.0.0.1:{port};transport=udp;lr>"
    settings = {**vars(call), "port": port, "realm": REALM, "register": 0, "route": route}
    uri = f"sip:100@{call.domain}"
    out = linphone_calls(uri, directory, "Random port for listening", **settings)
    return Result("connected." in out, out)


# --- sipp and sipsak -------------------------------------------------------------------------------------------------


def sipp(call, port, directory):
    messages = directory / "messages"
    command = ["sipp", f"127.0.0.1:{port}", "-sf", str(HERE / "invite.xml"), "-m", "1"]
    command += ["-key", "domain", call.domain, "-au", call.user, "-ap", call.password]
    command += ["-i", "127.0.0.1", "-bind_local", "-nostdin", "-timeout", f"{A_CALL}s"]
    command += ["-timeout_error", "-trace_msg", "-message_file", str(messages)]
    code, out = run(command, directory, log=messages)
    return Result(code == 0, out)


SIPSAK_INVITE = """\
INVITE sip:100@{domain} SIP/2.0
From: <sip:{user}@{domain}>;tag=1
To: <sip:100@{domain}>
Call-ID: {user}-{domain}
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:{user}@127.0.0.1>
Content-Length: 0

"""


def sipsak(call, port, directory):
    message = directory / "invite.sip"
    message.write_text(SIPSAK_INVITE.format(**vars(call)), newline="\r\n")
    command = ["sipsak", "-vvv", "-f", str(message), "-s", f"sip:100@127.0.0.1:{port}"]
    command += [f"--auth-username={call.user}", f"--password={call.password}"]
    code, out = run(command, directory)
    return Result(code == 0, out)


# --- the list --------------------------------------------------------------------------------------------------------

REALM = "clients.example"


def said(pattern, *command):
    """The version that a command prints, or None if there is no such command."""

    def version():
        if not shutil.which(command[0]):
            return None
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1] if found else "unknown version"

    return version


def of_package(name):
    """The version of a Python package, or None if it is not installed."""

    def version():
        import importlib.metadata

        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return version


def baresip_4_version():
    package = of_package("baresip-python")()
    if package is None:
        return None
    library = Path(sys.prefix).rglob("baresip/_native*.so")
    found = re.search(rb"libre v(4[\d.]+)", next(library).read_bytes())
    return f"{found[1].decode() if found else 'unknown version'}, package {package}"


SECOND = HERE.parent / "second_client"


@dataclass(frozen=True)
class Phone:
    """A client of the table."""

    name: str
    package: str
    version: object
    dial: object


PHONES = [
    Phone(
        "baresip 1",
        "Debian: baresip-core",
        said(r"baresip v([\d.]+)", "baresip", "-h"),
        one_by_one(baresip),
    ),
    Phone(
        "baresip 4",
        "PyPI: baresip-python",
        baresip_4_version,
        in_one_process(HERE / "baresip_calls.py"),
    ),
    Phone(
        "linphone",
        "Debian: linphone-cli",
        said(r"version: ([\d.]+)", "linphonec", "-v"),
        one_by_one(linphone),
    ),
    Phone(
        "PJSIP",
        "PyPI: pjsua2-python",
        of_package("pjsua2-python"),
        in_one_process(SECOND / "pjsua_calls.py"),
    ),
    Phone(
        "sippy",
        "PyPI: sippy",
        of_package("sippy"),
        in_one_process(SECOND / "sippy_calls.py"),
    ),
    Phone("sipp", "Debian: sip-tester", said(r"SIPp v([\d.]+)", "sipp", "-v"), one_by_one(sipp)),
    Phone("sipsak", "Debian: sipsak", said(r"sipsak ([\d.]+)", "sipsak", "-V"), one_by_one(sipsak)),
]
