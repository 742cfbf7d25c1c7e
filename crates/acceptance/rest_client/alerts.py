"""Lists and fetches the alerts of refused calls with the official clients for Python and Node, unmodified except for
their base URL. sipp calls the program over UDP:

    alerts.py BINARY NODE_MODULES

NODE_MODULES is a folder with the package `twilio` of npm. Prints a table of the steps. Exits with 1 if a step is not as
expected, 2 if the test could not run.
"""

import datetime
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop/end_to_end"))

import end_to_end  # noqa: E402
from end_to_end import DOMAIN, GUESSER, INSIDE, OTHER_DOMAIN, OUTSIDE, PASSWORD, USER  # noqa: E402
from end_to_end import Calls, Failed, Server, Table  # noqa: E402

DAY = datetime.timedelta(days=1)
UNKNOWN = "NO" + "0123456789abcdef" * 2
# newest first
CODES = ["32209", "32202", "32202", "32201", "32200"]
GUESS = "Guess-Guess-1"


class Steps(Table):
    """The steps. Values that are no text are printed if they differ."""

    def print(self, step, expected, got, verdict=""):
        if not isinstance(expected, str) or verdict == "FAILED":
            shown = verdict == "FAILED"
            expected, got = (repr(expected), repr(got)) if shown else ("as expected", "")
        super().print(step, expected, got, verdict)


def connect(base, sid, token):
    client = end_to_end.connect(base, sid, token)
    client.monitor.base_url = base
    return client


def account(server, name):
    made = server.account("create", name)
    return connect(server.api, re.search(r"AC[0-9a-f]{32}", made)[0], re.search(r"\b[0-9a-f]{32}\b", made)[0])


def refuse_calls(table, calls, client, other):
    """Makes a call that is refused for each code."""
    sip = client.api.account.sip
    domain = sip.domains.create(domain_name=DOMAIN)
    table.step("nothing is mapped", "403 32200", calls.call())

    addresses = sip.ip_access_control_lists.create(friendly_name="carriers")
    sip.ip_access_control_lists(addresses.sid).ip_addresses.create(friendly_name="one", ip_address=OUTSIDE)
    listed = sip.domains(domain.sid).auth.calls.ip_access_control_list_mappings.create(
        ip_access_control_list_sid=addresses.sid
    )
    table.step("an address that is not listed", "403 32201", calls.call())

    listed.delete()
    users = sip.credential_lists.create(friendly_name="phones")
    sip.credential_lists(users.sid).credentials.create(username=USER, password=PASSWORD)
    sip.domains(domain.sid).auth.calls.credential_list_mappings.create(credential_list_sid=users.sid)
    end_to_end.raw(client, f"Domains/{domain.sid}/Policy.json", GuessPairBurst=1, GuessPairRefillMs=3_600_000)
    table.step("a wrong password", "407 403 32202", calls.call(GUESSER, GUESS))
    table.step("and no more guesses", "407 403 32202", calls.call(GUESSER, GUESS))
    unlock(table, client, other)
    table.step("the right password", "407 200", calls.call(GUESSER))

    domain.update(secure=True)
    table.step("no TLS", "488 32209 sipp:1", calls.call())

    other.api.account.sip.domains.create(domain_name=OTHER_DOMAIN)
    table.step("a call of another account", "403 32200", calls.call(domain=OTHER_DOMAIN))
    table.step("an unknown host", "404", calls.call(domain="nowhere.example.com"))
    return domain


def ask(client, method, path, **data):
    """Sends a request for which the client has no method, and returns status and answer."""
    answer = client.request(method, client.api.base_url + path, data=data)
    return answer.status_code, json.loads(answer.text) if answer.text else {}


def unlock(table, client, other):
    """Releases the name that the guess limit holds."""
    limits = "/v1/Decisions/Limits"
    _, held = ask(client, "GET", limits)
    found = [(row["user"], row["source"], row["domain"]) for row in held["limits"]]
    table.step("what the guess limit holds", [(USER, GUESSER, DOMAIN)], found)
    table.step("it is hidden from another account", [], ask(other, "GET", limits)[1]["limits"])
    path = f"{limits}/{urllib.parse.quote(held['limits'][0]['id'], safe='')}"
    table.step("another account releases nothing", 404, ask(other, "DELETE", path)[0])
    table.step("release it", 204, ask(client, "DELETE", path)[0])
    left = ask(client, "GET", limits)[1]["limits"]
    table.step("it is held no longer", (404, []), (ask(client, "DELETE", path)[0], left))


def explain(table, client, other):
    """Asks for decisions about calls that are not made."""
    path, call = "/v1/Decisions/Explain", {"Domain": DOMAIN, "To": "100", "Source": INSIDE}
    for transport, wanted in (("udp", ("reject", 488, "not-secure")), ("tls", ("challenge", 407, "asked"))):
        status, got = ask(client, "POST", path, Transport=transport, **call)
        table.step(f"explain a call over {transport}", (200, *wanted),
                   (status, got.get("outcome"), got.get("status"), got.get("reason")))
        table.step("with its steps", True, len(got.get("steps", [])) > 1)
    table.step("another account explains nothing", 404, ask(other, "POST", path, **call)[0])
    kept = ask(client, "GET", "/v1/Decisions?CallId=explain")[1]["decisions"]
    table.step("an explained call is no decision", [], kept)


