"""Makes changes with the official Python client, unmodified except for its base URL, and
calls with sipp after each change: end_to_end.py BINARY DIRECTORY.

Prints a table of the steps. A call is shown as the statuses of the answers in order, the
code of the rejection if any, and the permissions of an accepted call in the program's
log. Exits with 1 if a step is not as expected, 2 if the test could not run.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# the environment must not change the client or its HTTP library
for name in list(os.environ):
    if name.upper().startswith("TWILIO_") or name.lower().endswith("_proxy"):
        del os.environ[name]

from twilio.base.exceptions import TwilioRestException  # noqa: E402
from twilio.rest import Client  # noqa: E402

HERE = Path(__file__).resolve().parent
# The machine may be busy.
SECONDS_IN_ALL = 600
SECONDS_A_CALL = 60
DOMAIN, OTHER_DOMAIN = "voice.example.com", "other.example.com"
USER, PASSWORD, NEXT_PASSWORD = "alice", "Correct-Horse-7", "Battery-Staple-8"
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
# wrong digests are counted by source, so they use another one than the correct ones
GUESSER = "127.0.0.3"
SERVICE = "IS" + "0" * 32
CHANGES = 100


class Failed(Exception):
    """The test could not run."""


class Table:
    """The steps, printed when they end."""

    def __init__(self):
        self.steps = self.failed = 0
        self.print("step", "expected", "got")

    def print(self, step, expected, got, verdict=""):
        print(f"{step:62} {expected:46} {got:46} {verdict}".rstrip(), flush=True)

    def step(self, step, expected, got):
        same = expected == got
        self.steps += 1
        self.failed += not same
        self.print(step, expected, got, "ok" if same else "FAILED")


class Server:
    """The program on free ports, until the end of the block."""

    def __init__(self, binary, directory, token):
        self.binary, self.directory = str(Path(binary).resolve()), directory
        self.out, self.err = directory / "stdout", directory / "stderr"
        self.environment = {**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": token}
        self.command = [
            *(self.binary, "serve", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0"),
            *("--on-accept", "ok", "--log", "decisions", "--realm", "end-to-end.example"),
            *("--permission", "callInternational", "--permission", "callPremium"),
        ]

    def __enter__(self):
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.environment
            )
        try:
            self.sip = self.wait_for(r"^listening for SIP on (\S+) ")
            self.api = self.wait_for(r"^listening for HTTP on (\S+)$")
        except BaseException:
            self.process.kill()
            raise
        return self

    def wait_for(self, pattern):
        for _ in range(1_200):
            if found := re.search(pattern, self.out.read_text(), re.MULTILINE):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise Failed(f"the program does not listen: {self.err.read_text().strip()}")

    def account(self, *arguments):
        """The output of `sip-authz account`."""
        ended = subprocess.run(
            [self.binary, "account", *arguments, "--api", self.api],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment,
            timeout=SECONDS_A_CALL,
        )
        if ended.returncode != 0:
            raise Failed(f"account {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_A_CALL)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Calls:
    """Calls by sipp, one at a time, and their lines in the log."""

    def __init__(self, server, directory):
        self.server, self.directory, self.seen, self.made = server, directory, 0, 0
        # the scenario of the other tests, which do not expect 603
        text = (HERE.parent / "call.xml").read_text()
        refused = '<recv response="404" optional="true" next="answered"/>'
        if text.count(refused) != 1:
            raise Failed("call.xml does not take a 404 in one place")
        if 'response="603"' not in text:
            text = text.replace(refused, refused + "\n  " + refused.replace("404", "603"))
        self.scenario = directory / "call.xml"
        self.scenario.write_text(text)

    def call(self, source=INSIDE, password=PASSWORD, domain=DOMAIN):
        """Makes a call and returns it in the format of the table."""
        self.made += 1
        messages = self.directory / f"messages.{self.made}"
        command = [
            *("sipp", self.server.sip, "-sf", self.scenario, "-key", "domain", domain, "-s", "100"),
            *("-au", USER, "-ap", password, "-i", source, "-bind_local", "-m", "1", "-nostdin"),
            *("-timeout", f"{SECONDS_A_CALL - 2}s", "-timeout_error"),
            *("-trace_msg", "-message_file", messages),
        ]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.directory, env={**os.environ, "TERM": "xterm"}, timeout=SECONDS_A_CALL,
        )
        text = messages.read_text() if messages.exists() else ""
        answers = re.findall(r"^SIP/2\.0 (\d{3}) .*?^CSeq: (\d+)", text, re.MULTILINE | re.DOTALL)
        # a retransmitted INVITE gets another answer
        statuses = [status for status, _ in dict.fromkeys(answers)]
        code = re.findall(r"^X-Authz-Error: (\d+)", text, re.MULTILINE)[-1:]
        lines = self.lines(len(statuses))
        parts = statuses + code
        for line in lines:
            parts += re.findall(r"\bpermits=\S+", line)
        if ended.returncode != 0:
            parts.append(f"sipp:{ended.returncode}")
        # the log and the answers must agree
        told = [line.split()[0] for line in lines]
        if told != [{"200": "accept", "407": "challenge"}.get(s, "reject") for s in statuses]:
            parts.append(f"log:{','.join(told)}")
        return " ".join(parts)

    def lines(self, count):
        """Waits for this many different new lines of the log and returns them."""
        for _ in range(1_500):
            # the last line may be incomplete
            text = self.server.err.read_text()
            lines = calls_in_log(text[:text.rfind("\n") + 1])[self.seen:]
            # a retransmitted INVITE is logged again, at another time
            without_time = (re.sub(r"^\d{4}-\S+Z ", "", line) for line in lines)
            different = list(dict.fromkeys(line.replace(" repeat", "") for line in without_time))
            if len(different) >= count:
                break
            time.sleep(0.02)
        self.seen += len(lines)
        return different


class Prober:
    """Plain INVITEs on an open socket, so that one follows a change immediately."""

    def __init__(self, sip, domain):
        host, port = sip.rsplit(":", 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((INSIDE, 0))
        self.socket.connect((host, int(port)))
        self.socket.settimeout(SECONDS_A_CALL)
        self.domain = domain

    def status(self):
        port, mark = self.socket.getsockname()[1], secrets.token_hex(8)
        self.socket.send(
            f"INVITE sip:100@{self.domain} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {INSIDE}:{port};branch=z9hG4bK{mark};rport\r\n"
            f"From: <sip:caller@{INSIDE}:{port}>;tag={mark}\r\nTo: <sip:100@{self.domain}>\r\n"
            f"Call-ID: {mark}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:caller@{INSIDE}:{port}>\r\nContent-Length: 0\r\n\r\n".encode()
        )
        answer = self.socket.recv(65536).decode()
        if f"\r\nCall-ID: {mark}\r\n" not in answer:
            raise Failed(f"an answer to something else: {answer!r}")
        return answer.split()[1]


def connect(base, sid, token):
    client = Client(sid, token)
    client.api.base_url = client.trunking.base_url = client.chat.base_url = base
    return client


def refusal(call, /, *args, **kwargs):
    """The status and code of the error from the call."""
    try:
        call(*args, **kwargs)
    except TwilioRestException as error:
        return f"{error.status} {error.code}"
    return "no error"


def raw(client, path, /, **data):
    """Sends a request for which the client has no method, and returns the answer."""
    url = f"{client.api.base_url}/2010-04-01/Accounts/{client.account_sid}/SIP/{path}"
    answer = client.request("POST", url, data=data)
    if answer.status_code not in (200, 201):
        raise Failed(f"{path} {data}: {answer.status_code} {answer.text}")
    return json.loads(answer.text)


def steps(table, server, calls, admin, client):
    sip = client.api.account.sip

    table.step("nothing is stored", "404", calls.call())
    domain = sip.domains.create(domain_name=DOMAIN)
    table.step("a domain, nothing mapped", "403 32200", calls.call())

    users = sip.credential_lists.create(friendly_name="phones")
    user = sip.credential_lists(users.sid).credentials.create(username=USER, password=PASSWORD)
    table.step("a list with a credential, not mapped", "403 32200", calls.call())
    mappings = sip.domains(domain.sid).auth.calls.credential_list_mappings
    mappings.create(credential_list_sid=users.sid)
    table.step("the list mapped: right password", "407 200", calls.call())
    table.step("wrong password", "407 403 32202", calls.call(GUESSER, "Guess-Guess-1"))
    table.step("another domain's name", "404", calls.call(domain=OTHER_DOMAIN))

    user.update(password=NEXT_PASSWORD)
    table.step("the password changed: the old one", "407 403 32202", calls.call(GUESSER, PASSWORD))
    table.step("the new one", "407 200", calls.call(password=NEXT_PASSWORD))
    user.update(password=PASSWORD)
    credential = f"CredentialLists/{users.sid}/Credentials/{user.sid}.json"
    raw(client, credential, Disabled="true")
    table.step("the credential disabled", "407 403 32202", calls.call(GUESSER))
    raw(client, credential, Disabled="false")
    table.step("the credential enabled, the old password again", "407 200", calls.call())

    permissions(table, calls, client, credential, users, mappings, domain)
    addresses(table, calls, sip, domain)
    trunk(table, calls, client, users)

    table.step("a mapped list cannot be deleted", "400 21241", refusal(users.delete))
    mappings(users.sid).delete()
    table.step("the mapping deleted", "403 32200", calls.call())
    mappings.create(credential_list_sid=users.sid)
    table.step("mapped again", "407 200", calls.call())

    status = admin.api.accounts(client.account_sid).update
    status(status="suspended")
    table.step("the account suspended", "603", calls.call())
    table.step("its client", "401 20003", refusal(sip.domains(domain.sid).fetch))
    status(status="active")
    table.step("the account active again", "407 200", calls.call())
    server.account("suspend", client.account_sid)
    table.step("suspended at the command line", "603", calls.call())
    server.account("activate", client.account_sid)

    at_once(table, server, sip)
    calls.lines(0)

    sip.domains(domain.sid).delete()
    table.step("the domain deleted", "404", calls.call())
    sip.domains.create(domain_name=DOMAIN)
    table.step("made again: its mappings went with it", "403 32200", calls.call())
    status(status="closed")
    table.step("the account closed", "603", calls.call())


def permissions(table, calls, client, credential, users, mappings, domain):
    """The log shows roles of a credential and of a mapping, until they are removed."""
    roles = client.chat.v2.services(SERVICE).roles
    make = {"friendly_name": "abroad", "type": "deployment"}
    table.step("a role with an unregistered permission", "400 50104",
               refusal(roles.create, **make, permission=["callTheMoon"]))
    role = roles.create(**make, permission=["callInternational"])
    table.step("an unused role", "407 200", calls.call())
    raw(client, credential, RoleSid=role.sid)
    table.step("the credential has it", "407 200 permits=callInternational", calls.call())
    table.step("a wrong password does not", "407 403 32202", calls.call(GUESSER, "Guess-Guess-2"))
    table.step("a role in use cannot be deleted", "400 20001", refusal(role.delete))
    role.update(permission=["createChannel"])
    table.step("the role without callInternational", "407 200 permits=createChannel", calls.call())
    role.update(permission=["createChannel", "callInternational"])
    table.step("the role with both", "407 200 permits=createChannel,callInternational",
               calls.call())

    premium = roles.create(friendly_name="premium", type="channel", permission=["callPremium"])
    mappings(users.sid).delete()
    mapped = f"Domains/{domain.sid}/Auth/Calls/CredentialListMappings.json"
    raw(client, mapped, CredentialListSid=users.sid, RoleSid=premium.sid)
    role.update(permission=["callInternational"])
    both = "permits=callInternational,callPremium"
    table.step("the mapping has another role too", f"407 200 {both}", calls.call())
    raw(client, credential, RoleSid="")
    table.step("the credential has none any more", "407 200 permits=callPremium", calls.call())
    table.step("its role can be deleted now", "True", str(role.delete()))
    mappings(users.sid).delete()
    mappings.create(credential_list_sid=users.sid)
    table.step("mapped without a role", "407 200", calls.call())


def addresses(table, calls, sip, domain):
    """With an access list and a credential list, both must pass."""
    lists = sip.ip_access_control_lists.create(friendly_name="offices")
    entries = sip.ip_access_control_lists(lists.sid).ip_addresses
    entries.create(friendly_name="elsewhere", ip_address="192.0.2.1")
    table.step("an access list, not mapped", "407 200", calls.call())
    mappings = sip.domains(domain.sid).auth.calls.ip_access_control_list_mappings
    mappings.create(ip_access_control_list_sid=lists.sid)
    table.step("mapped, the caller's address not in it", "403 32201", calls.call())
    entry = entries.create(friendly_name="here", ip_address=INSIDE)
    table.step("the caller's address added", "407 200", calls.call())
    table.step("a call from another address", "403 32201", calls.call(OUTSIDE))
    entry.update(ip_address="127.0.0.0", cidr_prefix_length=30)
    table.step("the entry made a network that has it", "407 200", calls.call(OUTSIDE))
    entry.delete()
    table.step("the entry deleted", "403 32201", calls.call())
    table.step("a mapped access list cannot be deleted", "400 21236", refusal(lists.delete))
    mappings(lists.sid).delete()
    table.step("the access list's mapping deleted", "407 200", calls.call())
    lists.delete()


def trunk(table, calls, client, users):
    """A trunk decides like a domain."""
    made = client.trunking.v1.trunks.create(domain_name=OTHER_DOMAIN)
    table.step("a trunk, nothing mapped", "403 32200", calls.call(domain=OTHER_DOMAIN))
    made.credentials_lists.create(credential_list_sid=users.sid)
    table.step("the list mapped to it", "407 200", calls.call(domain=OTHER_DOMAIN))
    made.credentials_lists(users.sid).delete()
    table.step("the mapping deleted", "403 32200", calls.call(domain=OTHER_DOMAIN))
    made.delete()
    table.step("the trunk deleted", "404", calls.call(domain=OTHER_DOMAIN))


def at_once(table, server, sip):
    """Every INVITE right after the answer to a change is decided by the new state."""
    lists = sip.ip_access_control_lists.create(friendly_name="at once")
    domain = sip.domains.create(domain_name=OTHER_DOMAIN)
    mappings = sip.domains(domain.sid).auth.calls.ip_access_control_list_mappings
    mappings.create(ip_access_control_list_sid=lists.sid)
    entries = sip.ip_access_control_lists(lists.sid).ip_addresses
    prober, seen = Prober(server.sip, OTHER_DOMAIN), []
    for _ in range(CHANGES):
        entry = entries.create(friendly_name="here", ip_address=INSIDE)
        seen.append(prober.status())
        entry.delete()
        seen.append(prober.status())
    after = [f"{sum(s == due for s in seen[n::2])} x {due}" for n, due in ((0, "200"), (1, "403"))]
    table.step(f"{CHANGES} times an address added and deleted, an INVITE after each",
               f"{CHANGES} x 200, {CHANGES} x 403", ", ".join(after))


def calls_in_log(log):
    """The lines about calls. A warning of a wrong token of the API stands beside them."""
    return [line for line in log.splitlines() if "sip-authz: " not in line]


def secrets_in_log(log, told):
    # the warning of a wrong token names the address, for the operator
    texts = {"address": "\n".join(calls_in_log(log))}
    return ", ".join(name for name, value in told.items() if value in texts.get(name, log)) or "none"


def run(binary, directory):
    started, table, token = time.monotonic(), Table(), secrets.token_hex(16)
    with Server(binary, directory, token) as server:
        admin = connect(server.api, "admin", token)
        account = admin.api.accounts.create(friendly_name="end to end")
        calls = Calls(server, directory)
        client = connect(server.api, account.sid, account.auth_token)
        steps(table, server, calls, admin, client)

        made = server.account("create", "at the command line")
        sid, auth_token = re.search(r"(AC\w{32})\s+auth token (\w+)", made).groups()
        other = connect(server.api, sid, auth_token)
        table.step("an account made at the command line has nothing", "[]",
                   str(other.api.account.sip.domains.list()))

        told = {"user": USER, "address": "127.0.0.", "password": PASSWORD, "next password": NEXT_PASSWORD, "admin token": token,
                "auth token": account.auth_token}
        table.step("names and secrets in the log", "none",
                   secrets_in_log(server.err.read_text(), told))
        table.step("the program ends", "0", str(server.end()))
    seconds = time.monotonic() - started
    print(f"{table.steps} steps, {table.failed} not as expected, {calls.made} calls by sipp"
          f" in {seconds:.0f} s")
    return table.failed


def main():
    directory = Path(sys.argv[2])

    def late(*_):
        raise Failed(f"not done within {SECONDS_IN_ALL} s")

    def ended(*_):
        sys.exit(2)

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGTERM, ended)
    signal.alarm(SECONDS_IN_ALL)
    try:
        return 1 if run(sys.argv[1], directory) else 0
    except (Failed, OSError, subprocess.SubprocessError, TwilioRestException) as error:
        print(f"end to end: {error}", file=sys.stderr)
        log = directory / "stderr"
        with contextlib.suppress(OSError):
            print("\n".join(log.read_text().splitlines()[-10:]), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
