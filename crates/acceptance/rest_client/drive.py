"""Uses every resource with the official Python client, unmodified except for its base URL.

    python3 -m venv VENV && VENV/bin/pip install -r crates/acceptance/rest_client/requirements.txt
    cargo build -p sip-authz-rest --example rest_server
    VENV/bin/python crates/acceptance/rest_client/drive.py target/debug/examples/rest_server

Starts the server twice, at the root and under a prefix, and prints how many calls of each kind
were made. Exits with 1 at the first answer that differs from the reference.
"""

import collections
import datetime
import os
import subprocess
import sys

for name in ("TWILIO_REGION", "TWILIO_EDGE"):
    os.environ.pop(name, None)

from twilio.base.exceptions import TwilioException, TwilioRestException  # noqa: E402
from twilio.rest import Client  # noqa: E402

ADMIN_TOKEN = "the-admin-token-of-this-test"
PASSWORD = "Correct-Horse-7"
UNKNOWN = "0123456789abcdef" * 2
COUNTS = collections.Counter()
OPERATIONS = ("create", "fetch", "list", "update", "delete", "errors")


class Failed(Exception):
    """An answer differs from the reference."""


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, not {wanted!r}")


def connect(base, sid, token):
    client = Client(sid, token)
    client.api.base_url = client.trunking.base_url = client.chat.base_url = base
    client.accounts.base_url = base
    return client


def refused(resource, status, code, call, /, *args, **kwargs):
    """Expects this status and code for the call."""
    COUNTS[resource, "errors"] += 1
    try:
        got = call(*args, **kwargs)
    except TwilioRestException as error:
        expect(f"{resource} {error.method} {error.uri} {error.msg}", (error.status, error.code),
               (status, code))
    except TwilioException as error:
        # the client returns the response of a rejected page unread
        response = error.args[1]
        expect(f"{resource} page", response.status_code, status)
        if f'"code":{code},' not in response.text:
            raise Failed(f"{resource}: {response.text} has no code {code}") from error
    else:
        raise Failed(f"{resource}: expected {status} {code}, got {got!r}")


def dated(instance):
    for name in ("date_created", "date_updated"):
        if not isinstance(getattr(instance, name), datetime.datetime):
            raise Failed(f"{instance!r}: {name} is {getattr(instance, name)!r}")
    return instance


def drive(resource, listing, make, changes=None, others=2):
    """Creates, fetches, lists over several pages, updates and deletes. Leaves one and returns it.

    `make(n)` creates the nth; `changes` are the arguments of update and the values expected after it.
    """
    before = [row.sid for row in listing.list()]
    made = [dated(make(n)) for n in range(others + 1)]
    sids = [instance.sid for instance in made]
    COUNTS[resource, "create"] += len(made)

    for instance in made:
        fetched = dated(listing(instance.sid).fetch())
        expect(f"{resource} fetched", fetched.sid, instance.sid)
        expect(f"{resource} account", fetched.account_sid, instance.account_sid)
        COUNTS[resource, "fetch"] += 1

    for size in (1, 2, 1000 if resource != "role" else 100):
        expect(f"{resource} in pages of {size}",
               [row.sid for row in listing.list(page_size=size)], before + sids)
        COUNTS[resource, "list"] += 1
    page, seen = listing.page(page_size=1), []
    while page is not None:
        seen += [row.sid for row in page]
        page, last = page.next_page(), page
    expect(f"{resource} by next_page", seen, before + sids)
    expect(f"{resource} back", [row.sid for row in last.previous_page()], (before + sids)[-2:-1])
    refused(resource, 400, 20001, listing.page, page_size=0)
    refused(resource, 400, 20007, listing.page, page_size=1001 if resource != "role" else 101)
    refused(resource, 400, 21481, listing.page, page_token="PAaltered")

    for arguments, wanted in changes or []:
        updated = dated(listing(sids[0]).update(**arguments))
        for name, value in wanted.items():
            expect(f"{resource} {name} as answered", getattr(updated, name), value)
            expect(f"{resource} {name}", getattr(listing(sids[0]).fetch(), name), value)
        COUNTS[resource, "update"] += 1

    kind = sids[0][:2]
    refused(resource, 404, 20404, listing(kind + UNKNOWN).fetch)
    refused(resource, 404, 20404, listing(kind + "xyz").fetch)
    refused(resource, 404, 20404, listing("XX" + UNKNOWN).delete)
    for sid in sids[1:]:
        deleted = listing(sid).delete_with_http_info()
        expect(f"{resource} deleted", (deleted.data, deleted.status_code), (True, 204))
        COUNTS[resource, "delete"] += 1
        refused(resource, 404, 20404, listing(sid).fetch)
        refused(resource, 404, 20404, listing(sid).delete)
    expect(f"{resource} left", [row.sid for row in listing.list()], before + sids[:1])
    return listing(sids[0]).fetch()


