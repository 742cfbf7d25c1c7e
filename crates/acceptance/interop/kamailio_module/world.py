"""The decision service, Kamailio with the module authz, and callers, for kamailio_module.py."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "behind_kamailio"), str(HERE.parent / "clients")]
from behind_kamailio import Caller, Request, digest  # noqa: E402
from edge import Failed, end, free_port, start  # noqa: E402

# generous: the machine may be busy
SECONDS = 30
INSIDE, OUTSIDE, GUESSER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
USER, PASSWORD, REALM = "alice", "correct horse", "example"
BY_ADDRESS, BY_PASSWORD = "sip:100@by-address.example", "sip:100@by-password.example"
# each wrong password is verified: no limit on guesses ends the test early
CONFIGURATION = f"""\
realm = "{REALM}"
[[ip_access_control_lists]]
name = "inside"
addresses = ["{INSIDE}"]
[[credential_lists]]
name = "staff"
credentials = [{{ username = "{USER}", password = "{PASSWORD}" }}]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
policy = {{ nonce_lifetime = 3600, guesses = {{ pair = {{ burst = 60000, refill_ms = 1 }} }} }}
"""


def wait_for(what, condition):
    """The first true value of `condition`."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise Failed(f"{what}: not within {SECONDS} s")


def write_configuration(folder, text=CONFIGURATION):
    path = folder / "edge.toml"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


