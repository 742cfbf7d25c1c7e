#!/usr/bin/env python3
"""Runs the commands of the documentation, to find outdated ones.

The script reads the blocks `sh` of README.md, the other pages at the root, docs/ and fuzz/README.md, and the lines
after `$ ` in blocks `text`. The table RULES classifies each command: run it, run it with substitutions, or skip it with
a reason. A command that no rule matches is an error: add a rule for it. Commands of cargo and scripts of the repository
are not run, but the packages, targets, features, tasks and files that they name must exist.

Servers run in the background on free ports of the loopback address, in a temporary folder for each page.

Usage: crates/acceptance/docs-commands.py [PROGRAM | --package PACKAGE] [--list]

PROGRAM is the program sip-authz (default: the one of `cargo build`, or the one on PATH). With `--package`, the program,
the pages and the examples are those of a Debian package, which is unpacked into a temporary folder. PACKAGE is a file,
or a folder whose newest package is used. `--list` prints the commands with their rules and runs nothing.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["*.md", "docs/**/*.md", "fuzz/README.md"]
# Seconds: for a server to listen, and for a command to end.
START, END = 30, 60


# --- the table -------------------------------------------------------------------------------------------------------


class Rule:
    """How to treat the commands that `pattern` matches at their beginning."""

    def __init__(self, pattern, action, *, reason="", tools=(), codes=(0,), shows=True, package=False):
        self.pattern = re.compile(pattern)
        self.action = action
        self.reason = reason
        self.tools = tools
        self.codes = codes
        self.shows = shows
        self.package = package


def run(pattern, **options):
    """Runs the command and expects one of the exit codes `codes`. Skips it if a tool is not installed. In a block `text`,
    the first line after the command must be in its output, unless `shows` is false. With `package`, the command needs
    the files of the Debian package."""
    return Rule(pattern, "run", **options)


def serve(pattern, **options):
    """Starts a server in the background in place of the last one and expects it to listen."""
    return Rule(pattern, "serve", **options)


def skip(pattern, reason):
    """Does not run the command, and prints the reason."""
    return Rule(pattern, "skip", reason=reason)


def names(pattern, reason):
    """Does not run the command, but checks that the files and targets in it exist."""
    return Rule(pattern, "names", reason=reason)


# The commands on records by name; one of them reads a password from stdin.
BY_NAME = r"(echo '[^']*' \| )?sip-authz (domain|trunk|list|user|role|map|unmap)\b"

# The first rule that matches counts.
RULES = [
    # the program
    skip(r"sip-authz serve .*--etcd\b", "needs etcd, and the program with the feature etcd"),
    skip(r"sip-authz serve .*--decide-user\b", "needs the user of another server"),
    skip(r"sip-authz serve .*--decide http:", "needs a file with a token; the tests of the program run it"),
    skip(r"sip-authz account .*:8082\b", "needs the second edge of a fleet"),
    serve(r"sip-authz serve\b"),
    serve(r"cargo run --release -- serve\b"),
    skip(r"sip-authz check --etcd\b", "needs etcd, and the program with the feature etcd"),
    run(r"sip-authz check\b", codes=(0, 1)),
    run(r"sip-authz account\b"),
    # 1: no refusal or limit is there
    run(r"sip-authz why\b", codes=(0, 1), shows=False),
    run(r"sip-authz limits\b", codes=(0, 1)),
    # the server of the page is a single process
    run(r"sip-authz status\b", shows=False),
    run(r"sip-authz upgrade\b", shows=False),
    skip(r"sip-authz tail\b", "ends by a signal; the tests of the program run it"),
    run(BY_NAME),
    run(r"sip-authz import\b"),
    run(r"sip-authz export\b"),
    run(r"sip-authz backup\b"),
    run(r"sip-authz keys\b"),
    run(r"sip-authz completions\b"),
    run(r"mkdir -p man1 && sip-authz man man1$"),
    run(r"sip-authz (help|--version|--help)\b"),
    # other programs
    run(r"export \w+="),
    run(r"printf "),
    run(r"chmod go-w /var/lib/sip-authz$"),
    run(r"chmod 600 edge.toml && sip-authz check --config edge.toml$"),
    skip(r"curl -sS http://127\.0\.0\.1:5091/v1/decide", "needs a server with --decide; the tests of the program run it"),
    skip(r"curl -sN ", "follows until it is stopped"),
    run(r"curl -s\S* ", tools=["curl"]),
    run(r"sqlite3 -readonly ", tools=["sqlite3"]),
    run(r"sipsak .*--password=wrong", tools=["sipsak"], codes=(1, 2), shows=False),
    run(r"sipsak .*--local-ip=", tools=["sipsak"], codes=(1, 2)),
    run(r"sipsak ", tools=["sipsak"]),
    # ends by itself; 99: it has gone to the background
    run(r"sipp -sn uas .*-bg -timeout \d+$", tools=["sipp"], codes=(99,)),
    run(r"mv \S+ \S+ && kill -USR1 "),
    run(r"openssl "),
    run(r"docs/recipes/twilio_export\.py "),
    skip(r"docs/recipes/decide\.py ", "needs a server with --decide; the tests of the program run it"),
    run(r"cp /usr/share/doc/sip-authz/\S+ /etc/fail2ban/", package=True),
    skip(r"fail2ban-regex systemd-journal ", "needs the journal"),
    run(r"fail2ban-regex /var/log/", tools=["fail2ban-regex"], package=True),
    skip(r"(dpkg|systemctl|systemd-analyze|journalctl|sudoedit) ", "needs the Debian package and systemd"),
    skip(r"docker ", "needs docker"),
    skip(r"(revision=\$\()?etcd(ctl)? ", "needs etcd"),
    skip(r"mysql |psql ", "needs the database of another server"),
    skip(r"apt-get ", "installs a package"),
    skip(r"sysctl -w ", "changes the system"),
    skip(r"(pip|npm) install ", "installs a package"),
    skip(r"git clone ", "needs the network"),
    skip(r"cargo cinstall ", "needs cargo-c"),
    skip(r"ldconfig$", "changes the system"),
    names(r"kamailio/build\.sh", "a build of its own"),
    skip(r"install -m \d+ \S+ /usr/lib/", "changes the system"),
    # for developers
    names(r"cargo xtask\b", "a task: CI runs them"),
    names(r"cargo cinstall\b", "needs a plugin; `cargo xtask capi` runs it"),
    skip(r"cc -o example |\./example ", "`cargo xtask capi` compiles and runs the example"),
    names(r"cargo (build|test|bench|run|install|doc|check|clippy|fmt)\b", "compiles for minutes"),
    skip(r"cargo (deny|publish|package|login|search)\b", "needs a plugin or a registry"),
    skip(r"git (tag|push|clone|checkout)\b", "for a release"),
    names(r"target/release/", "compiled by the command before"),
    names(r"\.ci/run|crates/\S+\.(sh|py)|fuzz/\S+\.sh", "a check of its own"),
]


# --- the contents of pages ---------------------------------------------------------------------------------------------


class Command:
    def __init__(self, page, line, text, expected):
        self.page, self.line, self.text, self.expected = page, line, text, expected

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"


def without_comment(line):
    """The command, without the comment after it."""
    return re.sub(r"(^|\s)#\s.*$", "", line).rstrip()


def commands(path, top):
    """The commands of a page, in order. `top` is the folder of all pages."""
    page, found, fence, before = str(path.relative_to(top)), [], None, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark = re.match(r" *```(\w*)", line)
        if mark:
            fence = None if fence is not None else mark[1]
            before = ""
            continue
        if fence in ("sh", "bash", "shell"):
            text = line
        elif fence in ("text", "console") and line.startswith("$ "):
            text = line[2:]
        else:
            # the first line of output belongs to the command before it
            if fence in ("text", "console") and line and found and found[-1].expected == "":
                found[-1].expected = line.strip()
            continue
        text = before + without_comment(text).strip()
        before = ""
        if text.endswith("\\"):
            before = text[:-1]
        elif text:
            found.append(Command(page, number, text, "" if line.startswith("$ ") else None))
    return found


def rule_of(command):
    return next((rule for rule in RULES if rule.pattern.match(command.text)), None)


# --- the names in a command --------------------------------------------------------------------------------------------


def packages():
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {package["name"]: package for package in json.loads(found.stdout)["packages"]}


def missing_names(text, known):
    """The names in a cargo command, or a script, that do not exist."""
    missing = []
    words = text.split(" -- ")[0].split()
    if words[:2] == ["cargo", "xtask"]:
        sources = "".join(path.read_text() for path in (ROOT / "crates/xtask/src").rglob("*.rs"))
        tasks = [word for word in words[2:4] if re.fullmatch(r"[a-z-]+", word) and word not in ("help", "setup")]
        return [f"task {task}" for task in tasks[:1] if f'name: "{task}"' not in sources]
    if words[0] == "cargo":
        options = list(zip(words, words[1:]))
        package = next((value for name, value in options if name in ("-p", "--package")), None)
        if package is not None and package not in known:
            return [f"package {package}"]
        chosen = [known[package]] if package else list(known.values())
        for name, value in options:
            if name == "--path" and not (ROOT / value).is_dir():
                missing.append(f"folder {value}")
            if name == "--manifest-path" and not (ROOT / value).is_file():
                missing.append(f"file {value}")
            if name in ("--bench", "--test", "--example", "--bin"):
                kind = name[2:]
                targets = [target for each in chosen for target in each["targets"]]
                if not any(kind in target["kind"] and target["name"] == value for target in targets):
                    missing.append(f"{kind} {value}")
            if name == "--features" and "--manifest-path" not in text:
                for feature in value.split(","):
                    if not any(feature in each["features"] for each in chosen):
                        missing.append(f"feature {feature}")
        return missing
    script = words[0]
    if script.startswith("target/"):
        example = Path(script).name
        targets = [target["name"] for each in known.values() for target in each["targets"]]
        return [] if example in targets else [f"program {example}"]
    return [] if os.access(ROOT / script, os.X_OK) else [f"script {script}"]


# --- running a page ----------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Failure(Exception):
    pass


class Page:
    """A folder, an environment and at most one server for the commands of one page."""

    def __init__(self, folder, program, top, unpacked):
        self.folder, self.unpacked = folder, unpacked
        self.ports = {name: free_port() for name in ("sip", "sips", "api", "metrics", "pbx")}
        self.server, self.log, self.https, self.account, self.password = None, None, False, None, None
        self.token = None
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "sip-authz").symlink_to(program)
        path = f"{bin_folder}:{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "SIP_AUTHZ_ADMIN_TOKEN": "docs" * 8, "TOKEN": "docs" * 8}
        (folder / "docs").symlink_to(top / "docs")
        (folder / "crates").symlink_to(ROOT / "crates")
        for name in ("filter.d", "jail.d"):
            (folder / "fail2ban" / name).mkdir(parents=True)
        common = Path("/etc/fail2ban/filter.d/common.conf")
        if common.exists():
            shutil.copy(common, folder / "fail2ban/filter.d")
        (folder / "decisions.json").write_text(DECISIONS)
        (folder / "backup").mkdir()
        shutil.copy(top / "docs/edge.toml", folder / "edge.toml")
        (folder / "edge.toml").chmod(0o600)
        (folder / "invite.sip").write_bytes(INVITE)
        (folder / "subscriber.csv").write_text("username,domain,ha1\nalice,example.com," + "5a" * 16 + "\n")
        shutil.copy(folder / "subscriber.csv", folder / "subscriber.tsv")

    def substituted(self, text):
        """The command with the ports, folders and SIDs of this page."""
        text = re.sub(r"^cargo run --release -- ", "sip-authz ", text).removesuffix("&").strip()
        # a synopsis: keep the options, replace the placeholders
        text = re.sub(r"\[(--[^\]]*)\]", r"\1", text)
        text = re.sub(r"\bimport FILE\b", "import subscriber.csv", text)
        text = re.sub(r"\bDIR\b", str(self.folder / "data"), text)
        text = re.sub(r"\bFILE\b", str(self.folder / "backup/file.db"), text)
        text = text.replace("/var/lib/sip-authz", str(self.folder / "data"))
        text = text.replace(" /backup/", f" {self.folder}/backup/")
        packaged = ROOT / "packaging/debian" if self.unpacked is None else self.unpacked / "etc/sip-authz"
        text = text.replace(" /etc/sip-authz/", f" {packaged}/")
        text = text.replace(" /etc/fail2ban/", f" {self.folder}/fail2ban/")
        text = text.replace(" /var/log/sip-authz/", f" {self.folder}/")
        if self.unpacked is not None:
            text = text.replace(" /usr/share/doc/", f" {self.unpacked}/usr/share/doc/")
        # signals go to the server of this page alone
        if self.server is not None:
            text = text.replace('"$(pidof sip-authz)"', str(self.server.pid))
        if "AC…" in text:
            text = text.replace("AC…", self.an_account())
        text = re.sub(r"\b127\.0\.0\.1:5060\b", f"127.0.0.1:{self.ports['sip']}", text)
        text = re.sub(r"\b127\.0\.0\.1:5070\b", f"127.0.0.1:{self.ports['sip']}", text)
        # a next hop
        text = re.sub(r"\b127\.0\.0\.1:5080\b", f"127.0.0.1:{self.ports['pbx']}", text)
        text = re.sub(r"-p 5080\b", f"-p {self.ports['pbx']}", text)
        text = re.sub(r"\b127\.0\.0\.1:8080\b", f"127.0.0.1:{self.ports['api']}", text)
        text = re.sub(r"\b127\.0\.0\.1:9464\b", f"127.0.0.1:{self.ports['metrics']}", text)
        if text.startswith("sip-authz serve"):
            text = self.substituted_server(text)
        elif text.startswith("docs/recipes/twilio_export.py"):
            text = self.substituted_export(text)
        elif re.match(rf"sip-authz (account|import|export|why|limits|status|upgrade)\b|{BY_NAME}", text):
            text = self.substituted_client(text)
        return text

    def substituted_server(self, text):
        api = f"--api 127.0.0.1:{self.ports['api']}"
        text = re.sub(r"--api \S+", api, text) if "--api " in text else f"{text} {api}"
        text = re.sub(r"--sips \S+", f"--sips 127.0.0.1:{self.ports['sips']}", text)
        text = re.sub(r"--metrics(?= |$)( \d\S*)?", f"--metrics 127.0.0.1:{self.ports['metrics']}", text)
        # the parts after a comma stay; the first address has the port of the page
        ports = iter([self.ports["sip"]])
        text = re.sub(
            r"--sip [^\s,]+", lambda _: f"--sip 127.0.0.1:{next(ports, 0)}", text
        )
        if "--sip " not in text:
            text += f" --sip 127.0.0.1:{self.ports['sip']}"
        if ".pem" in text:
            self.make_certificate()
        return text

    def substituted_client(self, text):
        text = re.sub(r" --api https?://\S+", "", text)
        if self.server is None:
            # with the folder that later commands of the page read: `check --data`, `backup`
            self.start("sip-authz serve --data /var/lib/sip-authz --on-accept ok")
        trust = " --ca chain.pem" if self.https else ""
        return f"{text} --api http{'s' if self.https else ''}://127.0.0.1:{self.ports['api']}{trust}"

    def substituted_export(self, text):
        """The API of this page's server in place of Twilio's."""
        self.env["TWILIO_ACCOUNT_SID"] = self.an_account()
        self.env["TWILIO_AUTH_TOKEN"] = self.token
        api = f"http://127.0.0.1:{self.ports['api']}"
        return text.replace(".py ", f".py --api {api} --trunking {api} ", 1)

    def an_account(self):
        if self.account is None:
            made = self.output(self.substituted_client("sip-authz account create Docs"))
            self.account = re.search(r"AC[0-9a-f]{32}", made)[0]
            self.token = re.search(r"auth token +([0-9a-f]{32})", made)[1]
        return self.account

    def make_certificate(self):
        if not (self.folder / "chain.pem").exists():
            self.output(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=docs"
                " -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
                " -keyout key.pem -out chain.pem"
            )

    def output(self, text, codes=(0,)):
        command = ["bash", "-euo", "pipefail", "-c", text]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(command, cwd=self.folder, env=self.env, timeout=END, **pipes)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"did not end within {END} s: {text}") from late
        shown = done.stdout.decode(errors="replace")
        if done.returncode not in codes:
            raise Failure(f"exit code {done.returncode}, expected {codes}: {text}\n{shown}")
        return shown

    def export(self, text):
        """Evaluates `export NAME=VALUE` for the commands after it."""
        name = re.match(r"export (\w+)=", text)[1]
        self.env[name] = self.output(f'{text}; printf %s "${name}"')

    def start(self, text):
        self.stop()
        text = self.substituted(text)
        path = self.folder / "server.log"
        self.log, self.account = path.open("wb"), None
        self.https = "--api-cert" in text
        pipes = {"stdout": self.log, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        # `exec`: signals go to the program
        self.server = subprocess.Popen(["bash", "-c", f"exec {text}"], cwd=self.folder, env=self.env, **pipes)
        until = time.monotonic() + START
        while "listening for HTTP" not in path.read_text(errors="replace"):
            if self.server.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Failure(f"the server does not listen: {text}\n{path.read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self):
        if self.server is None:
            return
        self.server.send_signal(signal.SIGTERM)
        try:
            self.server.wait(END)
        except subprocess.TimeoutExpired:
            self.server.kill()
        self.server = None
        self.log.close()

    def execute(self, command, rule):
        if rule.action == "serve":
            self.start(command.text)
            return
        # clients of the demo need one
        if command.text.startswith(("sipsak", "curl")) and self.server is None:
            self.start("sip-authz serve --demo --metrics")
        text = self.substituted(command.text)
        if text.startswith("export "):
            self.export(text)
            return
        shown = self.output(text, rule.codes)
        if command.expected and rule.shows and command.expected not in shown:
            raise Failure(f"`{command.expected}` is not in the output of: {text}\n{shown}")


INVITE = (
    b"INVITE sip:100@sip.acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK7\r\n"
    b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:100@sip.acme.example>\r\nCall-ID: 1@192.0.2.7\r\n"
    b"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)

DECISIONS = (
    '{"time":"2026-01-31T12:00:00.000Z","outcome":"reject","reason":"wrong-credentials","source":"192.0.2.7:5060"}\n'
)


# --- all pages -------------------------------------------------------------------------------------------------------


def default_program():
    for place in ("target/release/sip-authz", "target/debug/sip-authz"):
        if (ROOT / place).exists():
            return ROOT / place
    return shutil.which("sip-authz")


def result(page, command, known):
    """The result of a command: a word, and a reason."""
    rule = rule_of(command)
    if rule is None:
        return "FAILED", "no rule in RULES of crates/acceptance/docs-commands.py matches it: add one"
    if rule.action == "skip":
        return "skipped", rule.reason
    if rule.action == "names":
        missing = missing_names(command.text, known)
        return ("FAILED", "there is no " + ", ".join(missing)) if missing else ("checked", rule.reason)
    if rule.package and (page is None or page.unpacked is None):
        return "skipped", "needs the Debian package: --package"
    absent = [tool for tool in rule.tools if shutil.which(tool) is None]
    if absent:
        return "skipped", f"needs {', '.join(absent)}"
    if page is None:
        return rule.action, ""
    try:
        page.execute(command, rule)
    except Failure as failure:
        return "FAILED", str(failure)
    return "ran", ""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", nargs="?", default=default_program(), type=Path)
    options.add_argument("--package", type=Path, help="use the files of this Debian package")
    options.add_argument("--list", action="store_true", help="print the commands with their rules, run nothing")
    options = options.parse_args()
    if options.package is None:
        if options.program is None and not options.list:
            sys.exit("no program found: build it with `cargo build`, or pass its path")
        sys.exit(check(options, ROOT, None))
    if options.package.is_dir():
        built = sorted(options.package.glob("*.deb"), key=lambda path: path.stat().st_mtime)
        if not built:
            sys.exit(f"no package in {options.package}: build it with `cargo xtask deb`")
        options.package = built[-1]
    print(f"package {options.package}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sip-authz-package-") as unpacked:
        subprocess.run(["dpkg-deb", "-x", options.package, unpacked], check=True)
        unpacked = Path(unpacked)
        options.program = unpacked / "usr/bin/sip-authz"
        sys.exit(check(options, unpacked / "usr/share/doc/sip-authz", unpacked))


def check(options, top, unpacked):
    """Runs the commands of all pages below `top`. `unpacked` has the files of a package. Returns the exit code."""
    known, counts = packages(), {}
    pages = sorted({path for pattern in PAGES for path in top.glob(pattern)})
    for path in pages:
        all_of_page = commands(path, top)
        if not all_of_page:
            continue
        with tempfile.TemporaryDirectory(prefix="sip-authz-docs-") as folder:
            program = Path(options.program).resolve() if options.program else None
            page = None if options.list else Page(Path(folder), program, top, unpacked)
            try:
                for command in all_of_page:
                    word, reason = result(page, command, known)
                    counts[word] = counts.get(word, 0) + 1
                    print(f"{word:8} {command}" + (f"\n         {reason}" if reason else ""), flush=True)
            finally:
                if page is not None:
                    page.stop()
    print(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if counts.get("FAILED") else 0


if __name__ == "__main__":
    main()