def credential_lists(sip):
    lists = drive("credential list", sip.credential_lists,
                  lambda n: sip.credential_lists.create(friendly_name=f"list {n}"),
                  [({"friendly_name": "phones"}, {"friendly_name": "phones"})])
    refused("credential list", 400, 21240, sip.credential_lists.create, friendly_name="phones")
    refused("credential list", 400, 21240, sip.credential_lists.create, friendly_name="")
    refused("credential list", 400, 21240, sip.credential_lists.create, friendly_name="x" * 65)

    users = sip.credential_lists(lists.sid).credentials
    one = drive("credential", users,
                lambda n: users.create(username=f"user{n}", password=PASSWORD),
                [({"password": "Another-Horse-8"}, {"username": "user0"})])
    expect("credential list of credential", one.credential_list_sid, lists.sid)
    for username, password in (
        ("user0", PASSWORD), ("a:b", PASSWORD), ('a"b', PASSWORD), ("x" * 33, PASSWORD),
        ("", PASSWORD), ("user9", ""), ("user9", "Short-7"), ("user9", "correct-horse-7"),
        ("user9", "CORRECT-HORSE-7"), ("user9", "Correct-Horse-X"),
    ):
        refused("credential", 400, 21243, users.create, username=username, password=password)
    refused("credential", 400, 21243, users(one.sid).update, password="weak")
    other = sip.credential_lists("CL" + UNKNOWN).credentials
    refused("credential", 404, 20404, other.list)
    refused("credential", 404, 20404, other.create, username="user9", password=PASSWORD)
    return lists


def access_lists(sip):
    lists = drive("access list", sip.ip_access_control_lists,
                  lambda n: sip.ip_access_control_lists.create(friendly_name=f"list {n}"),
                  [({"friendly_name": "carriers"}, {"friendly_name": "carriers"})])
    refused("access list", 400, 21235, sip.ip_access_control_lists.create, friendly_name="")
    refused("access list", 400, 21235, sip.ip_access_control_lists.create, friendly_name="x" * 256)

    addresses = sip.ip_access_control_lists(lists.sid).ip_addresses
    one = drive("address", addresses,
                lambda n: addresses.create(friendly_name=f"n{n}", ip_address=f"192.0.2.{n}"),
                [({"friendly_name": "m"}, {"friendly_name": "m", "cidr_prefix_length": 32}),
                 ({"ip_address": "198.51.100.0", "cidr_prefix_length": 24},
                  {"ip_address": "198.51.100.0", "cidr_prefix_length": 24}),
                 ({"ip_address": "2001:db8::1"}, {"ip_address": "2001:db8::1",
                                                  "cidr_prefix_length": 128})])
    expect("access list of address", one.ip_access_control_list_sid, lists.sid)
    for address, length in (("192.0.2.1", 24), ("0.0.0.0", 0), ("192.0.2", 32), ("192.0.2.1", 33),
                            ("192.0.2.1", "x"), ("host", 32), ("192.0.2.0/24", 24)):
        refused("address", 400, 21238, addresses.create, friendly_name="n", ip_address=address,
                cidr_prefix_length=length)
    refused("address", 400, 21238, addresses(one.sid).update, ip_address="192.0.2.1",
            cidr_prefix_length=8)
    return lists


def mapping(resource, listing, key, lists, spare):
    """Maps and unmaps one of two lists; `key` is the parameter that names it."""
    make = lambda n: listing.create(**{key: (lists, spare)[n].sid})  # noqa: E731
    made = drive(resource, listing, make, others=1)
    expect(f"{resource} is the list's", (made.sid, made.friendly_name),
           (lists.sid, lists.friendly_name))
    refused(resource, 404, 20404, listing.create, **{key: lists.sid[:2] + UNKNOWN})


