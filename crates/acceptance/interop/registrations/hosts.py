"""The servers and phones of the test in their namespaces."""

import re
from pathlib import Path

from handsets import Baresip, Pjsip
from servers import TRACE, Kamailio, Program
from softphone import wait_for
from world import ALICE, BOB, CAROL, CAROL_OUTSIDE, EDGE_INSIDE, EDGE_OUTSIDE, PBX, run

RECIPE = Path(__file__).resolve().parents[4] / "docs/recipes/registrar.cfg"
DOMAIN, REALM, PASSWORD = "pbx.example", "phones.example", "Correct-Horse-7"
# Seconds: between two OPTIONS of Kamailio to a phone, and until it gives up a call that does not ring.
KEEP_ALIVE, NO_ANSWER = 1, 8
# Seconds after which a phone with RFC 5626 must have sent a keep-alive.
FLOW_TIMER = 2
# Frequencies that are no multiples of each other.
HERTZ = {"alice": 440, "bob": 730, "carol": 1130}

CONFIGURATION = f"""\
realm = "{REALM}"

[[credential_lists]]
name = "calls"
credentials = [
    {{ username = "alice", password = "{PASSWORD}" }},
    {{ username = "bob", password = "{PASSWORD}" }},
]

[[credential_lists]]
name = "registrations"
credentials = [
    {{ username = "alice", password = "{PASSWORD}" }},
    {{ username = "bob", password = "{PASSWORD}" }},
]

[[domains]]
name = "{DOMAIN}"
credential_lists = ["calls"]
registrations = ["registrations"]
"""


class Edge(Program):
    """The program with a listener outside, and one inside."""

    def __init__(self, binary, directory, world, configuration=CONFIGURATION, **options):
        listeners = ["--sip", f"{EDGE_OUTSIDE}:5060", "--sip", f"{EDGE_INSIDE}:5070,inside"]
        listeners += [f"{EDGE_OUTSIDE}:5061"]
        super().__init__(binary, directory, configuration, *listeners, host=world.edge, **options)
        self.command += ["--on-accept", f"forward:{PBX}:5060", "--hop-probe", "1"]


# Kamailio sends no OPTIONS to phones outside.
NO_OPTIONS = ('"ka_mode", 2', '"ka_mode", 0')

# Kamailio challenges registrations of the edge, in the realm of the edge.
CHALLENGES = [
    ('loadmodule "registrar.so"\n', 'loadmodule "registrar.so"\nloadmodule "auth.so"\n'),
    ("        setbflag(6);\n", f'        www_challenge("{REALM}", "0");\n        exit;\n'),
]

ANSWERS = r"""
onreply_route {
    xlog("L_ALERT", "ANSWERED $si $rs\n");
}
"""


class Registrar(Kamailio):
    """Kamailio with the recipe. It asks phones outside every second whether they are there. Its log has all
    requests and answers."""

    edge = EDGE_INSIDE

    def __init__(self, directory, world, *more, trace=TRACE, memory=64):
        self.port, self.address = 5060, f"{PBX}:5060"
        self.fill(
            directory,
            RECIPE,
            ("192.0.2.20", PBX),
            ("192.0.2.10", EDGE_INSIDE),
            ("10.0.0.0/8", "10.9.0.0/24"),
            # time enough for audio, and little for a phone that is not there
            ('modparam("tm", "fr_inv_timer", 120000)', f'modparam("tm", "fr_timer", {NO_ANSWER * 1000})'),
            ('"timer_interval", 20', f'"timer_interval", {KEEP_ALIVE}'),
            ('"flow_timer", 25', f'"flow_timer", {FLOW_TIMER}'),
            ('loadmodule "kex.so"\n', f'loadmodule "kex.so"\nloadmodule "ctl.so"\n{self.control(directory)}'),
            *more,
            host=world.pbx,
            trace=trace,
            memory=memory,
        )
        if not trace:
            return
        with self.config.open("a") as config:
            config.write(ANSWERS)

    def control(self, directory):
        self.socket = f"unix:{directory}/control"
        return f'modparam("ctl", "binrpc", "{self.socket}")\n'

    def __enter__(self):
        super().__enter__()
        try:
            wait_for("Kamailio", lambda: self.text() and Path(self.socket[5:]).exists(), show=self.text)
        except BaseException:
            self.__exit__()
            raise
        return self

    def command(self, *words):
        return run("kamcmd", "-s", self.socket, *words)

    def answers(self):
        """Source and status of the answers so far."""
        return re.findall(r"ANSWERED (\S+) (\d+)", self.text())

    def path(self, user):
        """The Path of the last registration of a user."""
        texts = [text for _, text in self.from_edge() if text.startswith("REGISTER ")]
        own = [text for text in texts if re.search(rf"^To:.*sip:{user}@", text, re.M)]
        return re.search(r"^Path: (\S+)", own[-1], re.M)[1]


def peer(transport):
    """The address of the edge, for a phone outside."""
    return f"{EDGE_OUTSIDE}:{5061 if transport == 'tls' else 5060}"


def alice(directory, world, edge, transport, *, options=";sipnat=outbound", expires=600):
    """baresip with RFC 5626, if it has that option."""
    account = f"<sip:alice@{DOMAIN};transport={transport}>;auth_user=alice;auth_pass={PASSWORD}"
    account += f';regint={expires};outbound="sip:{peer(transport)};transport={transport}"{options}'
    more = f"sip_cafile {edge.certificate}\n"
    return Baresip(
        directory / "alice",
        account,
        peer(transport),
        hertz=HERTZ["alice"],
        host=world.alice,
        address=ALICE,
        more=more,
    )


def bob(directory, world, edge, transport, *, expires=600, keep_alive=True, retry=3):
    """PJSIP, which uses RFC 5626 over streams and sends CRLF over UDP; without `keep_alive` neither."""
    settings = {
        "address": BOB,
        "media": BOB,
        "authorities": str(edge.certificate),
        "transport": transport,
        "proxy": f"sip:{peer(transport)};transport={transport};lr",
        "expires": expires,
        "retry": retry,
        "keep_alive": int(keep_alive),
    }
    return pjsip("bob", directory, settings, host=world.bob)


def carol(directory, world):
    """PJSIP beside Kamailio, with media outside. It sends audio to where the audio of the other phone comes from."""
    settings = {
        "address": CAROL,
        "media": CAROL_OUTSIDE,
        "authorities": "",
        "transport": "udp",
        "proxy": f"sip:{PBX}:5060;lr",
        "expires": 600,
        "retry": 3,
        "keep_alive": 0,
    }
    return pjsip("carol", directory, settings, host=world.carol)


def pjsip(name, directory, settings, *, host):
    settings |= {"uri": f"sip:{name}@{DOMAIN}", "registrar": f"sip:{DOMAIN}", "user": name, "password": PASSWORD}
    return Pjsip(directory / name, settings, hertz=HERTZ[name], host=host)
