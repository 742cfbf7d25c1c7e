#!/usr/bin/env python3
"""Many registrations beside calls, through the program to Kamailio with docs/recipes/registrar.cfg.

    load.py BINARY [REGISTRATIONS] [SECONDS] [INTERVAL] [CALLS]

REGISTRATIONS phones (default 10000), each with a port of its own, register over UDP and refresh every INTERVAL seconds
(default 60), for SECONDS (default 300) after the first ones. Beside them, CALLS calls a second (default 100) go through
the program to Kamailio, and through the program again to a phone that is registered. sipp sends all. Fails if a
registration, a refresh or a call fails, if Kamailio loses one, or if the memory of the program grows. Prints its
processor time.

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "forward"), str(HERE.parent / "clients")]
import hosts  # noqa: E402
import world as worlds  # noqa: E402
from edge import Failed, end, require, run_script, start  # noqa: E402
from forward import Report  # noqa: E402
from softphone import wait_for  # noqa: E402

# The caller and the phone that answers, of the bench of forwarding.
SCENARIOS = HERE.parents[2] / "bench/forward"
DOMAIN, CALLEE, CALLER, PASSWORD = "digest.example.com", "100", "alice", "secret"
CROWD, CALLERS, ANSWERERS = "198.51.100.40", "198.51.100.41", "198.51.100.42"
# Milliseconds until a phone answers, and until the caller hangs up.
PAUSE = 100
# More calls at a time than these are not started.
MOST_CALLS = 5000
# A registration that is not refreshed in this many intervals is lost.
LIFE = 2
# How much the memory of the program may grow after all phones have registered.
GROWTH = 1.05


def configuration(phones):
    names = [*(f"phone{number}" for number in range(phones)), CALLEE]
    lines = [f'    {{ username = "{name}", password = "{PASSWORD}" }},' for name in names]
    return "\n".join(
        [
            'realm = "load.example"',
            "[[credential_lists]]",
            'name = "calls"',
            f'credentials = [{{ username = "{CALLER}", password = "{PASSWORD}" }}]',
            "[[credential_lists]]",
            'name = "registrations"',
            "credentials = [",
            *lines,
            "]",
            "[[domains]]",
            f'name = "{DOMAIN}"',
            'credential_lists = ["calls"]',
            'registrations = ["registrations"]',
            "",
        ]
    )


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process):
    """Resident memory in MiB."""
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.M)[1]) / 1024


class Load:
    def __init__(self, directory, world, edge, registrar):
        self.directory, self.world, self.edge, self.registrar = directory, world, edge, registrar

    def slowly(self, name, message):
        """A scenario of the bench, with a pause before the message that begins so. Without it, the processes of
        Kamailio may turn the order round."""
        text = (SCENARIOS / f"{name}.xml").read_text()
        begin = re.compile(rf'(?=  <send retrans="500"[^>]*>\s*<!\[CDATA\[\s*{message})')
        text, found = begin.subn(f'  <pause milliseconds="{PAUSE}"/>\n', text)
        if found != 1:
            raise Failed(f"{name}.xml sends {message} {found} times")
        own = self.directory / f"{name}.xml"
        own.write_text(text)
        return own

    def sipp(self, name, scenario, address, *options):
        command = [*self.world.outside.prefix, "sipp", f"{worlds.EDGE_OUTSIDE}:5060", "-sf", scenario, "-i", address]
        # a retransmission that crosses its answer gets a second answer, which is no failure
        command += ["-default_behaviors", "all,-abortunexp"]
        command += ["-nostdin", "-trace_err", "-error_file", self.directory / f"{name}.err", *options]
        return start([str(part) for part in command], self.directory / f"{name}.out", cwd=self.directory)

    def register(self, name, phones, rate, interval, rounds, *options, address=CROWD):
        """Phones that register, and refresh for so many rounds."""
        expires = LIFE * interval
        scenario = self.directory / f"{name}.xml"
        text = (HERE / "register.xml").read_text()
        filled = {"DOMAIN": DOMAIN, "EXPIRES": expires, "ROUNDS": rounds, "PAUSE": interval * 1000}
        for written, here in filled.items():
            text = text.replace(f"@{written}@", str(here))
        scenario.write_text(text)
        users = self.directory / f"{name}.csv"
        lines = [f"{user};[authentication username={user} password={PASSWORD}]" for user in phones]
        users.write_text("\n".join(["SEQUENTIAL", *lines, ""]))
        count = len(phones)
        return self.sipp(name, scenario, address, "-inf", users, "-r", rate, "-m", count, "-l", count, *options)

    def contacts(self):
        statistics = self.registrar.command("stats.get_statistics", "usrloc:")
        found = re.search(r"location[-_]contacts\s*=\s*(\d+)", statistics)
        return int(found[1]) if found else 0

    def ended(self, name, process, seconds):
        """The difference if sipp does not end well in this time."""
        try:
            code = process.wait(timeout=seconds)
        except Exception as late:  # noqa: BLE001
            code = late
        finally:
            end(process)
        if code == 0:
            return None
        texts = [self.directory / f"{name}.{kind}" for kind in ("err", "out")]
        shown = [text.read_text(errors="replace")[-3000:] for text in texts if text.exists()]
        return "\n".join([f"sipp ended with {code}", *shown])


def main():
    arguments = sys.argv[1:]
    if not 1 <= len(arguments) <= 5 or not all(one.isdecimal() for one in arguments[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    binary, given = Path(arguments[0]).resolve(), [int(one) for one in arguments[1:]]
    phones, seconds, interval, calls = given + [10_000, 300, 60, 100][len(given) :]
    require("kamailio", "kamcmd", "sipp", "openssl", "ip", "iptables")
    worlds.alone()
    world, report = worlds.World(), Report()
    for address in (CROWD, CALLERS, ANSWERERS):
        world.outside.address("bridge", address)
    with (
        tempfile.TemporaryDirectory() as scratch,
        # sipp does not answer OPTIONS
        hosts.Registrar(Path(scratch), world, hosts.NO_OPTIONS, trace="", memory=1024) as registrar,
        hosts.Edge(binary, Path(scratch), world, configuration(phones), log="none") as edge,
    ):
        run(Load(Path(scratch), world, edge, registrar), report, phones, seconds, interval, calls)
    print(f"{report.failed or 'none'} of the checks failed", flush=True)
    return 1 if report.failed else 0


def run(load, report, phones, seconds, interval, calls):
    edge = load.edge.process
    rounds = -(-seconds // interval)
    # the phone that is called, which must answer at the port that it registers
    callee = load.register("callee", [CALLEE], 1, 3600, 0, "-p", 5060, address=ANSWERERS)
    report.check("the phone that is called registers", (seen := load.ended("callee", callee, 60)) is None, seen)
    answering = load.sipp("answering", load.slowly("pbx", "SIP/2.0 200"), ANSWERERS, "-p", 5060)
    rate = -(-phones // interval)
    crowd = load.register(
        "crowd", [f"phone{n}" for n in range(phones)], rate, interval, rounds, "-t", "un", "-max_socket", phones + 100
    )
    try:
        wait_for("all registrations", lambda: load.contacts() > phones, patience=2 * interval + 20)
        begin, used, full = time.monotonic(), processor_seconds(edge), memory(edge)
        options = ["-i", CALLERS, "-r", calls, "-m", calls * seconds, "-l", MOST_CALLS]
        calling = load.sipp("calling", load.slowly("caller", "BYE"), CALLERS, *options) if calls else None
        seen = []
        while time.monotonic() < begin + seconds:
            time.sleep(5)
            seen.append((load.contacts(), memory(edge)))
        took = time.monotonic() - begin
        used = processor_seconds(edge) - used
        if calling:
            lost = load.ended("calling", calling, 60)
            report.check(f"{calls * seconds} calls, {calls} a second", lost is None, lost)
        lost = load.ended("crowd", crowd, 2 * interval + 60)
        report.check(f"{phones} phones registered and refreshed {rounds} times", lost is None, lost)
    finally:
        end(crowd)
        end(answering)
    fewest, most = min(count for count, _ in seen), max(size for _, size in seen)
    report.check(f"Kamailio always had {phones + 1} registrations", fewest == phones + 1, fewest)
    report.check("the memory is flat", most < full * GROWTH + 1, f"{full:.1f} MiB, then {most:.1f} MiB")
    print(f"memory of the program: {full:.1f} MiB after all had registered, {most:.1f} MiB at most after that")
    share = 100 * used / took
    print(f"processor time of the program: {used:.1f} s in {took:.0f} s, {share:.1f} % of a core", flush=True)


if __name__ == "__main__":
    run_script("registrations-load", main)
