"""Runs the program as an edge on loopback and reads its decisions."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

# Seconds. The machine may be busy.
SECONDS_TO_START, SECONDS_TO_END = 60, 60


class Failed(Exception):
    """The test could not run."""


def sid(domain):
    """The SID that the configuration gives to a domain, to find its decisions in the log."""
    return "SD" + hashlib.sha256(domain.encode()).hexdigest()[:32]


class Edge:
    """The program on a free port, until the end of the block. `configuration` is TOML."""

    def __init__(self, binary, directory, configuration):
        directory.mkdir(parents=True, exist_ok=True)
        self.out, self.log = directory / "edge.out", directory / "decisions.json"
        config = directory / "edge.toml"
        config.touch(mode=0o600)
        config.write_text(configuration)
        self.command = [
            *(str(binary), "serve", "--sip", "127.0.0.1:0", "--api", "off"),
            *("--config", str(config), "--on-accept", "ok", "--decision-log", str(self.log)),
            # a line for each decision, so that each call can be told apart
            *("--decision-log-rate", "unlimited"),
        ]

    def __enter__(self):
        self.process = start(self.command, self.out)
        try:
            self.port = self.wait_for_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # it writes the rest of the log
        end(self.process, SECONDS_TO_END)

    def wait_for_port(self):
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and self.process.poll() is None:
            text = self.out.read_text(errors="replace")
            found = re.search(r"^listening for SIP on 127\.0\.0\.1:(\d+)", text, re.M)
            if found:
                return int(found[1])
            time.sleep(0.05)
        raise Failed(f"the program does not listen:\n{self.out.read_text(errors='replace')}")

    def decisions(self):
        """The decisions so far by the SID of the domain, in order."""
        found = {}
        for decision in json_lines(self.log):
            if "lost" in decision:
                raise Failed(f"the decision log lost {decision['lost']} decisions")
            found.setdefault(decision.get("target"), []).append(decision)
        return found


def json_lines(file):
    """The lines of a file that are whole: a program may write another one now."""
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def free_port(address="127.0.0.1"):
    """A port that is free for UDP and TCP."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            udp.bind((address, 0))
            try:
                tcp.bind((address, udp.getsockname()[1]))
            except OSError:
                continue
            return udp.getsockname()[1]
    raise Failed("no free port")


# Processes that run now, to be stopped if this one is.
RUNNING = set()


def start(command, out, *, stdin=subprocess.DEVNULL, **options):
    """Starts a process as the leader of a session, with its output in the file `out`."""
    with open(out, "wb") as output:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=output, stderr=output, start_new_session=True, **options
        )
    RUNNING.add(process)
    return process


def end(process, seconds=3):
    """Stops a process that `start` started, and its children. Kills them if they do not end in time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            break
    process.wait()
    RUNNING.discard(process)


def stop(*_):
    for process in list(RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # threads may wait for these processes
    os._exit(2)


def require(*programs):
    """Fails if one of these programs is not installed."""
    # Debian installs kamailio and iptables there
    os.environ["PATH"] += ":/usr/sbin"
    for program in programs:
        if not shutil.which(program):
            raise Failed(f"{program} is not installed")


def chosen_parts(parser, known):
    """Adds the option --only and reads the command line. Returns all arguments, and the parts to run."""
    parser.add_argument("--only", default=",".join(known))
    args = parser.parse_args()
    parts = args.only.split(",")
    if unknown := set(parts) - set(known):
        parser.error(f"expected parts of {','.join(known)}, found {','.join(unknown)}")
    return args, parts


def run_script(name, main):
    """Runs a script to its exit code; 2 if the test could not run. A signal stops all its processes."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        sys.exit(2)
