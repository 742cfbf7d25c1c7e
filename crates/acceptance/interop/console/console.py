"""Drives the console with a browser: logs in, sees a refused call of sipp appear, reads its cause, enables the
user, and sees the next call accepted. Then checks every view: axe-core, both colour schemes, 360 and 1,920 pixels.

    console.py BINARY FOLDER AXE [--pictures FOLDER]
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

HERE = Path(__file__).resolve().parent
ADMIN_TOKEN = "token-of-the-browser-test"
PASSWORD = "Correct-horse-9-battery"
WIDTHS = (360, 1920)
failures = 0


def check(name, passed, found=""):
    global failures
    failures += not passed
    print(f"{name:<72} {'ok' if passed else f'FAILED {found}'}", flush=True)


class Server:
    """The program with its console, on free ports."""

    def __init__(self, binary, folder, sip):
        self.out = folder / "out"
        with open(self.out, "wb") as out, open(folder / "err", "wb") as err:
            self.process = subprocess.Popen(
                [binary, "serve", "--console", "--sip", sip, "--api", "127.0.0.1:0",
                 "--data", folder / "data", "--on-accept", "ok"],
                stdout=out, stderr=err, env={**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": ADMIN_TOKEN})
        self.sip = self.line(r"listening for SIP on (\S+)")
        self.console = self.line(r"the console is at (\S+)")
        self.api = self.console.removesuffix("/console/")

    def line(self, pattern):
        for _ in range(1_200):
            found = re.search(pattern, self.out.read_text())
            if found:
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"console: the program printed no line `{pattern}`")

    def post(self, path, user, token, **fields):
        """Creates a resource with the REST API."""
        request = urllib.request.Request(self.api + path, urllib.parse.urlencode(fields).encode())
        login = base64.b64encode(f"{user}:{token}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


class Tenant:
    """An account with a domain and a credential list."""

    def __init__(self, server, name, host):
        account = server.post("/2010-04-01/Accounts.json", "admin", ADMIN_TOKEN, FriendlyName=name)
        self.server, self.sid, self.token = server, account["sid"], account["auth_token"]
        self.host = host
        self.base = f"/2010-04-01/Accounts/{self.sid}/SIP"
        self.domain = self.post("/Domains", DomainName=host)["sid"]
        self.list = self.post("/CredentialLists", FriendlyName="phones")["sid"]

    def post(self, path, **fields):
        return self.server.post(f"{self.base}{path}.json", self.sid, self.token, **fields)

    def user(self, name, **fields):
        path = f"/CredentialLists/{self.list}/Credentials"
        return self.post(path, Username=name, Password=PASSWORD, **fields)["sid"]

    def map(self):
        self.post(f"/Domains/{self.domain}/Auth/Calls/CredentialListMappings", CredentialListSid=self.list)


def call(server, host, user, password=PASSWORD, source="127.0.0.1", number="14155550100"):
    """One call of sipp. Returns the status of its last answer."""
    messages = server.out.with_name("messages")
    messages.unlink(missing_ok=True)
    done = subprocess.run(
        ["sipp", server.sip, "-sf", HERE.parent / "call.xml", "-key", "domain", host, "-s", number,
         "-m", "1", "-nostdin", "-timeout", "20s", "-timeout_error", "-i", source, "-bind_local",
         "-au", user, "-ap", password, "-trace_msg", "-message_file", messages],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=40, check=False,
        env={**os.environ, "TERM": "xterm"})
    answers = re.findall(r"^SIP/2.0 (\d+) ", messages.read_text(), re.MULTILINE)
    if done.returncode != 0 or not answers:
        sys.exit(f"console: sipp ended with {done.returncode}: {done.stdout[-2000:]!r}")
    return int(answers[-1])


class Browser:
    def __init__(self, console):
        options = webdriver.ChromeOptions()
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(option)
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.console = console

    def open(self, path=""):
        self.driver.get(self.console + path)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self):
        return self.find("main").text

    def wait(self, condition, name, seconds=60):
        """Waits for a condition; a page that changes meanwhile is read again."""
        ignored = (StaleElementReferenceException,)
        waiting = WebDriverWait(self.driver, seconds, poll_frequency=0.1, ignored_exceptions=ignored)
        try:
            waiting.until(lambda _: condition())
            check(name, True)
        except Exception as error:  # the wait's own error says nothing about the page
            check(name, False, f"{type(error).__name__}: {self.text()[:500]!r}")

    def log_in(self, user, token):
        self.find("#user").send_keys(user)
        self.find("#token").send_keys(token, Keys.ENTER)
        self.wait(lambda: self.all("header.top"), f"log in as {user[:2]}…")

    def look(self, width, height=900, dark=False):
        """Sets the size of the window and the colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.driver.get_screenshot_as_base64()))

    def violations(self, axe):
        self.driver.execute_script(axe)
        run = "const done = arguments[0]; axe.run().then((result) => done(result.violations), (error) => done([{id: String(error)}]));"
        found = self.driver.execute_async_script(run)
        return [f"{one['id']}: {[node['html'][:160] for node in one.get('nodes', [])][:3]}" for one in found]


