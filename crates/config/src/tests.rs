//! What a file may say. What is said of one that cannot be used stands in tests/program.rs, as the
//! program prints it.

use std::net::SocketAddr;
use std::time::Instant;

use sip_authz::digest::HashFunction;
use sip_authz::model::{Record, Write};
use sip_authz::{Authorizer, Decision, Invite, Transport};

use super::*;

const FULL: &str = r#"
realm = "example.com"

[[accounts]]
name = "acme"
sid = "AC00000000000000000000000000000001"
friendly_name = "Acme Ltd"

[[accounts]]
name = "closed"
status = "closed"

[[ip_access_control_lists]]
name = "office"
account = "acme"
addresses = [
  "192.0.2.0/24",
  "2001:db8::1",
  { address = "198.51.100.7", sid = "IP00000000000000000000000000000007", friendly_name = "gw" },
]

[[ip_access_control_lists]]
name = "office"
account = "closed"
addresses = [{ address = "0.0.0.0/0", allow_all = true }, { address = "::/0", allow_all = true }]

[[credential_lists]]
name = "staff"
account = "acme"
credentials = [
  { username = "alice", password = "correct horse" },
  { username = "bob", ha1 = { md5 = "939e7578ed9e3c518a452acee763bce9" }, disabled = true },
  { username = "carol", ha1 = { md5 = "939e7578ed9e3c518a452acee763bce9" } },
]

[[credential_lists]]
name = "others"
account = "acme"
realm = "other.example"

[[domains]]
name = "SIP.example.com."
account = "acme"
secure = false
ip_access_control_lists = ["office"]
credential_lists = ["staff"]
registrations = ["staff"]

[domains.policy]
algorithms = ["SHA-256", "md5"]
qop = "auth,auth-int"
allow_rfc2069 = true
uri_check = "same-user-and-host"
nonce_lifetime = 120
bind_source = false
wrong_answer = "challenge"
from_must_match = true
userhash = true
challenge = "server"
guesses = { source = { burst = 5, refill_ms = 1000 }, name = { burst = 50, refill_ms = 100 } }

[[domains]]
name = "closed.example.com"
account = "closed"
ip_access_control_lists = ["office"]

[[trunks]]
name = "carrier"
account = "acme"
domain_name = "carrier.example.com"
ip_access_control_lists = ["office"]
policy = { algorithms = "strongest-first" }

[[trunks]]
name = "unnamed"
account = "acme"
"#;

fn decide(config: Config, uri: &str, source: &str) -> Decision {
    let source = SocketAddr::new(source.parse().unwrap(), 5060);
    let authorizer = Authorizer::new(config.snapshot).unwrap();
    authorizer.authorize(&Invite::new(uri.to_owned(), source, Transport::Udp), Instant::now())
}

