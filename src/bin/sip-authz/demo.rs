//! What `--demo` serves: one account with a domain that asks for the address and a domain that asks
//! for a password, both reachable from this machine alone. The password is made at each start.

use std::net::SocketAddr;

use anstyle::Style;
use sip_authz::model::{
    Account, Credential, CredentialList, Domain, Ha1Set, IpAccessControlList, IpAddress, Mapping,
    Password, Realm, UserName,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    Snapshot,
};

use crate::failure::{Failure, say};

const ACCOUNT: &str = "demo";
const BY_ADDRESS: &str = "by-address.example";
const BY_PASSWORD: &str = "by-password.example";
const ADDRESS_LIST: &str = "this-machine";
const ADDRESSES: [&str; 2] = ["127.0.0.1/32", "::1/128"];
const CREDENTIAL_LIST: &str = "staff";
const REALM: &str = "sip-authz demo";
const USER: &str = "alice";

/// Without letters and digits that look alike. 32 of them: five bits of a random byte choose one.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789L";

/// The demo's only secret.
pub(crate) struct Demo {
    password: String,
}

impl Demo {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Failure::Runtime(error.to_string()))?;
        let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
        Ok(Self { password: random.iter().filter_map(letter).collect() })
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        self.build().map_err(|error| Failure::Runtime(error.to_string()))
    }

    fn build(&self) -> Result<Snapshot, Box<dyn std::error::Error>> {
        let account = AccountSid::from_name(&[ACCOUNT]);
        let by_address = DomainSid::from_name(&[ACCOUNT, BY_ADDRESS]);
        let by_password = DomainSid::from_name(&[ACCOUNT, BY_PASSWORD]);
        let addresses = IpAccessControlListSid::from_name(&[ACCOUNT, ADDRESS_LIST]);
        let credentials = CredentialListSid::from_name(&[ACCOUNT, CREDENTIAL_LIST]);
        let (realm, user): (Realm, UserName) = (REALM.parse()?, USER.parse()?);
        let password = Password::new(self.password.clone());
        let ha1 = Ha1Set::from_password(&user, &realm, password)?;
        let credential = CredentialSid::from_name(&[ACCOUNT, CREDENTIAL_LIST, USER]);
        let mut builder = Snapshot::builder()
            .account(Account::new(account))
            .domain(Domain::new(by_address, account, BY_ADDRESS.parse()?))
            .domain(Domain::new(by_password, account, BY_PASSWORD.parse()?))
            .ip_access_control_list(IpAccessControlList::new(addresses, account))
            .credential_list(CredentialList::new(credentials, account, realm))
            .credential(Credential::new(credential, credentials, user, ha1))
            .mapping(Mapping::IpAccessControlList(by_address.into(), addresses))
            .mapping(Mapping::CredentialList(by_password.into(), credentials));
        for address in ADDRESSES {
            let sid = IpAddressSid::from_name(&[ACCOUNT, ADDRESS_LIST, address]);
            builder = builder.ip_address(IpAddress::new(sid, addresses, address.parse()?));
        }
        Ok(builder.build()?)
    }

    /// Tells what is served and what to try.
    pub(crate) fn print(&self, local: SocketAddr) {
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        say("serving a demo; nothing is stored, and Ctrl-C ends it\n");
        let addresses = ADDRESSES.join(", ");
        let user = format!("{USER}, password {}", self.password);
        for (what, name, detail) in [
            ("account", ACCOUNT, ""),
            ("domain", BY_ADDRESS, "calls from an address in the list this-machine"),
            ("domain", BY_PASSWORD, "calls of a user in the list staff"),
            ("address list", ADDRESS_LIST, &addresses),
            ("credential list", CREDENTIAL_LIST, &user),
        ] {
            say(format_args!("  {dim}{what:<16}{dim:#}{bold}{name:<20}{bold:#}  {detail}"));
        }
        let server = reachable(local);
        let sipsak = |file: &str, user: &str| {
            format!("sipsak -vv -f tests/interop/{file}.sip -s sip:100@{server}{user}")
        };
        let with = |password: &str| format!(" --auth-username={USER} --password={password}");
        say("\nto try, from the directory of the repository, in another terminal:\n");
        for (what, command) in [
            ("by address: 200", sipsak("by-address", "")),
            (
                "from an address that is not in the list: 403",
                sipsak("by-address", " --local-ip=127.0.0.2"),
            ),
            ("by password: 407, then 200", sipsak("by-password", &with(&self.password))),
            (
                "the same with a wrong password: 407, then 403",
                sipsak("by-password", &with("wrong")),
            ),
            (
                "ten calls by password, with sipp",
                format!(
                    "sipp {server} -sf tests/interop/auth.xml -key domain {BY_PASSWORD} -s 100 \
                     -au {USER} -ap {} -m 10",
                    self.password
                ),
            ),
        ] {
            say(format_args!("  {dim}# {what}{dim:#}\n  {command}\n"));
        }
    }
}

/// Where a client on this machine finds the server.
fn reachable(local: SocketAddr) -> SocketAddr {
    let mut server = local;
    match server {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            server.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            server.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        _ => {}
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_valid_and_its_password_is_new_each_time() {
        let (one, other) = (Demo::new().unwrap(), Demo::new().unwrap());
        assert_eq!(one.password.len(), 16);
        assert_ne!(one.password, other.password);
        assert!(one.snapshot().unwrap().warnings().is_empty());
    }
}