def refused_call(browser, server, acme):
    """The way of the person at the telephone."""
    browser.look(1280)
    browser.open()
    check("without a session: the login form", bool(browser.all("#token")))
    browser.log_in(acme.sid, acme.token)
    browser.wait(lambda: "live" in browser.find("#live").text, "the view is live")
    check("a call of a disabled user is refused", call(server, acme.host, "alice") == 403)
    rows = lambda: browser.all("#rows .row a")
    refused = lambda: [row for row in rows() if "refused" in row.text and "alice" in row.text]
    browser.wait(refused, "the refused call appears, without a reload")
    refused()[0].click()
    browser.wait(lambda: browser.all(".row .detail"), "it opens in place")
    detail = browser.find(".row .detail").text
    check("it names the cause", "the user is disabled" in detail, detail)
    check("it names the answer", "Answer: 403 Forbidden" in detail, detail)
    check("its address did not change", browser.driver.current_url == server.console)
    call(server, acme.host, "bob")
    browser.wait(lambda: "new" in browser.find("#waiting").text, "a new row waits while one is read")
    browser.find(".row .detail button").click()
    browser.wait(lambda: "The user is enabled" in browser.text(), "the button enables the user")
    browser.open()
    browser.wait(lambda: "live" in browser.find("#live").text, "the view is live again")
    before = len(rows())
    check("the next call is accepted", call(server, acme.host, "alice") == 200)
    accepted = lambda: len(rows()) > before and "accepted" in rows()[0].text and "alice" in rows()[0].text
    browser.wait(accepted, "the accepted call appears")
    call(server, acme.host, "<b id=markup>x</b>")
    browser.wait(lambda: "<b id=markup>x</b>" in browser.text(), "markup of a caller is text")
    check("markup of a caller is no element", not browser.all("#markup"))


class Relay:
    """Passes connections on to the program, and cuts them on demand."""

    def __init__(self, console):
        self.to = urllib.parse.urlsplit(console)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.console = f"http://127.0.0.1:{self.listener.getsockname()[1]}/console/"
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection((self.to.hostname, self.to.port))
            self.open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def cut(self):
        while self.open:
            with contextlib.suppress(OSError):
                self.open.pop().shutdown(socket.SHUT_RDWR)


def interrupted(browser, server, acme):
    """A view whose connection was lost says that rows are missing."""
    relay = Relay(server.console)
    browser.driver.get(relay.console)
    browser.log_in(acme.sid, acme.token)
    browser.wait(lambda: "live" in browser.find("#live").text, "through a relay, the view is live")
    check("no notice of an interruption", not browser.all("#interrupted .notice"))
    relay.cut()
    missing = lambda: "decisions made meanwhile are missing" in browser.find("#interrupted").text
    browser.wait(missing, "after a reconnect, a notice says that rows are missing")
    browser.wait(lambda: "live" in browser.find("#live").text, "the view is live again after the reconnect")
    # the browser reports the cut connection as an error
    browser.driver.get_log("browser")