def domains(sip, users, addresses):
    spare_users = sip.credential_lists.create(friendly_name="spare")
    spare_addresses = sip.ip_access_control_lists.create(friendly_name="spare")
    url = "https://voice.example.com/answer?a=b&c=d e".replace(" ", "%20")
    changes = [
        ({"friendly_name": "Größe", "voice_url": url, "voice_method": "GET"},
         {"friendly_name": "Größe", "voice_url": url, "voice_method": "GET"}),
        ({"voice_url": "", "secure": True, "sip_registration": True,
          "emergency_calling_enabled": True},
         {"voice_url": None, "secure": True, "sip_registration": True,
          "emergency_calling_enabled": True}),
        ({"byoc_trunk_sid": "BY" + UNKNOWN, "emergency_caller_sid": "PN" + UNKNOWN},
         {"byoc_trunk_sid": "BY" + UNKNOWN, "emergency_caller_sid": "PN" + UNKNOWN}),
        ({"domain_name": "Other.Example.com", "byoc_trunk_sid": ""},
         {"domain_name": "other.example.com", "byoc_trunk_sid": None}),
        ({"voice_fallback_url": url, "voice_fallback_method": "POST",
          "voice_status_callback_url": url, "voice_status_callback_method": "GET"},
         {"voice_fallback_url": url, "voice_fallback_method": "POST",
          "voice_status_callback_url": url, "voice_status_callback_method": "GET"}),
    ]
    domain = drive("domain", sip.domains,
                   lambda n: sip.domains.create(domain_name=f"d{n}.example.com"), changes)
    expect("domain auth_type", domain.auth_type, "")
    refused("domain", 400, 21232, sip.domains.create, domain_name="other.example.com")
    refused("domain", 400, 21232, sip.domains.create, domain_name="not a name")
    refused("domain", 400, 21231, sip.domains.create, domain_name="")
    for wrong in ({"voice_method": "PUT"}, {"voice_url": "ftp://x"}, {"friendly_name": "x" * 65},
                  {"byoc_trunk_sid": "BYx"}, {"secure": "yes"}):
        refused("domain", 400, 21231, sip.domains(domain.sid).update, **wrong)

    here = sip.domains(domain.sid)
    calls, registrations = here.auth.calls, here.auth.registrations
    mapping("calls, credentials", calls.credential_list_mappings, "credential_list_sid",
            users, spare_users)
    mapping("calls, addresses", calls.ip_access_control_list_mappings,
            "ip_access_control_list_sid", addresses, spare_addresses)
    mapping("registrations", registrations.credential_list_mappings, "credential_list_sid",
            users, spare_users)
    expect("auth_type", here.fetch().auth_type, "CREDENTIAL_LIST,IP_ACL")
    refused("calls, credentials", 400, 21231, calls.credential_list_mappings.create,
            credential_list_sid=users.sid)
    refused("calls, addresses", 400, 21231, calls.ip_access_control_list_mappings.create,
            ip_access_control_list_sid="ALx")
    refused("registrations", 400, 21231, registrations.credential_list_mappings.create,
            credential_list_sid="")
    refused("credential list", 400, 21241, sip.credential_lists(users.sid).delete)
    refused("access list", 400, 21236, sip.ip_access_control_lists(addresses.sid).delete)

    # the older form shows the same mappings
    expect("older form", [row.sid for row in here.credential_list_mappings.list()], [users.sid])
    expect("older form", here.credential_list_mappings(users.sid).fetch().domain_sid, domain.sid)
    expect("older form deletes", here.credential_list_mappings(users.sid).delete(), True)
    expect("newer form is empty", calls.credential_list_mappings.list(), [])
    expect("registrations stay", len(registrations.credential_list_mappings.list()), 1)
    expect("auth_type", here.fetch().auth_type, "IP_ACL")
    expect("older form deletes", here.ip_access_control_list_mappings(addresses.sid).delete(), True)
    mapping("older, credentials", here.credential_list_mappings, "credential_list_sid",
            users, spare_users)
    mapping("older, addresses", here.ip_access_control_list_mappings,
            "ip_access_control_list_sid", addresses, spare_addresses)
    refused("older, credentials", 400, 21231, here.credential_list_mappings.create,
            credential_list_sid=users.sid)
    refused("older, addresses", 404, 20404,
            sip.domains("SD" + UNKNOWN).ip_access_control_list_mappings.list)

    for other in (spare_users, spare_addresses):
        expect("spare list deleted", other.delete(), True)
    return domain