#[test]
fn a_file_with_everything_in_it() {
    let parse = || Config::parse(FULL, "edge.toml", &Around::default()).unwrap();
    let config = parse();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let warning = &config.warnings[0];
    let expected = "(sip.example.com) offers SHA-256, and 1 users of CL";
    assert!(warning.starts_with("edge.toml: SD") && warning.contains(expected), "{warning}");
    assert!(warning.ends_with("(staff) have no hash for it"), "{warning}");

    let Decision::Challenge(challenge) = decide(config, "sip:1@sip.example.com", "192.0.2.9")
    else {
        panic!("no challenge");
    };
    assert_eq!(challenge.status(), 401);
    let [sha256, md5] = &challenge.values[..] else { panic!("{:?}", challenge.values) };
    assert!(sha256.contains(r#"realm="example.com""#) && sha256.contains("SHA-256"), "{sha256}");
    assert!(sha256.ends_with(r#"qop="auth,auth-int", userhash=true"#), "{sha256}");
    assert!(md5.contains("algorithm=MD5,"), "{md5}");

    for (uri, source, status) in [
        ("sip:1@carrier.example.com", "198.51.100.7", 200),
        ("sip:1@carrier.example.com", "2001:db8::1", 200),
        ("sip:1@carrier.example.com", "198.51.100.8", 403),
        ("sip:1@closed.example.com", "198.51.100.8", 603),
        ("sip:1@unnamed", "192.0.2.1", 404),
    ] {
        assert_eq!(decide(parse(), uri, source).status(), status, "{uri} from {source}");
    }
}

#[test]
fn sids_are_those_of_the_names_and_the_same_each_time() {
    let minimal = "[[domains]]\nname = 'a.example'";
    let sids = |text: &str| {
        let mut sids: Vec<_> =
            Config::parse(text, "f", &Around::default()).unwrap().names.0.into_iter().collect();
        sids.sort();
        sids
    };
    assert_eq!(sids(minimal), sids(minimal));
    let [account, domain] = &sids(minimal)[..] else { panic!() };
    assert_eq!((account.1.as_str(), domain.1.as_str()), ("default", "a.example"));
    let names = Config::parse(FULL, "f", &Around::default()).unwrap().names;
    let text = "AC00000000000000000000000000000001, IP00000000000000000000000000000007.";
    assert_eq!(
        names.annotate(text),
        "AC00000000000000000000000000000001 (acme), IP00000000000000000000000000000007 (gw)."
    );
}

#[test]
fn an_empty_file_serves_nobody() {
    assert_eq!(
        decide(Config::parse("", "f", &Around::default()).unwrap(), "sip:a@b", "127.0.0.1")
            .status(),
        404
    );
}

#[test]
fn no_error_shows_a_secret() {
    for secret in [
        "password = 12345678",
        "password = hunter22",
        "password = 'hunter22",
        "password = [\"hunter22\"]",
        "password = 'hunter22', ha1 = {}",
        "ha1 = { md5 = 'hunter22' }",
        "ha1 = { md5 = 12345678 }",
        "ha1 = 'hunter22'",
        "ha1 = 12345678",
        "ha1 = ['hunter22']",
        "ha1 = { md4 = 'hunter22' }",
        "ha1 = { md5 = 'hunter22', md5 = 'hunter22' }",
        "password = 12345678.5",
    ] {
        let text = format!(
            "realm = 'r'\n[[credential_lists]]\nname = 'l'\ncredentials = [{{ username = 'u', {secret} }}]"
        );
        let error = Config::parse(&text, "f", &Around::default()).err().unwrap().to_string();
        assert!(!error.contains("hunter22") && !error.contains("12345678"), "{error}");
        assert!(error.starts_with("f:4: "), "{error}");
    }
}

#[test]
fn a_hash_of_each_function_is_read() {
    let config = |ha1: &str| {
        let text = format!(
            "realm = 'r'\n[[credential_lists]]\nname = 'l'\ncredentials = [{{ username = 'u', ha1 = {{ {ha1} }} }}]"
        );
        Config::parse(&text, "f", &Around::default())
    };
    let hash = |function: HashFunction| "ab".repeat(function.output_len());
    let written = |function: HashFunction| format!("{} = '{}'", function.key(), hash(function));
    let all = HashFunction::ALL.map(written).join(", ");
    for (ha1, functions) in HashFunction::ALL
        .map(|function| (written(function), vec![function]))
        .into_iter()
        .chain([(all, HashFunction::ALL.to_vec())])
    {
        let commit = config(&ha1).unwrap().commit;
        let user = commit.writes().iter().find_map(|write| match write {
            Write::Put(Record::Credential(user)) => Some(user),
            _ => None,
        });
        let read: Vec<_> =
            user.unwrap().ha1.iter().map(|(f, hash)| (f, hex::encode(hash))).collect();
        let expected: Vec<_> = functions.into_iter().map(|f| (f, hash(f))).collect();
        assert_eq!(read, expected, "{ha1}");
    }
    for function in HashFunction::ALL {
        let short = format!("{} = '{}'", function.key(), &hash(function)[2..]);
        let error = config(&short).err().unwrap().to_string();
        let place = format!("f:4: credential_lists[0].credentials[0].ha1.{}: ", function.key());
        let message = format!("an {function} hash is {} hexadecimal digits", function.hex_len());
        assert_eq!(error, place + &message);
    }
}
