//! The records of `--demo`: one account with a domain that checks the address and a domain that
//! checks a password. Each start generates a new password.

use std::net::SocketAddr;

use anstyle::Style;
use sha2::{Digest as _, Sha256};
use sip_authz::model::{
    Account, Commit, Credential, CredentialList, Dates, Domain, Ha1Set, IpAccessControlList,
    IpAddress, Mapping, MappingRecord, NameError, Password, Realm, Record, TokenHash, UserName,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
};

use crate::system::api_url::DEFAULT_API;
use crate::system::output::{ProgramError, say_styled};

const ACCOUNT: &str = "demo";
const BY_ADDRESS: &str = "by-address.example";
const BY_PASSWORD: &str = "by-password.example";
const ADDRESS_LIST: &str = "this-machine";
const ADDRESSES: [&str; 2] = ["127.0.0.1/32", "::1/128"];
const CREDENTIAL_LIST: &str = "staff";
/// The realm of the demo's list, and of lists that are created while it runs.
pub(crate) const REALM: &str = "sip-authz demo";
const USER: &str = "alice";

/// The 32 characters of a password, without those that look alike. Five random bits select one.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789L";

/// The secrets of the demo.
pub(crate) struct Demo {
    password: String,
    token: String,
}

impl Demo {
    pub(crate) fn new() -> Result<Self, ProgramError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| ProgramError::Runtime(error.to_string()))?;
        let (letters, token) = random.split_at(16);
        let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
        let password = letters.iter().filter_map(letter).collect();
        Ok(Self { password, token: hex::encode(token) })
    }

    /// The records of the demo.
    pub(crate) fn commit(&self) -> Result<Commit, ProgramError> {
        self.build().map_err(|error| ProgramError::Runtime(error.to_string()))
    }

    fn build(&self) -> Result<Commit, Box<dyn std::error::Error>> {
        let account = AccountSid::from_name(&[ACCOUNT]);
        let by_address = DomainSid::from_name(&[ACCOUNT, BY_ADDRESS]);
        let by_password = DomainSid::from_name(&[ACCOUNT, BY_PASSWORD]);
        let addresses = IpAccessControlListSid::from_name(&[ACCOUNT, ADDRESS_LIST]);
        let credentials = CredentialListSid::from_name(&[ACCOUNT, CREDENTIAL_LIST]);
        let (realm, user): (Realm, UserName) = (REALM.parse()?, USER.parse()?);
        let password = Password::new(self.password.clone());
        let ha1 = Ha1Set::from_password(&user, &realm, password)?;
        let credential = CredentialSid::from_name(&[ACCOUNT, CREDENTIAL_LIST, USER]);
        let dates = now();
        let domain = |sid, name: &str| -> Result<Record, NameError> {
            let friendly_name = name.to_owned();
            let new = Domain::new(sid, account, name.parse()?);
            Ok(Domain { friendly_name, dates, ..new }.into())
        };
        let mapping = |mapping| MappingRecord { dates, ..MappingRecord::from(mapping) };
        let mut commit = Commit::new();
        commit
            .put(
                Account {
                    friendly_name: ACCOUNT.to_owned(),
                    token: Some(TokenHash(Sha256::digest(&self.token).into())),
                    dates,
                    ..Account::new(account)
                }
                .into(),
            )
            .put(domain(by_address, BY_ADDRESS)?)
            .put(domain(by_password, BY_PASSWORD)?)
            .put(
                IpAccessControlList {
                    friendly_name: ADDRESS_LIST.to_owned(),
                    dates,
                    ..IpAccessControlList::new(addresses, account)
                }
                .into(),
            )
            .put(
                CredentialList {
                    friendly_name: CREDENTIAL_LIST.to_owned(),
                    dates,
                    ..CredentialList::new(credentials, account, realm)
                }
                .into(),
            )
            .put(Credential { dates, ..Credential::new(credential, credentials, user, ha1) }.into())
            .put(mapping(Mapping::IpAccessControlList(by_address.into(), addresses)).into())
            .put(mapping(Mapping::CredentialList(by_password.into(), credentials)).into());
        for address in ADDRESSES {
            let sid = IpAddressSid::from_name(&[ACCOUNT, ADDRESS_LIST, address]);
            let new = IpAddress::new(sid, addresses, address.parse()?);
            commit.put(IpAddress { friendly_name: address.to_owned(), dates, ..new }.into());
        }
        Ok(commit)
    }

    /// The command that sets the credentials of the demo's account, and the URL of an API that is not at the
    /// default address.
    fn environment(&self, api: SocketAddr) -> String {
        let (sid, api) = (AccountSid::from_name(&[ACCOUNT]), format!("http://{}", reachable(api)));
        let url = if api == DEFAULT_API { String::new() } else { format!(" SIP_AUTHZ_API={api}") };
        format!("export SIP_AUTHZ_ACCOUNT_SID={sid} SIP_AUTHZ_AUTH_TOKEN={}{url}", self.token)
    }

    /// Example commands for the API at `api`, as the demo's account.
    fn requests(&self, api: SocketAddr) -> [(&'static str, String); 3] {
        let (sid, token) = (AccountSid::from_name(&[ACCOUNT]), &self.token);
        let base = format!("http://{}", reachable(api));
        [
            (
                "its domains, with curl",
                format!("curl -u {sid}:{token} {base}/2010-04-01/Accounts/{sid}/SIP/Domains.json"),
            ),
            (
                "the same with the Python client (pip install twilio)",
                format!(
                    "python3 -c 'from twilio.rest import Client; c = Client(\"{sid}\", \
                     \"{token}\"); c.api.base_url = c.trunking.base_url = c.chat.base_url = \
                     \"{base}\"; print([d.domain_name for d in c.sip.domains.list()])'"
                ),
            ),
            (
                "the same with the Node client (npm install twilio)",
                format!(
                    "node -e 'const c = require(\"twilio\")(\"{sid}\", \"{token}\"); \
                     c.api.baseUrl = c.trunking.baseUrl = c.chat.baseUrl = \"{base}\"; \
                     c.sip.domains.list().then(all => console.log(all.map(d => d.domainName)))'"
                ),
            ),
        ]
    }

    /// Prints the demo's records and example commands.
    pub(crate) fn print(&self, local: SocketAddr, api: Option<SocketAddr>) {
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        say_styled("serving a demo; nothing is stored, and Ctrl-C ends it\n");
        let sid = AccountSid::from_name(&[ACCOUNT]);
        let account = match api {
            Some(_) => format!("{sid}, auth token {}", self.token),
            None => sid.to_string(),
        };
        let addresses = ADDRESSES.join(", ");
        let user = format!("{USER}, password {}", self.password);
        for (what, name, detail) in [
            ("account", ACCOUNT, account.as_str()),
            ("domain", BY_ADDRESS, "calls from an address in the list this-machine"),
            ("domain", BY_PASSWORD, "calls of a user in the list staff"),
            ("address list", ADDRESS_LIST, &addresses),
            ("credential list", CREDENTIAL_LIST, &user),
        ] {
            say_styled(format_args!("  {dim}{what:<16}{dim:#}{bold}{name:<20}{bold:#}  {detail}"));
        }
        let server = reachable(local);
        let sipsak = |file: &str, user: &str| {
            format!("sipsak -vv -f crates/acceptance/interop/{file}.sip -s sip:100@{server}{user}")
        };
        let with = |password: &str| format!(" --auth-username={USER} --password={password}");
        say_styled("\nto try, from the directory of the repository, in another terminal:\n");
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
                    "sipp {server} -sf crates/acceptance/interop/auth.xml -key domain {BY_PASSWORD} -s 100 \
                     -au {USER} -ap {} -m 10",
                    self.password
                ),
            ),
        ] {
            say_styled(format_args!("  {dim}# {what}{dim:#}\n  {command}\n"));
        }
        let Some(api) = api else { return };
        say_styled("ask why a call was refused, or change records by name, as this account:\n");
        say_styled(format_args!("  {}\n  sip-authz why\n", self.environment(api)));
        say_styled("read and change the records over HTTP; a change applies to the next call:\n");
        for (what, command) in self.requests(api) {
            say_styled(format_args!("  {dim}# {what}{dim:#}\n  {command}\n"));
        }
    }
}

fn now() -> Dates {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Dates { created: seconds, updated: seconds }
}

/// The address that reaches the server from this machine.
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
    fn the_demo_is_valid_and_has_new_secrets_each_time() {
        let (one, other) = (Demo::new().unwrap(), Demo::new().unwrap());
        assert_eq!(one.password.len(), 16);
        assert_ne!(one.password, other.password);
        assert_ne!(one.token, other.token);
        let snapshot = sip_authz::Snapshot::empty().apply(&one.commit().unwrap()).unwrap();
        assert!(snapshot.warnings().is_empty());
    }

    #[test]
    fn the_environment_names_the_api_unless_it_is_the_default() {
        let demo = Demo::new().unwrap();
        let text = |api: &str| demo.environment(api.parse().unwrap());
        let usual = text("127.0.0.1:8080");
        assert!(usual.ends_with(&format!(" SIP_AUTHZ_AUTH_TOKEN={}", demo.token)), "{usual}");
        assert_eq!(text("0.0.0.0:81"), format!("{usual} SIP_AUTHZ_API=http://127.0.0.1:81"));
    }
}