def python_client(table, client, other, admin, domain):
    """Returns the SIDs of the alerts."""
    alerts = client.monitor.v1.alerts
    rows = alerts.list()
    sids = [row.sid for row in rows]
    table.step("list", CODES, [row.error_code for row in rows])
    table.step("list in pages of one", sids, [row.sid for row in alerts.list(page_size=1)])
    table.step("list with a limit", sids[:2], [row.sid for row in alerts.list(limit=2)])
    page = alerts.page(page_size=3)
    last = page.next_page()
    table.step("the last page", sids[3:], [row.sid for row in last])
    table.step("no page behind it", None, last.next_page())
    table.step("the page before", sids[:3], [row.sid for row in last.previous_page()])

    now = datetime.datetime.now(datetime.timezone.utc)
    first = min(row.date_created for row in rows)
    for what, options, wanted in (
        ("from yesterday", {"start_date": now - DAY}, sids),
        ("from tomorrow", {"start_date": now + DAY}, []),
        ("until tomorrow", {"end_date": now + DAY}, sids),
        ("until yesterday", {"end_date": now - DAY}, []),
        ("from the first", {"start_date": first, "end_date": now + DAY, "log_level": "error"}, sids),
        ("of another level", {"log_level": "warning"}, []),
    ):
        table.step(what, wanted, [row.sid for row in alerts.list(page_size=2, **options)])

    for row in rows:
        one = alerts(row.sid).fetch()
        got = (one.sid, one.error_code, one.account_sid, one.resource_sid, one.log_level, one.alert_text)
        wanted = (row.sid, row.error_code, client.account_sid, domain.sid, "error", row.alert_text)
        table.step(f"fetch {row.error_code}", wanted, got)
        table.step("its date", True, isinstance(one.date_created, datetime.datetime) and now - one.date_created < DAY)
        variables = dict(urllib.parse.parse_qsl(one.request_variables))
        called = (variables["host"], variables["called"], variables["method"])
        table.step("its call", (DOMAIN, "100", "INVITE"), called)
        # SIDs have letters before their digits, so a hash would stand alone
        table.step("no hash in it", None, re.search(r"\b[0-9a-f]{32,}\b", one.request_variables))
        explained = client.request("GET", one.more_info)
        table.step("its explanation", (200, row.error_code), (explained.status_code, explained.text[:5]))
    wrong = alerts(sids[2]).fetch()
    causes = [word for word in ("wrong-credentials (wrong-password)", USER) if word in wrong.alert_text]
    table.step("the text of a wrong password", ["wrong-credentials (wrong-password)", USER], causes)

    refusal = end_to_end.refusal
    table.step("an unknown alert", "404 20404", refusal(alerts(UNKNOWN).fetch))
    table.step("an alert of another account", "404 20404", refusal(other.monitor.v1.alerts(sids[0]).fetch))
    table.step("the alerts of another account", ["32200"], [row.error_code for row in other.monitor.v1.alerts.list()])
    table.step("the admin sees all", 6, len(admin.monitor.v1.alerts.list()))
    table.step("a wrong token", "401 20003", refusal(connect(client.api.base_url, client.account_sid, "x")
                                                     .monitor.v1.alerts(sids[0]).fetch))
    return sids


def decisions(table, client, admin):
    """The list of decisions, for which the official client has no method."""
    def outcomes(client, query):
        rows = ask(client, "GET", f"/v1/Decisions?{query}")[1]["decisions"]
        return [(row["outcome"], row.get("host")) for row in rows]

    order = "reject accept challenge reject challenge reject challenge reject reject"
    table.step("decisions", [(outcome, DOMAIN) for outcome in order.split()], outcomes(client, "PageSize=50"))
    told = [(outcome, DOMAIN) for outcome in ("accept", "reject", "reject")]
    table.step("decisions about a user", told, outcomes(client, f"User={USER}"))
    table.step("an unknown host is the admin's", [("reject", "nowhere.example.com")],
               outcomes(admin, "Reason=unknown-host"))
    table.step("and no account's", [], outcomes(client, "Reason=unknown-host"))


def node_client(table, modules, client, sids):
    """The same lists and fetches with the client for Node."""
    question = {"base": client.api.base_url, "sid": client.account_sid, "token": client.auth[1],
                "sids": sids, "codes": CODES, "unknown": UNKNOWN}
    ended = subprocess.run(
        ["node", HERE / "alerts.js"], input=json.dumps(question), capture_output=True, text=True, timeout=60,
        env={**os.environ, "NODE_PATH": str(Path(modules).resolve())},
    )
    table.step("the client for Node", (0, "", "22 checks"), (ended.returncode, ended.stderr.strip()[:300],
                                                            ended.stdout.strip()))


def main(binary, modules):
    admin_token, table = secrets.token_hex(16), Steps()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Server(binary, directory, admin_token) as server:
            client, other = account(server, "own"), account(server, "other")
            admin = connect(server.api, "admin", admin_token)
            domain = refuse_calls(table, Calls(server, directory), client, other)
            sids = python_client(table, client, other, admin, domain)
            decisions(table, client, admin)
            explain(table, client, other)
            node_client(table, modules, client, sids)
            table.step("the program ends", 0, server.end())
    print(f"{table.steps - table.failed} passed, {table.failed} failed")
    return 1 if table.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Failed as failed:
        print(f"alerts: {failed}", file=sys.stderr)
        sys.exit(2)
