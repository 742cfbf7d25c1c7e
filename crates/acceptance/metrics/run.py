#!/usr/bin/env python3
"""Puts load on the program's demo, scrapes it with Prometheus, and compares its counts with those of the
load tool. Then evaluates the queries of the dashboard and of the alerts.

Fails if the page is malformed, if a count differs from the tool's, if a panel has no data, or
if an alert cannot be evaluated or fires without cause. With a third argument it draws the panels
to that file (PNG; needs matplotlib).
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]

# What is asked of the demo, and what may come of it. A nonce serves many calls of `digest`; `call` is a
# challenge and an answer each time; `wrong` is refused, first for each digest and then without a look.
PHASES = [
    ("acl", "by-address.example", [], {200: "accept"}),
    ("acl", "by-address.example", ["--from", "127.0.0.2"], {403: "reject"}),
    ("acl", "nowhere.example", [], {404: "reject"}),
    ("call", "by-password.example", [], {407: "challenge", 200: "accept"}),
    ("digest", "by-password.example", [], {407: "challenge", 200: "accept"}),
    # guesses are counted by source, so use another source than the good calls
    ("wrong", "by-password.example", ["--from", "127.0.0.3"], {407: "challenge", 403: "reject"}),
]

# One message for each outcome without a decision: answered, ignored, dropped.
UNDECIDED = [b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\n", b"\r\n\r\n", b"not sip"]


# Queries of Prometheus, and the metrics of the page that they sum.
COUNTS = {
    f"sum({name})": name
    for name in ("sip_authz_messages_total", "sip_authz_other_messages_total", "sip_authz_decisions_total",
                 "sip_authz_decision_seconds_count", "sip_authz_decision_log_lines_total",
                 "sip_authz_decision_log_lost_total")
}
# Seconds until a state that must come. The machine may be busy.
PATIENCE = 120


def total_on(page, name):
    """The sum of all series of a metric on a page."""
    return sum(int(float(one)) for one in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.M))


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.2)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def get(url):
    # never through a proxy
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        return answer.read().decode()


def panels():
    board = json.loads((ROOT / "docs/grafana/sip-authz.json").read_text())
    for panel in board["panels"]:
        targets = [(t["expr"].replace("$__rate_interval", "5s"), t["legendFormat"]) for t in panel["targets"]]
        yield panel["title"], panel["fieldConfig"]["defaults"]["unit"], targets


def alerts(prometheus):
    groups = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    return [(rule["name"], rule["query"]) for group in groups for rule in group["rules"]]


def draw(path, drawn):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = (len(drawn) + 2) // 3
    figure, axes = pyplot.subplots(rows, 3, figsize=(15, 3 * rows), constrained_layout=True)
    begin = min(values[0][0] for _, _, lines in drawn for _, values in lines)
    for axis, (title, unit, lines) in zip(axes.flat, drawn):
        for label, values in lines:
            axis.plot([t - begin for t, _ in values], [v for _, v in values], label=label)
        axis.set_title(f"{title} ({unit})", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=60)


def label(legend, metric):
    for key, value in metric.items():
        legend = legend.replace("{{" + key + "}}", value)
    return legend


def load(tool, sip, password, seconds, phase):
    """One run of the load tool; returns how many answers there were of each status, and how many
    requests had none in time."""
    mode, domain, more, _ = phase
    args = [tool, sip, "--mode", mode, "--domain", domain, "--password", password, "--warm-up", "0",
            "--seconds", str(seconds), "--sockets", "2", "--window", "8", "--drain", *more]
    out = subprocess.run(args, check=True, capture_output=True, text=True).stdout
    answers = re.search(r"^answers ?(.*)$", out, re.M).group(1)
    counts = {int(status): int(count) for status, count in (pair.split(":") for pair in answers.split())}
    return counts, int(re.search(r"^lost (\d+)$", out, re.M).group(1))


def first_lines(server):
    """The SIP address of the demo, its scrape address, and the password of its user."""
    found = {}
    for line in server.stdout:
        for name, pattern in (("sip", r"listening for SIP on (\S+)"), ("scrapes", r"scrapes on (\S+)"),
                              ("password", r"password ([0-9A-Za-z]+)$")):
            if match := re.search(pattern, line.rstrip()):
                found.setdefault(name, match.group(1))
        if len(found) == 3:
            return found["sip"], found["scrapes"], found["password"]
    raise SystemExit("the program did not start")


def run(program, tool, picture, folder, started):
    log = folder / "decisions.json"
    args = [program, "serve", "--demo", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0",
            "--metrics", "127.0.0.1:0", "--decision-log", log, "--decision-log-queue", "131072",
            # each decision is compared with its line
            "--decision-log-rate", "unlimited", "--decision-log-account-rate", "unlimited",
            "--decision-log-size", "unlimited"]
    server = subprocess.Popen(args, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    started.append(server)
    sip, scrapes, password = first_lines(server)

    page = get(scrapes)
    check = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
    assert check.returncode == 0, check.stdout + check.stderr

    prometheus = f"http://127.0.0.1:{free_port()}"
    target = urllib.parse.urlsplit(scrapes).netloc
    (folder / "prometheus.yml").write_text(
        f"global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n"
        f"rule_files: ['{ROOT}/docs/prometheus-alerts.yml']\nscrape_configs:\n"
        f"  - {{ job_name: sip-authz, static_configs: [{{ targets: ['{target}'] }}] }}\n")
    started.append(subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address={prometheus.removeprefix('http://')}", "--log.level=error"]))

    def ask(kind, **parameters):
        query = urllib.parse.urlencode(parameters)
        answer = json.loads(get(f"{prometheus}/api/v1/{kind}?{query}"))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def value(query):
        return int(float(ask("query", query=query)[0]["value"][1]))

    def is_up():
        try:
            return ask("query", query="up") and value("up") == 1
        except OSError:
            return False

    wait_for("Prometheus", is_up)
    begun, sent, lost, rows = time.time(), {}, {}, {}
    seconds = 8 if picture else 3
    for phase in PHASES:
        counts, late = load(tool, sip, password, seconds, phase)
        print(f"{phase[0]} to {phase[1]}: {counts}, {late} late or lost")
        assert counts.keys() <= phase[3].keys(), (phase, counts)
        for status, count in counts.items():
            key = (phase[3][status], status)
            sent[key] = sent.get(key, 0) + count
            row = ("unknown" if status == 404 else phase[1], phase[3][status])
            rows[row] = rows.get(row, 0) + count
        for outcome in set(phase[3].values()):
            lost[outcome] = lost.get(outcome, 0) + late
    for message in UNDECIDED:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, (sip.rpartition(":")[0], int(sip.rpartition(":")[2])))

    # the threads of the program have counted everything, and Prometheus has the counts
    def is_settled():
        lines, known = log.read_text().count("\n"), get(scrapes)
        time.sleep(1.5)
        counts = [value(query) for query in COUNTS]
        page = get(scrapes)
        return log.read_text().count("\n") == lines and counts == [total_on(page, name) for name in COUNTS.values()] \
            == [total_on(known, name) for name in COUNTS.values()]

    wait_for("the last scrape", is_settled)

    for outcome in ("answered", "ignored", "dropped"):
        reasons = value(f'sum(sip_authz_other_messages_total{{outcome="{outcome}"}})')
        counted = value(f'sip_authz_messages_total{{outcome="{outcome}"}}')
        print(f"{outcome}: {counted} messages, {reasons} by reason")
        assert counted == reasons > 0, outcome
    total = 0
    for outcome in ("accept", "challenge", "reject"):
        told = sum(count for (of, _), count in sent.items() if of == outcome)
        counted = value(f'sum(sip_authz_decisions_total{{outcome="{outcome}"}})')
        print(f"{outcome}: Prometheus {counted}, load tool {told}"
              + (f" and at most {lost[outcome]} without an answer in time" if lost[outcome] else ""))
        assert told <= counted <= told + lost[outcome], outcome
        total += counted
    for reason, status in (("address-not-listed|wrong-credentials|too-many-guesses", 403), ("unknown-host", 404)):
        counted = value(f'sum(sip_authz_decisions_total{{reason=~"{reason}"}})')
        told = sent["reject", status]
        print(f"{reason}: Prometheus {counted}, load tool {told}")
        assert told <= counted <= told + lost["reject"], reason
    for (domain, outcome), told in rows.items():
        counted = value(f'sip_authz_domain_decisions_total{{domain="{domain}", outcome="{outcome}"}}')
        print(f"{outcome} of {domain}: Prometheus {counted}, load tool {told}")
        assert told <= counted <= told + lost[outcome], (domain, outcome)
    assert value("sum(sip_authz_domain_decisions_total)") == total
    assert value("sip_authz_decision_seconds_count") == total
    written, gone = value("sip_authz_decision_log_lines_total"), value("sip_authz_decision_log_lost_total")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    decisions = sum(line.get("outcome") in ("accept", "challenge", "reject") for line in lines)
    others = sum(line.get("outcome") in ("answered", "dropped") for line in lines)
    print(f"decision log: {decisions} lines, {gone} lost; {log.stat().st_size / max(decisions, 1):.0f} bytes a line")
    counts = (decisions, others, written, gone, total)
    assert decisions + others == written and decisions + gone == total and others == 2, counts

    drawn = []
    for title, unit, targets in panels():
        lines = []
        for expr, legend in targets:
            result = ask("query_range", query=expr, start=begun + 2, end=time.time(), step=0.5)
            assert result, f"{title}: no data for {expr}"
            for series in result:
                values = [(t, float(v)) for t, v in series["values"]]
                lines.append((label(legend, series["metric"]), values))
        drawn.append((title, unit, lines))
    print(f"{len(drawn)} panels have data")
    rules, firing = alerts(prometheus), ask("query", query='ALERTS{alertstate="firing"}')
    for _, query in rules:
        ask("query", query=query)
    # this alert fires at the first loss, and a slow disk is not an error of the program
    firing = [one["metric"]["alertname"] for one in firing]
    assert set(firing) <= ({"SipAuthzDecisionsLost"} if gone else set()), firing
    print(f"{len(rules)} alerts evaluated")
    if picture:
        draw(picture, drawn)


def main():
    program, tool = sys.argv[1:3]
    picture = sys.argv[3] if len(sys.argv) > 3 else None
    started = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(program, tool, picture, pathlib.Path(folder), started)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)
    print("metrics: all checks passed")


main()