class Service:
    """`sip-authz serve --decide` at a place, until the end of the block."""

    def __init__(self, binary, folder, place, *options, token=None):
        self.folder, self.place, self.process = folder, place, None
        self.out = folder / "service.out"
        config = write_configuration(folder)
        self.command = [str(binary), "serve", "--config", str(config), "--api", "off"]
        self.command += ["--decide", place, *options]
        if token:
            path = folder / "service.token"
            path.touch(mode=0o600)
            path.write_text(token)
            self.command += ["--decide-token-file", str(path)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        end(self.process)

    def start(self):
        self.process = start(self.command, self.out)
        wait_for("the service", lambda: "listening for decisions" in self.out.read_text())

    def kill(self):
        """Ends it at once, as a crash does."""
        self.process.kill()
        self.process.wait()


class Kamailio:
    """Kamailio with the module, until the end of the block. `parameters` are those of the module."""

    def __init__(self, module, folder, parameters, *, children=4, text=None):
        self.folder, self.port, self.killed = folder, free_port(), None
        self.out = folder / "kamailio.out"
        lines = [
            f'modparam("authz", "{name}", {value})'
            if isinstance(value, int)
            else f'modparam("authz", "{name}", "{value}")'
            for name, value in parameters.items()
        ]
        self.config = folder / "kamailio.cfg"
        text = text or (HERE / "kamailio.cfg").read_text()
        for name, value in [
            ("CHILDREN", children),
            ("LISTEN", f"127.0.0.1:{self.port}"),
            ("MODULE", module),
            ("FOLDER", folder),
            ("PARAMETERS", "\n".join(lines)),
        ]:
            text = text.replace(f"@{name}@", str(value))
        self.config.write_text(text)

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def __enter__(self):
        command = ["kamailio", "-f", self.config, "-DD", "-E", "-m", "64", "-M", "8"]
        command += ["-P", self.folder / "kamailio.pid", "-Y", self.folder]
        self.process = start([str(part) for part in command], self.out)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        end(self.process)

    def wait(self, method="OPTIONS", uri="sip:ping@there"):
        """Waits until Kamailio answers such a request."""
        until = time.monotonic() + SECONDS
        with Caller(OUTSIDE) as caller:
            ping = Request(method, uri)
            while not caller.ask(ping.text(caller), self.address, seconds=0.3):
                if self.process.poll() is not None or time.monotonic() > until:
                    raise Failed(f"Kamailio does not answer:\n{self.log()}")

    def log(self):
        return self.out.read_text(errors="replace")

    def rpc(self, *words):
        """The output of a command of kamcmd."""
        command = ["kamcmd", "-s", f"unix:{self.folder}/ctl", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return done.stdout + done.stderr

    def program(self):
        """The decision process that the module started last, or none."""
        found = re.findall(r"starts as process (\d+)", self.log())
        return int(found[-1]) if found else None

    def wait_for_program(self):
        """Waits until a decision process listens, other than the one that was killed."""

        def listens():
            last = self.log().rpartition("starts as process")[2]
            return "listening for decisions" in last and self.program() != self.killed

        return wait_for("the decision process", listens)

    def kill_program(self):
        """Ends the decision process. None starts until `allow_program`: others could write to the folder."""
        (self.folder / "private").chmod(0o777)
        self.killed = self.program()
        os.kill(self.killed, signal.SIGKILL)
        wait_for("the refusal of the folder", lambda: "writable by this user only" in self.log())

    def allow_program(self):
        (self.folder / "private").chmod(0o700)
        self.wait_for_program()


def invite(kamailio, source, uri, **options):
    """The final answer to an INVITE without credentials."""
    with Caller(source) as caller:
        return caller.ask(Request("INVITE", uri).text(caller), kamailio.address, SECONDS, **options) or ""


def call(kamailio, source, uri, password=PASSWORD):
    """The final answer to a call: with credentials, if it is challenged."""
    with Caller(source) as caller:
        request = Request("INVITE", uri)
        answer = caller.ask(request.text(caller), kamailio.address, SECONDS) or ""
        if answer.startswith("SIP/2.0 407"):
            credentials = digest(answer, uri, password)
            answer = caller.ask(request.text(caller, 2, credentials), kamailio.address, SECONDS) or ""
        return answer


def header(answer, name):
    found = re.search(rf"^{name}: (.*?)\r?$", answer, re.M)
    return found[1] if found else None


def code(answer):
    return int(answer[8:11]) if answer.startswith("SIP/2.0 ") else None


class Load:
    """Calls with sipp over one UDP socket."""

    def __init__(self, kamailio, folder, name, calls, source=INSIDE, scenario="call", *, rate=500):
        self.messages = folder / f"{name}.messages"
        self.messages.unlink(missing_ok=True)
        self.out = folder / f"{name}.sipp"
        scenarios = {"call": HERE.parent / "call.xml", "replay": HERE / "replay.xml"}
        self.command = ["sipp", f"127.0.0.1:{kamailio.port}", "-sf", scenarios[scenario], "-s", "100"]
        self.command += ["-i", source, "-bind_local", "-m", calls, "-r", rate, "-nostdin"]
        # sipp takes a second challenge, of a retransmission, for the answer to the credentials. So it does not
        # retransmit, and has so few calls at a time that no socket buffer overflows while a process waits.
        self.command += ["-nr", "-l", 50, "-buff_size", 1_000_000]
        self.command += ["-timeout", f"{60 + calls // 20}s", "-timeout_error"]
        self.command += ["-trace_msg", "-message_file", self.messages]
        self.limit = 120 + calls // 20

    def add(self, *words):
        self.command += words
        return self

    def run(self):
        process = start([str(word) for word in self.command], self.out, env={**os.environ, "TERM": "xterm"})
        try:
            process.wait(self.limit)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"sipp does not end:\n{self.out.read_text(errors='replace')[-2000:]}") from error
        finally:
            end(process)
        return self.finals()

    def texts(self):
        """The messages, in order."""
        if not self.messages.exists():
            raise Failed(f"sipp made no call:\n{self.out.read_text(errors='replace')[-2000:]}")
        return re.split(r"^-{10,}.*$", self.messages.read_text(errors="replace"), flags=re.M)

    def finals(self):
        """The number of calls by the status of their last final answer."""
        last = {}
        for text in self.texts():
            found = re.search(r"^SIP/2\.0 ([2-6]\d\d) ", text, re.M)
            if found:
                last[re.search(r"^Call-ID: *(\S+)", text, re.M | re.I)[1]] = int(found[1])
        counts = {}
        for status in last.values():
            counts[status] = counts.get(status, 0) + 1
        return counts

    def credentials(self):
        """The credentials of each call, in order."""
        found = {}
        for text in self.texts():
            value = re.search(r"^Proxy-Authorization: *(.*?)\r?$", text, re.M)
            if value and re.search(r"^INVITE ", text, re.M):
                found[re.search(r"^Call-ID: *(\S+)", text, re.M | re.I)[1]] = value[1]
        return list(found.values())


def udp_port(address=INSIDE):
    """A port that a test binds itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address, 0))
        return udp.getsockname()[1]