def keyboard(browser):
    browser.open()
    body = browser.find("body")
    body.send_keys(Keys.ARROW_DOWN)
    body = browser.driver.switch_to.active_element
    body.send_keys(Keys.ARROW_DOWN)
    second = browser.all("#rows .row a")[1]
    check("arrows move between rows", browser.driver.switch_to.active_element == second)
    second.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.all(".row .detail"), "Enter opens a row")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait(lambda: not browser.all(".row .detail"), "Escape closes it")
    check("the focus stays at the row", browser.driver.switch_to.active_element == second)
    browser.find("#pause").click()
    check("the view can be paused", browser.find("#live").text.endswith("paused"))


def without_script(browser, acme):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open()
    browser.find("#rows .row a").click()
    browser.wait(lambda: "/decisions/NO" in browser.driver.current_url, "without script: a row is a page")
    check("without script: its steps", bool(browser.all(".steps li")))
    browser.open("?outcome=refused")
    browser.find("#f-user").send_keys("alice", Keys.ENTER)
    browser.wait(lambda: "user=alice" in browser.driver.current_url, "without script: the filter")
    browser.open(f"lists/users/{acme.list}")
    check("without script: users", "carol" in browser.text())
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def views(acme, decision, alice):
    users, domain = f"lists/users/{acme.list}", f"domains/{acme.domain}"
    return [
        "", "?outcome=refused&user=nobody", f"decisions/{decision}", f"domains?account={acme.sid}", "domains",
        domain, f"{domain}/unmap?list=users:{acme.list}", f"lists?account={acme.sid}", users,
        f"{users}?q=zzz", f"{users}/{alice}", f"{users}/{alice}/password", f"{users}/{alice}/disable",
        f"lists/addresses/{acme.addresses}", f"lists/addresses/{acme.empty}", "limits", "try", "state",
        "no/such/page",
    ]


def every_view(browser, axe, paths):
    """Checks each view; the first one with a row open, too."""
    for path in paths:
        for dark in (False, True):
            for width in WIDTHS:
                browser.look(width, dark=dark)
                browser.open(path)
                if path == "":
                    browser.find("#rows .row a").click()
                    browser.wait(lambda: browser.all(".row .detail"), "open a row")
                scheme = "dark" if dark else "light"
                over = browser.driver.execute_script(
                    "return document.documentElement.scrollWidth - innerWidth")
                check(f"{path or 'decisions'}, {scheme}, {width}: no sideways scroll", over <= 0, over)
                found = browser.violations(axe)
                check(f"{path or 'decisions'}, {scheme}, {width}: axe-core", not found, found)


def try_an_invite(browser, acme):
    browser.look(1280)
    browser.open("try")
    browser.find("#host").send_keys(acme.host)
    browser.find("#source").send_keys("192.0.2.7", Keys.ENTER)
    browser.wait(lambda: browser.all(".detail .steps li"), "an INVITE is explained")


def unlock(browser, server, acme):
    for _ in range(14):
        call(server, acme.host, "dora", "Wrong-guess-1-of-many", source="127.0.0.3")
    browser.look(1280)
    browser.open("limits")
    browser.wait(lambda: browser.all("table form button"), "a name with many wrong passwords is held")
    browser.find("table form button").click()
    browser.wait(lambda: "are forgotten" in browser.text(), "it is unlocked")
    check("its next call is accepted", call(server, acme.host, "dora", source="127.0.0.3") == 200)


