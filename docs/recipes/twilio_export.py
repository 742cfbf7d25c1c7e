#!/usr/bin/env python3
"""Reads the SIP domains and trunks of a Twilio account, and writes a file for `sip-authz import`.

Usage: twilio_export.py --rename OLD=NEW --passwords USERS.csv > records.json

The environment has TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN. The script only sends GET requests. Twilio's API
never returns a password, so each user gets a new one: USERS.csv has them, and is readable for its owner alone.
Needs Python 3.9 or later, and no other package.
"""
import argparse
import base64
import csv
import json
import os
import secrets
import string
import sys
import urllib.request


class Api:
    """An API with pages, as Twilio's are."""

    def __init__(self, base, account, token):
        self.base = base.rstrip("/")
        self.auth = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()

    def all(self, path):
        """The records of all pages of a list."""
        url = f"{self.base}{path}{'&' if '?' in path else '?'}PageSize=50"
        while url:
            request = urllib.request.Request(url, headers={"Authorization": self.auth})
            with urllib.request.urlopen(request, timeout=30) as answer:
                page = json.load(answer)
            meta = page.get("meta")
            key = meta["key"] if meta else next(k for k, v in page.items() if isinstance(v, list))
            yield from page[key]
            following = meta["next_page_url"] if meta else page["next_page_uri"]
            url = following if not following or following.startswith("http") else self.base + following


def password():
    """A password that satisfies Twilio's rule and the rule here."""
    while True:
        made = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20))
        if any(c.isupper() for c in made) and any(c.islower() for c in made) and any(c.isdigit() for c in made):
            return made


def prefix(address):
    length = address["cidr_prefix_length"]
    return address["ip_address"] if length is None else f"{address['ip_address']}/{length}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rename", metavar="OLD=NEW", action="append", default=[],
                         help="replace this end of a domain name, such as .sip.twilio.com=.sip.example.net")
    options.add_argument("--passwords", metavar="FILE", required=True, help="new file for the users' new passwords")
    options.add_argument("--realm", default="sip-authz", help="realm of all credential lists (default: sip-authz)")
    options.add_argument("--api", default="https://api.twilio.com")
    options.add_argument("--trunking", default="https://trunking.twilio.com")
    options = options.parse_args()
    account, token = os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"]
    api, trunking = Api(options.api, account, token), Api(options.trunking, account, token)
    renamed = [rule.split("=", 1) for rule in options.rename]

    def own_name(name):
        for old, new in renamed:
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    sip = f"/2010-04-01/Accounts/{account}/SIP"
    out = {"format": "sip-authz/1", "accounts": [{"sid": account, "friendly_name": "from Twilio", "status": "active"}]}
    rows = {kind: out.setdefault(kind, []) for kind in (
        "ip_access_control_lists", "ip_addresses", "credential_lists", "credentials", "domains", "trunks", "mappings")}

    for each in api.all(f"{sip}/IpAccessControlLists.json"):
        rows["ip_access_control_lists"].append(
            {"sid": each["sid"], "account_sid": account, "friendly_name": each["friendly_name"]})
        for address in api.all(f"{sip}/IpAccessControlLists/{each['sid']}/IpAddresses.json"):
            rows["ip_addresses"].append({
                "sid": address["sid"], "ip_access_control_list_sid": each["sid"],
                "address": prefix(address), "friendly_name": address["friendly_name"]})
    users = []
    for each in api.all(f"{sip}/CredentialLists.json"):
        rows["credential_lists"].append({
            "sid": each["sid"], "account_sid": account, "realm": options.realm,
            "friendly_name": each["friendly_name"]})
        for user in api.all(f"{sip}/CredentialLists/{each['sid']}/Credentials.json"):
            users.append((each["friendly_name"], user["username"], password()))
            rows["credentials"].append({
                "sid": user["sid"], "credential_list_sid": each["sid"],
                "username": user["username"], "password": users[-1][2]})

    for each in api.all(f"{sip}/Domains.json"):
        rows["domains"].append({
            "sid": each["sid"], "account_sid": account, "domain_name": own_name(each["domain_name"]),
            "friendly_name": each["friendly_name"] or "", "secure": bool(each["secure"])})
        auth = f"{sip}/Domains/{each['sid']}/Auth"
        for kind in ("IpAccessControlListMappings", "CredentialListMappings"):
            for mapped in api.all(f"{auth}/Calls/{kind}.json"):
                rows["mappings"].append({"target_sid": each["sid"], "list_sid": mapped["sid"]})
        for mapped in api.all(f"{auth}/Registrations/CredentialListMappings.json"):
            rows["mappings"].append(
                {"target_sid": each["sid"], "list_sid": mapped["sid"], "purpose": "registrations"})
    for each in trunking.all("/v1/Trunks"):
        trunk = {"sid": each["sid"], "account_sid": account, "friendly_name": each["friendly_name"] or "",
                 "secure": bool(each["secure"])}
        if each["domain_name"]:
            trunk["domain_name"] = own_name(each["domain_name"])
        rows["trunks"].append(trunk)
        for kind in ("IpAccessControlLists", "CredentialLists"):
            for mapped in trunking.all(f"/v1/Trunks/{each['sid']}/{kind}"):
                rows["mappings"].append({"target_sid": each["sid"], "list_sid": mapped["sid"]})

    with os.fdopen(os.open(options.passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", newline="") as file:
        csv.writer(file).writerows([("credential list", "username", "password"), *users])
    json.dump(out, sys.stdout, indent=2)
    print()
    print(", ".join(f"{len(found)} {kind.replace('_', ' ')}" for kind, found in rows.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