def trunks(client, domain, users, addresses):
    trunking = client.trunking.v1
    spare_users = client.api.account.sip.credential_lists.create(friendly_name="spare")
    spare_addresses = client.api.account.sip.ip_access_control_lists.create(friendly_name="spare")
    url = "https://recovery.example.com/"
    changes = [
        ({"friendly_name": "t", "domain_name": "t.example.com"},
         {"friendly_name": "t", "domain_name": "t.example.com"}),
        ({"disaster_recovery_url": url, "disaster_recovery_method": "GET", "secure": True,
          "cnam_lookup_enabled": True},
         {"disaster_recovery_url": url, "disaster_recovery_method": "GET", "secure": True,
          "cnam_lookup_enabled": True}),
        ({"transfer_mode": "sip-only", "transfer_caller_id": "from-transferor"},
         {"transfer_mode": "sip-only", "transfer_caller_id": "from-transferor"}),
        ({"domain_name": ""}, {"domain_name": None}),
    ]
    trunk = drive("trunk", trunking.trunks,
                  lambda n: trunking.trunks.create(friendly_name=f"trunk {n}"), changes)
    expect("trunk", (trunk.domain_name, trunk.auth_type, trunk.auth_type_set, trunk.transfer_mode),
           (None, "", [], "sip-only"))
    refused("trunk", 400, 21248, trunking.trunks.create, domain_name=domain.domain_name)
    refused("trunk", 400, 21245, trunking.trunks.create, domain_name="not a name")
    refused("trunk", 400, 21245, trunking.trunks(trunk.sid).update, transfer_mode="some")
    refused("trunk", 400, 21245, trunking.trunks(trunk.sid).update, friendly_name="x" * 65)

    here = trunking.trunks(trunk.sid)
    mapping("trunk credentials", here.credentials_lists, "credential_list_sid", users, spare_users)
    mapping("trunk addresses", here.ip_access_control_lists, "ip_access_control_list_sid",
            addresses, spare_addresses)
    refused("trunk credentials", 400, 21245, here.credentials_lists.create,
            credential_list_sid=users.sid)
    refused("trunk addresses", 400, 21245, here.ip_access_control_lists.create,
            ip_access_control_list_sid="ALx")
    expect("trunk auth_type_set", here.fetch().auth_type_set, ["CREDENTIAL_LIST", "IP_ACL"])
    refused("trunk", 404, 20404, here.phone_numbers.list)
    for other in (spare_users, spare_addresses):
        expect("spare list deleted", other.delete(), True)


def roles(client):
    listing = client.chat.v2.services("IS" + UNKNOWN).roles
    role = drive("role", listing,
                 lambda n: listing.create(friendly_name=f"r{n}", type="channel",
                                          permission=["sendMessage", "addMember"]),
                 [({"permission": ["leaveChannel"]}, {"permissions": ["leaveChannel"]})])
    expect("role", (role.type, role.permissions, role.service_sid),
           ("channel", ["leaveChannel"], "IS" + UNKNOWN))
    create = {"friendly_name": "r", "type": "channel", "permission": ["addMember"]}
    refused("role", 400, 50105, listing.create, **{**create, "type": "other"})
    refused("role", 400, 50104, listing.create, **{**create, "permission": ["createChannel"]})
    refused("role", 400, 50104, listing(role.sid).update, permission=["addMember", "fly"])
    refused("role", 400, 20001, listing.create, **{**create, "friendly_name": ""})
    refused("role", 400, 20001, listing.create, **{**create, "friendly_name": "x" * 65})
    refused("role", 400, 20001, listing.create, **{**create, "permission": []})
    refused("role", 404, 20404, client.chat.v2.services("IS" + "f" * 32).roles(role.sid).fetch)


