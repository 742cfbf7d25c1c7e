"""The scripts of docs/recipes/kamailio-module.md: the module, and Kamailio's own modules, do the same."""

import hashlib
import re

from world import (
    BY_ADDRESS,
    BY_PASSWORD,
    GUESSER,
    HERE,
    INSIDE,
    OUTSIDE,
    PASSWORD,
    REALM,
    SECONDS,
    USER,
    Caller,
    Failed,
    Kamailio,
    Request,
    Service,
    call,
    code,
    digest,
    end,
    free_port,
    invite,
    start,
    wait_for,
)

RECIPES = HERE.parents[3] / "docs/recipes"
GATEWAY = "127.0.0.20"
OTHER = 'Digest username="x", realm="elsewhere", nonce="n", uri="sip:x", response="00"'


class Gateway:
    """A sipp that answers calls, until the end of the block."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port(GATEWAY)
        self.trace = folder / "gateway.messages"
        self.trace.touch()

    def __enter__(self):
        command = ["sipp", "-sf", HERE.parent / "behind_kamailio/gateway.xml", "-i", GATEWAY]
        command += ["-p", self.port, "-nostdin", "-trace_msg", "-message_file", self.trace]
        self.process = start([str(word) for word in command], self.folder / "gateway.out")
        return self

    def __exit__(self, *_):
        end(self.process)

    def invite(self, call_id):
        """The INVITE of this call that arrived."""
        for text in re.split(r"^-{10,}.*$", self.trace.read_text(errors="replace"), flags=re.M):
            if call_id in text and re.search(r"^INVITE ", text, re.M):
                return text
        return None


def script(name, kamailio_port, gateway, replaced):
    text = (RECIPES / name).read_text()
    for written, here in [
        ("203.0.113.10:5060", f"127.0.0.1:{kamailio_port}"),
        ("192.0.2.20:5060", f"{GATEWAY}:{gateway.port}"),
        ('"192.0.2.20"', f'"{GATEWAY}"'),
        ('$rp = "5060"', f'$rp = "{gateway.port}"'),
        ("log_stderror=no", "log_stderror=yes"),
        *replaced,
    ]:
        if written not in text:
            raise Failed(f"{name}: there is no {written}")
        text = text.replace(written, str(here))
    return text


class Scripted(Kamailio):
    """Kamailio with a script of docs/recipes."""

    def __init__(self, name, folder, gateway, replaced):
        super().__init__("", folder, {}, text="")
        self.config.write_text(script(name, self.port, gateway, replaced))

    def wait(self):
        super().wait("MESSAGE", "sip:1@nowhere.example")


def database(folder):
    """The users and addresses of Kamailio's own modules, in files."""
    ha1 = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
    tables = folder / "dbtext"
    tables.mkdir()
    (tables / "version").write_text("table_name(string) table_version(int)\nsubscriber:7\n")
    (tables / "subscriber").write_text(f"username(string) domain(string) ha1(string)\n{USER}:{REALM}:{ha1}\n")
    addresses = folder / "address.list"
    addresses.write_text(f"1 {INSIDE} 32 0\n")
    return [("/etc/kamailio/dbtext", tables), ("/etc/kamailio/address.list", addresses)]


def check(test, report):
    for name in ("kamailio-own.cfg", "kamailio-module.cfg"):
        folder = test.new_folder(name)
        place = f"unix:{folder}/decide.sock"
        # generous: the machine may be busy
        parameters = f'"{place}")\nmodparam("authz", "timeout", 10000)'
        replaced = [
            ('"authz.so"', f'"{test.module}"'),
            ('"unix:/run/sip-authz/decide.sock")', parameters),
        ]
        if name == "kamailio-own.cfg":
            replaced = database(folder)
        with (
            Service(test.binary, folder, place),
            Gateway(folder) as gateway,
            Scripted(name, folder, gateway, replaced) as kamailio,
        ):
            calls(kamailio, gateway, report, name)


def calls(kamailio, gateway, report, name):
    for what, answer, expected in [
        ("a listed address", invite(kamailio, INSIDE, BY_ADDRESS), 200),
        ("another address", invite(kamailio, OUTSIDE, BY_ADDRESS), 403),
        ("an unknown domain", invite(kamailio, INSIDE, "sip:1@nowhere.example"), 404),
        ("no credentials", invite(kamailio, OUTSIDE, BY_PASSWORD), 407),
        ("the right password", call(kamailio, OUTSIDE, BY_PASSWORD), 200),
    ]:
        report.check(f"{name}: {what} answers {expected}", code(answer) == expected, answer)
    # Kamailio's own modules challenge again
    answer = call(kamailio, GUESSER, BY_PASSWORD, "guess")
    report.check(f"{name}: a wrong password is refused", code(answer) in (403, 407), answer)
    with Caller(OUTSIDE) as caller:
        request = Request("INVITE", BY_PASSWORD, lines=(f"Proxy-Authorization: {OTHER}",))
        challenge = caller.ask(request.text(caller), kamailio.address, SECONDS)
        credentials = digest(challenge, BY_PASSWORD, PASSWORD)
        answer = caller.ask(request.text(caller, 2, credentials), kamailio.address, SECONDS) or ""
        report.check(f"{name}: the right one of two credentials", code(answer) == 200, answer)
        seen = wait_for("the call at the gateway", lambda: gateway.invite(request.call_id))
        left = re.findall(r"^Proxy-Authorization: *(.*?)\r?$", seen, re.M)
        report.check(f"{name}: the gateway gets the other one only", left == [OTHER], seen)
        # the same credentials for a call of its own
        replay = Request("INVITE", BY_PASSWORD)
        answer = caller.ask(replay.text(caller, 2, credentials), kamailio.address, SECONDS) or ""
        report.check(f"{name}: a replay answers 407", code(answer) == 407, answer)
        for method, to, expected in [("BYE", ";tag=x", 481), ("INVITE", ";tag=x", 481), ("MESSAGE", "", 405)]:
            request = Request(method, BY_ADDRESS, to=to)
            answer = caller.ask(request.text(caller), kamailio.address, SECONDS) or ""
            what = f"{method} with To{to or ' alone'}"
            report.check(f"{name}: {what} answers {expected}", code(answer) == expected, answer)
