"""The program in front of Kamailio, which has the configuration of docs/recipes/pbx.cfg."""

import re
import socket
import subprocess
from pathlib import Path

from softphone import Failed, Here, end, free_port, start, wait_for

RECIPE = Path(__file__).resolve().parents[4] / "docs/recipes/pbx.cfg"
# The edge faces callers and Kamailio with the first address. Phones of Kamailio have the third.
EDGE, PBX, INSIDE = "127.0.0.1", "127.0.0.20", "127.0.0.30"
DOMAIN, REALM, USER, PASSWORD = "pbx.example", "forward.example", "alice", "Correct-Horse-7"
# Seconds in which a phone must answer. Calls of the test that are answered must be quicker.
NO_ANSWER = 15

CONFIGURATION = f"""\
realm = "{REALM}"

[[credential_lists]]
name = "phones"
credentials = [{{ username = "{USER}", password = "{PASSWORD}" }}]

[[domains]]
name = "{DOMAIN}"
credential_lists = ["phones"]
"""

TRACE = r'xlog("L_ALERT", "RECEIVED $proto $si\n$mb\nEND OF MESSAGE\n");'


class Program:
    """The program, until the end of the block. `listeners` are its options for SIP; the last one is of TLS."""

    def __init__(self, binary, directory, configuration, *listeners, host=Here, log="decisions"):
        self.directory, self.runs, self.last = directory, 0, listeners[-1]
        config, keys = directory / "edge.toml", directory / "keys"
        config.touch(mode=0o600)
        config.write_text(configuration)
        subprocess.run([binary, "keys", "new", keys], check=True, capture_output=True)
        self.certificate, key = directory / "certificate.pem", directory / "key.pem"
        address = self.last.rpartition(":")[0]
        subprocess.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={address} "
            f"-addext subjectAltName=IP:{address} -out {self.certificate} -keyout {key}".split(),
            check=True,
            capture_output=True,
        )
        self.command = [
            *(*host.prefix, binary, "serve", "--api", "off", "--config", config, "--forward-keys", keys),
            *("--tls-cert", self.certificate, "--tls-key", key, "--log", log),
            *listeners[:-1],
            *("--sips", self.last),
        ]

    def __enter__(self):
        self.runs += 1
        self.out = self.directory / f"edge-{self.runs}.out"
        self.process = start([str(part) for part in self.command], self.out)
        try:
            wait_for("the program", self.listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        end(self.process)

    def listens(self):
        text = self.out.read_text(errors="replace")
        if self.process.poll() is not None:
            raise Failed(f"the program ended:\n{text}")
        return re.search(rf"^listening for SIP .*{self.last}", text, re.M)

    def restart(self):
        self.__exit__()
        self.__enter__()


class Edge(Program):
    """The program, which forwards to Kamailio. It keeps its ports."""

    def __init__(self, binary, directory, pbx, *, inside=False):
        self.port = free_port()
        self.tls_port = free_port()
        listeners = ["--sip", f"{EDGE}:{self.port}"]
        if inside:
            listeners += ["--sip", f"{EDGE}:{free_port()},inside"]
        super().__init__(binary, directory, CONFIGURATION, *listeners, f"{EDGE}:{self.tls_port}")
        self.command += ["--on-accept", f"forward:{PBX}:{pbx}", "--hop-probe", "1"]

    def account(self, transport):
        """The account of a phone that calls through the edge, the address of the edge, and more lines for
        the configuration of the phone."""
        port = self.tls_port if transport == "tls" else self.port
        account = f"<sip:{USER}@{DOMAIN};transport={transport}>;auth_user={USER};auth_pass={PASSWORD}"
        account += f';regint=0;outbound="sip:{EDGE}:{port};transport={transport}"'
        return account, f"{EDGE}:{port}", f"sip_cafile {self.certificate}\n"


class Kamailio:
    """Kamailio with a recipe, until the end of the block. Its log has all requests."""

    # how it sees the edge
    edge = EDGE

    def __init__(self, directory):
        self.port = free_port(PBX)
        self.address = f"{PBX}:{self.port}"
        self.fill(
            directory,
            RECIPE,
            ("192.0.2.20:5060", self.address),
            ("tcp_source_ipv4=192.0.2.20", f"tcp_source_ipv4={PBX}"),
            ("192.0.2.10", EDGE),
            ("10.0.0.0/8", f"{INSIDE}/32"),
            ('"fr_inv_timer", 120000', f'"fr_inv_timer", {NO_ANSWER * 1000}'),
        )

    def fill(self, directory, recipe, *replacements, host=Here, trace=TRACE, memory=64):
        """Writes the configuration: the recipe with these texts replaced."""
        self.directory, self.out, self.host = directory, directory / "kamailio.out", host
        # of all processes, in MiB
        self.memory = memory
        text = recipe.read_text()
        for written, here in [
            *replacements,
            ("log_stderror=no", "log_stderror=yes"),
            ("request_route {\n", f"request_route {{\n    {trace}\n"),
            ('loadmodule "xlog.so"\n', 'loadmodule "xlog.so"\nmodparam("xlog", "buf_size", 16384)\n'),
        ]:
            if written not in text:
                raise Failed(f"{recipe}: there is no {written}")
            text = text.replace(written, here)
        self.config = directory / "kamailio.cfg"
        self.config.write_text(text)

    def __enter__(self):
        command = [*self.host.prefix, "kamailio", "-f", self.config, "-DD", "-E"]
        command += ["-m", self.memory, "-M", "8"]
        command += ["-P", self.directory / "kamailio.pid", "-Y", self.directory]
        self.process = start([str(part) for part in command], self.out)
        return self

    def __exit__(self, *_):
        end(self.process)

    def text(self):
        text = self.out.read_text(errors="replace")
        if self.process.poll() is not None:
            raise Failed(f"Kamailio ended:\n{text}")
        return text

    def received(self):
        """Transport, source address and text of the requests so far."""
        return re.findall(r"RECEIVED (\w+) (\S+)\n(.*?)\nEND OF MESSAGE", self.text(), re.S)

    def from_edge(self):
        """Transport and text of the requests from the edge so far, without its probes."""
        requests = [(transport, text) for transport, source, text in self.received() if source == self.edge]
        return [one for one in requests if not re.match(r"OPTIONS sip:[^@]* SIP/2.0", one[1])]

    def register(self, user, contact):
        """Registers a contact from the inside."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind((INSIDE, 0))
            phone.settimeout(0.5)
            own = "{}:{}".format(*phone.getsockname())
            lines = [
                f"REGISTER sip:{self.address} SIP/2.0",
                f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{user};rport",
                f"From: <sip:{user}@{PBX}>;tag=1",
                f"To: <sip:{user}@{PBX}>",
                f"Call-ID: {user}-{contact}",
                "CSeq: 1 REGISTER",
                f"Contact: <{contact}>",
                "Max-Forwards: 70",
                "Expires: 600",
                "Content-Length: 0",
            ]
            request = "\r\n".join([*lines, "", ""]).encode()

            def registered():
                self.text()
                phone.sendto(request, (PBX, self.port))
                try:
                    return phone.recv(65_535).startswith(b"SIP/2.0 200")
                except TimeoutError:
                    return False

            wait_for("the registrar", registered)