def isolation(client, stranger, owned):
    """Another account cannot see this account's resources, and wrong credentials cannot see any."""
    sip = stranger.api.account.sip
    for resource, there in (
        ("domain", sip.domains(owned["SD"])), ("access list", sip.ip_access_control_lists(owned["AL"])),
        ("credential list", sip.credential_lists(owned["CL"])),
        ("trunk", stranger.trunking.v1.trunks(owned["TK"])),
    ):
        refused(resource, 404, 20404, there.fetch)
        refused(resource, 404, 20404, there.delete)
    mine = sip.domains.create(domain_name="stranger.example.com")
    refused("calls, credentials", 404, 20404,
            sip.domains(mine.sid).auth.calls.credential_list_mappings.create,
            credential_list_sid=owned["CL"])
    expect("stranger's domains", [row.sid for row in sip.domains.list()], [mine.sid])
    for other in (client.api.accounts(stranger.account_sid), stranger.api.accounts(client.account_sid)):
        refused("account", 404, 20404, other.fetch)
        refused("account", 404, 20404, other.sip.domains.create, domain_name="x.example.com")

    base = client.api.base_url
    for wrong in (connect(base, client.account_sid, "0" * 32), connect(base, "AC" + UNKNOWN, "x"),
                  connect(base, "nobody", "x"), connect(base, "admin", "x")):
        refused("account", 401, 20003, wrong.trunking.v1.trunks.list)
        refused("account", 401, 20003, wrong.chat.v2.services("IS" + UNKNOWN).roles.list)
        refused("account", 401, 20003, wrong.api.accounts(client.account_sid).sip.domains.list)


def accounts(client, base):
    admin = connect(base, "admin", ADMIN_TOKEN)
    new = admin.api.accounts.create(friendly_name="stranger")
    COUNTS["account", "create"] += 1
    expect("account", (new.friendly_name, new.status, len(new.auth_token)),
           ("stranger", "active", 32))
    expect("account", dated(admin.api.accounts(new.sid).fetch()).auth_token, None)
    expect("account of itself", client.api.accounts(client.account_sid).fetch().status, "active")
    COUNTS["account", "fetch"] += 2
    expect("accounts", [row.sid for row in admin.api.accounts.list(page_size=1)],
           [client.account_sid, new.sid])
    COUNTS["account", "list"] += 1
    refused("account", 403, 20003, client.api.accounts.list)
    refused("account", 403, 20003, client.api.accounts.create, friendly_name="sub")
    refused("account", 403, 20003, client.api.accounts(client.account_sid).update, status="closed")
    refused("account", 403, 20003, admin.trunking.v1.trunks.list)

    stranger = connect(base, new.sid, new.auth_token)
    for status in ("suspended", "active"):
        changed = admin.api.accounts(new.sid).update(status=status)
        COUNTS["account", "update"] += 1
        expect("account", changed.status, status)
        if status == "suspended":
            refused("account", 401, 20003, stranger.trunking.v1.trunks.list)
    refused("account", 400, 20001, admin.api.accounts(new.sid).update, status="asleep")
    refused("account", 404, 20404, admin.api.accounts("AC" + UNKNOWN).fetch)
    expect("the admin acts for an account", admin.api.accounts(new.sid).sip.domains.list(), [])
    return stranger


def tokens(base, sid, token):
    """A client takes up its secondary auth token before the first one stops working."""
    def of(token):
        client = connect(base, sid, token)
        return client.accounts.v1, client.api.accounts(sid)

    (v1, account), resource = of(token), "auth token"
    refused(resource, 404, 20404, v1.auth_token_promotion().update)
    refused(resource, 404, 20404, v1.secondary_auth_token().delete)
    first = v1.secondary_auth_token().create()
    expect("secondary token", (first.account_sid, len(first.secondary_auth_token)), (sid, 32))
    refused(resource, 400, 20001, v1.secondary_auth_token().create)
    expect("both tokens", [one.fetch().sid for one in (account, of(first.secondary_auth_token)[1])],
           [sid, sid])
    expect("secondary token deleted", v1.secondary_auth_token().delete(), True)
    refused(resource, 401, 20003, of(first.secondary_auth_token)[1].fetch)
    second = v1.secondary_auth_token().create().secondary_auth_token
    promoted = of(second)[0].auth_token_promotion().update()
    expect("promotion", (promoted.account_sid, promoted.auth_token), (sid, None))
    refused(resource, 401, 20003, account.fetch)
    expect("the new token", of(second)[1].fetch().sid, sid)
    for operation, count in (("create", 2), ("update", 1), ("delete", 1)):
        COUNTS[resource, operation] += count