def pictures(browser, acme, folder, decision):
    folder.mkdir(parents=True, exist_ok=True)
    browser.look(1280, 960)
    browser.open(f"?account={acme.sid}")
    browser.find(f".row[data-sid={decision}] a").click()
    browser.wait(lambda: browser.all(".row .detail"), "picture: a row is open")
    browser.picture(folder / "console-decisions.png")
    browser.look(1280, 400, dark=True)
    browser.open(f"domains?account={acme.sid}")
    browser.picture(folder / "console-domains.png")
    browser.look(390, 760)
    browser.open(f"?account={acme.sid}")
    browser.picture(folder / "console-narrow.png")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("axe", type=Path)
    arguments.add_argument("--pictures", type=Path, help="write the pictures of the documentation")
    arguments = arguments.parse_args()
    axe = arguments.axe.read_text(encoding="utf-8")
    with contextlib.ExitStack() as stack:
        # the name of the edge in the pictures has the port
        sip = "127.0.0.77:5060" if arguments.pictures else "127.0.0.1:0"
        server = Server(arguments.binary.resolve(), arguments.folder, sip)
        stack.callback(server.process.wait, 60)
        stack.callback(server.process.terminate)
        acme = Tenant(server, "acme", "sip.acme.example")
        alice = acme.user("alice", Disabled="true")
        for name in ("bob", "carol", "dora", "erin"):
            acme.user(name)
        acme.map()
        # so that a slow machine finds a name that is held
        acme.post(f"/Domains/{acme.domain}/Policy", GuessPairRefillMs="600000")
        acme.addresses = acme.post("/IpAccessControlLists", FriendlyName="offices")["sid"]
        acme.post(f"/IpAccessControlLists/{acme.addresses}/IpAddresses", FriendlyName="head office",
                  IpAddress="192.0.2.0", CidrPrefixLength="24")
        acme.empty = acme.post("/IpAccessControlLists", FriendlyName="partners")["sid"]
        acme.post("/Domains", DomainName="fax.acme.example", SipRegistration="true")
        partners = acme.post("/Domains", DomainName="partners.acme.example", Secure="true")["sid"]
        for address_list in (acme.addresses, acme.empty):
            acme.post(f"/Domains/{partners}/Auth/Calls/IpAccessControlListMappings",
                      IpAccessControlListSid=address_list)
        other = Tenant(server, "globex", "sip.globex.example")
        browser = Browser(server.console)
        stack.callback(browser.driver.quit)

        refused_call(browser, server, acme)
        unlock(browser, server, acme)
        call(server, acme.host, "carol", "Not-the-password-1", number="15005550006")
        call(server, acme.host, "mallory", number="14155550111")
        call(server, other.host, "olga")
        call(server, "sip.nowhere.example", "olga")
        for name in ("erin", "bob", "carol"):
            call(server, acme.host, name)
        interrupted(browser, server, acme)
        keyboard(browser)
        browser.open("?user=carol&outcome=refused")
        decision = browser.find("#rows .row").get_attribute("data-sid")
        without_script(browser, acme)
        browser.open()
        check("an account sees nothing of others", "globex" not in browser.text())
        browser.find(".who form button.plain:not(.nojs)").click()
        browser.wait(lambda: browser.all("#token"), "log out")
        every_view(browser, axe, ["login"])
        browser.look(1280)
        browser.open()
        browser.log_in("admin", ADMIN_TOKEN)
        browser.open()
        text = browser.text()
        check("the admin sees all", "sip.globex.example" in text and "sip.nowhere.example" in text)
        try_an_invite(browser, acme)
        every_view(browser, axe, views(acme, decision, alice))
        messages = [line["message"] for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]
        messages = [line for line in messages if "no/such/page" not in line]
        check("the browser reports no error", not messages, messages)
        if arguments.pictures:
            pictures(browser, acme, arguments.pictures, decision)
        server.process.terminate()
        code = server.process.wait(60)
        # its message at the end of the grace period
        waited = "are still open" in server.out.with_name("err").read_text()
        check("the program ends, and waits for no open stream", code == 0 and not waited, code)
    print(f"{failures} failed")
    sys.exit(failures > 0)


main()
