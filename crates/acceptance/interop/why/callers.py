"""Calls that are refused on purpose, with sipp, baresip and sipsak.

sipp runs a scenario that is written here, so that it can send credentials that no phone sends.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from edge import Failed  # noqa: E402
from phones import baresip_files, run  # noqa: E402

# Seconds for a call.
PATIENCE = 40

HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="a refused call">
"""
REQUEST = """\
  <send retrans="500"><![CDATA[
      {method} {uri} SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
      From: <sip:caller@{host}>;tag=[pid]-[call_number]
      To: <{uri}>
      Call-ID: [call_id]
      CSeq: {number} {method}
      Contact: <sip:caller@[local_ip]:[local_port]>
      Max-Forwards: 70
      User-Agent: sipp
{credentials}      Content-Length: 0

  ]]></send>
"""
# the nonce of the challenge, for credentials that name it
ANSWER = """\
  <recv response="100" optional="true"/>
  <recv response="{status}"{auth}>{action}</recv>
"""
NONCE = """
    <action>
      <ereg regexp="nonce=.([A-Za-z0-9_-]+)" search_in="hdr" header="Proxy-Authenticate:"
        assign_to="whole,nonce"/>
    </action>
  """
ACK = """\
  <send><![CDATA[
      ACK {uri} SIP/2.0
      [last_Via:]
      [last_From:]
      [last_To:]
      Call-ID: [call_id]
      CSeq: {number} ACK
      Max-Forwards: 70
      Content-Length: 0

  ]]></send>
"""


@dataclass(frozen=True)
class Sent:
    """A request of sipp and the status of its answer. Credentials may name the last nonce, `[$nonce]`."""

    status: int
    credentials: str = ""
    method: str = "INVITE"
    uri: str = ""
    # milliseconds to wait before it
    wait: int = 0


def scenario(host, requests):
    """A scenario of sipp that sends these requests."""
    parts, names_nonce = [HEAD], any("[$nonce]" in one.credentials for one in requests)
    for number, one in enumerate(requests, 1):
        uri = one.uri or f"sip:100@{host}"
        line = f"      {one.credentials}\n" if one.credentials else ""
        if one.wait:
            parts.append(f'  <pause milliseconds="{one.wait}"/>\n')
        fields = {"method": one.method, "uri": uri, "host": host}
        parts.append(REQUEST.format(number=number, credentials=line, **fields))
        is_followed = one.status == 407 and number < len(requests)
        action = NONCE if is_followed and names_nonce else ""
        auth = ' auth="true"' if is_followed else ""
        parts.append(ANSWER.format(status=one.status, auth=auth, action=action))
        if one.method == "INVITE":
            parts.append(ACK.format(uri=uri, number=number))
    if names_nonce:
        parts.append('  <Reference variables="whole"/>\n')
    return "".join([*parts, "</scenario>\n"])


def sipp(host, requests, port, directory, *, user="alice", password="", source="127.0.0.1"):
    """Sends the requests with sipp. Returns the trace of its messages."""
    directory.mkdir(parents=True)
    file, messages = directory / "scenario.xml", directory / "messages"
    file.write_text(scenario(host, requests))
    command = ["sipp", f"127.0.0.1:{port}", "-sf", str(file), "-m", "1", "-au", user, "-ap", password]
    command += ["-i", source, "-bind_local", "-nostdin", "-timeout", f"{PATIENCE}s"]
    command += ["-timeout_error", "-trace_msg", "-message_file", str(messages)]
    command += ["-trace_err", "-error_file", str(directory / "errors")]
    code, out = run(command, directory, log=messages, seconds=PATIENCE + 2)
    if code != 0:
        raise Failed(f"sipp to {host} ended with {code}:\n{out}")
    return messages.read_text(errors="replace")


def baresip(host, port, directory, *, user="alice", auth_user="", password, number="100"):
    """Calls with baresip through the edge as its outbound proxy."""
    directory.mkdir(parents=True)
    account = f"<sip:{user}@{host};transport=udp>;regint=0"
    account += f';auth_user={auth_user or user};auth_pass={password};outbound="sip:127.0.0.1:{port}"'
    baresip_files(directory, account)
    command = ["baresip", "-4", "-s", "-f", str(directory), "-n", "127.0.0.1"]
    command += ["-e", f"/dial sip:{number}@{host}"]
    _, out = run(command, directory, r"session closed|Call established", seconds=PATIENCE)
    if "session closed" not in out:
        raise Failed(f"baresip to {host} was not refused:\n{out}")


SIPSAK = """\
{method} sip:100@{host} SIP/2.0
From: <sip:{user}@{host}>;tag=1
To: <sip:100@{host}>
Call-ID: {method}-{host}
CSeq: 1 {method}
Max-Forwards: 70
User-Agent: sipsak
Contact: <sip:{user}@127.0.0.1>
Content-Length: 0

"""


def sipsak(host, port, directory, *, method="INVITE", user="alice", password=""):
    """Sends a request from a file with sipsak, and answers a challenge if there is a password."""
    directory.mkdir(parents=True)
    message = directory / "request.sip"
    message.write_text(SIPSAK.format(method=method, host=host, user=user), newline="\r\n")
    command = ["sipsak", "-vvv", "-f", str(message), "-s", f"sip:100@127.0.0.1:{port}"]
    if password:
        command += [f"--auth-username={user}", f"--password={password}"]
    code, out = run(command, directory, seconds=PATIENCE)
    # sipsak ends with 1 for an answer of 4xx to 6xx, and with 2 if it cannot answer a challenge
    if code not in (1, 2) or not re.search(r"^SIP/2\.0 [4-6]\d\d ", out, re.M):
        raise Failed(f"sipsak to {host} ended with {code}:\n{out}")