def paging(sip):
    """A listing over several pages stays correct while rows are created and deleted."""
    lists = sip.credential_lists.create(friendly_name="many")
    users = sip.credential_lists(lists.sid).credentials
    sids = [users.create(username=f"many{n}", password=PASSWORD).sid for n in range(25)]
    page = users.page(page_size=10)
    first = [row.sid for row in page]
    expect("the first page", first, sids[:10])
    for gone in (sids[9], sids[0], sids[12]):
        users(gone).delete()
    late = users.create(username="late", password=PASSWORD).sid
    page = page.next_page()
    expect("the second page", [row.sid for row in page], sids[10:12] + sids[13:21])
    last = page.next_page()
    expect("the third page", [row.sid for row in last], sids[21:] + [late])
    expect("no fourth page", last.next_page(), None)
    expect("back", [row.sid for row in last.previous_page()], sids[10:12] + sids[13:21])
    expect("further back", [row.sid for row in last.previous_page().previous_page()], sids[1:9])
    expect("all", len(users.list(page_size=7)), 23)
    COUNTS["credential", "list"] += 1
    expect("the list and its users deleted", lists.delete(), True)


def extensions(client, users, domain):
    """Requests for which the official client has no method."""
    account = f"{client.api.base_url}/2010-04-01/Accounts/{client.account_sid}"
    policy = f"{account}/SIP/Domains/{domain.sid}/Policy.json"
    expect("policy", client.request("GET", policy).status_code, 200)
    COUNTS["policy", "fetch"] += 1
    answer = client.request("POST", policy, data={"Algorithms": "strongest-first"})
    if '"algorithms":["SHA-512-256","SHA-256","MD5"]' not in answer.text:
        raise Failed(answer.text)
    COUNTS["policy", "update"] += 1
    answer = client.request("POST", policy, data={"NonceLifetime": 0})
    expect("policy", answer.status_code, 400)
    COUNTS["policy", "errors"] += 1
    role = client.chat.v2.services("IS" + UNKNOWN).roles.create(
        friendly_name="carried", type="deployment", permission=["createChannel"])
    url = f"{account}/SIP/CredentialLists/{users.sid}/Credentials.json"
    data = {"Username": "carrier", "Password": PASSWORD, "RoleSid": role.sid, "Disabled": True}
    answer = client.request("POST", url, data=data)
    for part in (f'"role_sid":"{role.sid}"', '"disabled":true'):
        if answer.status_code != 201 or part not in answer.text:
            raise Failed(answer.text)
    COUNTS["credential", "create"] += 1
    refused("role", 400, 20001, role.delete)


def run(server, prefix):
    environment = {**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": ADMIN_TOKEN}
    arguments = [server, prefix] if prefix else [server]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            base, sid, token = (process.stdout.readline().strip() for _ in range(3))
            client = connect(base, sid, token)
            sip = client.api.account.sip
            users, addresses = credential_lists(sip), access_lists(sip)
            domain = domains(sip, users, addresses)
            trunks(client, domain, users, addresses)
            roles(client)
            paging(sip)
            extensions(client, users, domain)
            stranger = accounts(client, base)
            trunk = client.trunking.v1.trunks.list()[0]
            isolation(client, stranger, {"SD": domain.sid, "AL": addresses.sid, "CL": users.sid,
                                         "TK": trunk.sid})
            expect("domain deleted with its mappings", sip.domains(domain.sid).delete(), True)
            expect("trunk deleted with its lists", trunk.delete(), True)
            expect("list deleted", users.delete() and addresses.delete(), True)
            tokens(base, sid, token)
        finally:
            process.kill()


def main():
    for prefix in ("", "/sip/api"):
        run(sys.argv[1], prefix)
    rows = sorted({resource for resource, _ in COUNTS})
    print(f"{'':20}" + "".join(f"{operation:>8}" for operation in OPERATIONS))
    for row in rows:
        print(f"{row:20}" + "".join(f"{COUNTS[row, operation]:8}" for operation in OPERATIONS))
    print(f"{sum(COUNTS.values())} calls, all as in the reference")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
