//! Valid files, and files on disk. tests/errors.rs tests invalid files.

use std::net::SocketAddr;
use std::time::Instant;

use sip_authz::model::{Dates, FromCheck, Record, Write};
use sip_authz::{AccountSid, Authorizer, Decision, Invite, Transport};

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
    let full = || parse(FULL, &Options::new().file("edge.toml")).unwrap();
    let config = full();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let is_about_use =
        |text: &&String| text.contains(" has no ") || text.contains(" mapped to no ");
    let (useless, others): (Vec<&String>, Vec<&String>) = warnings.iter().partition(is_about_use);
    let useless: Vec<_> = useless.iter().map(|text| text.split(": ").last().unwrap()).collect();
    assert_eq!(
        useless,
        [
            "credential list `others` has no credentials, so it admits no caller",
            "credential list `others` is mapped to no domain and no trunk, so it has no effect",
            "trunk `unnamed` has no `domain_name`, so no call reaches it",
        ]
    );
    let [warning, first, other] = &others[..] else { panic!("{others:?}") };
    for (warning, place, text) in [
        (
            first,
            "edge.toml:49:1: domains[0].policy: SD",
            "(sip.example.com) offers several algorithms, SHA-256 first",
        ),
        (
            other,
            "edge.toml:72:10: trunks[0].policy: TK",
            "(carrier) offers several algorithms, SHA-512-256 first",
        ),
    ] {
        assert!(warning.starts_with(place) && warning.contains(text), "{warning}");
        assert!(
            warning.ends_with(": many phones fail at such a challenge (see docs/clients.md)"),
            "{warning}"
        );
    }
    let expected = "(sip.example.com) offers SHA-256, and 1 users of CL";
    let place = "edge.toml:46:21: domains[0].credential_lists[0]: SD";
    assert!(warning.starts_with(place) && warning.contains(expected), "{warning}");
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
        assert_eq!(decide(full(), uri, source).status(), status, "{uri} from {source}");
    }
}

#[test]
fn from_must_match_has_three_values() {
    for (value, check) in [
        ("false", FromCheck::Off),
        ("true", FromCheck::User),
        ("'or-anonymous'", FromCheck::UserOrAnonymous),
    ] {
        let text =
            format!("[[domains]]\nname = 'a.example'\npolicy = {{ from_must_match = {value} }}\n");
        let config = parse(&text, &Options::new()).unwrap();
        let checks: Vec<_> = config
            .commit
            .writes()
            .iter()
            .filter_map(|write| match write {
                Write::Put(Record::Policy(record)) => Some(record.policy.from_must_match),
                _ => None,
            })
            .collect();
        assert_eq!(checks, [check], "{value}");
    }
}

#[test]
fn methods_replace_the_default_ones() {
    for (value, methods) in [
        ("", "INVITE, OPTIONS"),
        ("methods = ['OPTIONS', 'INVITE']", "INVITE, OPTIONS"),
        ("methods = ['MESSAGE']", "MESSAGE"),
        ("methods = ['INVITE', 'subscribe', 'SUBSCRIBE']", "INVITE, SUBSCRIBE, subscribe"),
    ] {
        let text = format!("[[domains]]\nname = 'a.example'\npolicy = {{ {value} }}\n");
        let config = parse(&text, &Options::new()).unwrap();
        let found: Vec<_> = config
            .commit
            .writes()
            .iter()
            .filter_map(|write| match write {
                Write::Put(Record::Policy(record)) => Some(record.policy.methods.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(found, [methods], "{value}");
    }
}

#[test]
fn register_as_has_templates_and_registrations_switch_the_domain_on() {
    for (value, expected) in [
        ("", "{user}"),
        ("register_as = ['{user}']", "{user}"),
        ("register_as = ['+4930123{user}', '{user}']", "+4930123{user},{user}"),
    ] {
        let text = format!("[[domains]]\nname = 'a.example'\npolicy = {{ {value} }}\n");
        let config = parse(&text, &Options::new()).unwrap();
        let found = config.commit.writes().iter().find_map(|write| match write {
            Write::Put(Record::Policy(record)) => Some(record.policy.register_as.to_string()),
            _ => None,
        });
        assert_eq!(found.as_deref(), Some(expected), "{value}");
    }
    for (registrations, expected) in [("", false), ("registrations = ['phones']", true)] {
        let text = format!(
            "[[credential_lists]]\nname = 'phones'\nrealm = 'r'\n\
             [[domains]]\nname = 'a.example'\n{registrations}\n"
        );
        let config = parse(&text, &Options::new()).unwrap();
        let found = config.commit.writes().iter().find_map(|write| match write {
            Write::Put(Record::Domain(domain)) => Some(domain.settings.sip_registration),
            _ => None,
        });
        assert_eq!(found, Some(expected), "{registrations}");
    }
}

#[test]
fn a_repeated_address_is_a_warning_that_names_both_lines() {
    let text = "[[ip_access_control_lists]]
name = 'l'
addresses = [
  '10.0.0.0/255.0.0.0',
  { address = '192.0.2.1' }, '2001:db8::/32',
  { address = '10.0.0.0/8', friendly_name = 'again' },
  '::ffff:10.0.0.0/104', { address = '192.0.2.1/32', sid = 'IP00000000000000000000000000000001' },
]
[[ip_access_control_lists]]
name = 'other'
addresses = ['10.0.0.0/8']
";
    let config = parse(text, &Options::new().file("edge.toml")).unwrap();
    let addresses = |at| format!("ip_access_control_lists[0].addresses[{at}]");
    let expected = [
        format!(
            "edge.toml:6:3: {}: `10.0.0.0/8` is in the list twice, first in line 4",
            addresses(3)
        ),
        format!(
            "edge.toml:7:3: {}: `10.0.0.0/8` is in the list twice, first in line 4",
            addresses(4)
        ),
        format!(
            "edge.toml:7:26: {}: `192.0.2.1/32` is in the list twice, first in line 5",
            addresses(5)
        ),
    ];
    let warnings = config.warnings().iter().map(ToString::to_string);
    let repeats: Vec<_> = warnings.filter(|text| text.contains(" twice, ")).collect();
    assert_eq!(repeats, expected);
    assert_eq!(config.repeats(), expected);
    let prefixes: Vec<_> = config
        .commit
        .writes()
        .iter()
        .filter_map(|write| match write {
            Write::Put(Record::IpAddress(address)) => {
                Some((address.prefix.to_string(), address.friendly_name.as_str()))
            }
            _ => None,
        })
        .collect();
    let all = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "192.0.2.1/32", "10.0.0.0/8"];
    assert_eq!(prefixes, all.map(|prefix| (prefix.to_owned(), "")));
}

#[test]
fn sids_are_derived_from_the_names() {
    let minimal = "[[domains]]\nname = 'a.example'";
    let sids = |text: &str| {
        let mut sids: Vec<_> = parse(text, &Options::new()).unwrap().names.0.into_iter().collect();
        sids.sort();
        sids
    };
    assert_eq!(sids(minimal), sids(minimal));
    let [account, domain] = &sids(minimal)[..] else { panic!() };
    assert_eq!((account.1.as_str(), domain.1.as_str()), ("default", "a.example"));
    let names = parse(FULL, &Options::new()).unwrap().names;
    let text = "AC00000000000000000000000000000001, IP00000000000000000000000000000007.";
    assert_eq!(
        names.annotate(text),
        "AC00000000000000000000000000000001 (acme), IP00000000000000000000000000000007 (gw)."
    );
}

#[test]
fn an_empty_file_has_no_domains() {
    assert_eq!(decide(parse("", &Options::new()).unwrap(), "sip:a@b", "127.0.0.1").status(), 404);
}

#[test]
fn options_complete_the_file() {
    let text = "[[credential_lists]]\nname = 'l'\n";
    let owner = AccountSid::from_name(&["owner"]);
    let dates = Dates { created: 1, updated: 2 };
    let options = Options::new().owner(owner).realm("r".parse().unwrap()).dates(dates);
    let config = parse(text, &options).unwrap();
    let [Write::Put(Record::CredentialList(list))] = config.commit.writes() else { panic!() };
    assert_eq!((list.account, list.realm.as_str(), list.dates), (owner, "r", dates));

    let errors = parse("[[accounts]]\nname = 'a'", &options).unwrap_err();
    let message = "expected no accounts in the file, since an owner is given for all records";
    assert_eq!(errors.first().message(), message);
    let error = errors.first();
    assert_eq!((error.file(), error.line(), error.column()), ("config", Some(2), Some(8)));
    assert_eq!((error.key(), errors.len()), (Some("accounts[0].name"), 1));
}

#[test]
fn a_file_is_loaded_with_its_own_date() {
    let path = std::env::temp_dir().join(format!("sip-authz-config-{}.toml", std::process::id()));
    std::fs::write(&path, "[[accounts]]\nname = 'a'\n").unwrap();
    let config = load(&path, &Options::new()).unwrap();
    let [Write::Put(Record::Account(account))] = config.commit.writes() else { panic!() };
    assert!(account.dates.created > 1_700_000_000, "{:?}", account.dates);

    let errors = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path, &Options::new().file("edge.toml")).unwrap_err().to_string()
    };
    assert_eq!(errors(b"realm = 'r'\nx = '\xc3\xa4\xff'\n"), "edge.toml:2:7: expected UTF-8");
    // each line with such a byte, and the errors of other lines
    assert_eq!(
        errors(b"# caf\xe9\n[[domains]]\nname = 'b\xfccher \xfc'\nsecure = 1\n[[trunks]]\nname = '\xff\n"),
        "edge.toml:1:6: expected UTF-8\nedge.toml:3:10: expected UTF-8\n\
         edge.toml:4:10: domains[0].secure: expected a boolean, found an integer\n\
         edge.toml:6:9: expected UTF-8"
    );
    let utf16: Vec<u8> = "[[domains]]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        errors(&[b"\xff\xfe", &utf16[..]].concat()),
        "edge.toml: expected TOML in UTF-8, found UTF-16"
    );
    assert_eq!(
        errors(b"\x1f\x8b\x08\x00\x80"),
        "edge.toml: expected TOML in UTF-8, found binary data"
    );
    std::fs::remove_file(&path).unwrap();
    let error = load(&path, &Options::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no such file", path.display()));
}

/// The warnings about `text`, without the name of the file.
fn warnings(text: &str, options: &Options) -> Vec<String> {
    let config = parse(text, &options.clone().file("f")).unwrap();
    config.warnings().iter().map(|one| one.to_string().split_off(2)).collect()
}

#[test]
fn records_without_an_effect_are_warnings_with_their_places() {
    let options = Options::new();
    for text in ["", "# nothing\n", "[[accounts]]\nname = 'a'\n"] {
        let expected = " the file has no domain and no trunk, so every INVITE is answered 404";
        assert_eq!(warnings(text, &options), [expected], "{text}");
    }
    let text = "realm = 'r'
[[ip_access_control_lists]]
name = 'office'
[[credential_lists]]
name = 'staff'
credentials = []
[[credential_lists]]
name = 'phones'
credentials = [{ username = 'u', password = 'p' }]
[[domains]]
name = 'a.example'
registrations = ['phones']
[[domains]]
name = 'b.example'
secure = true
ip_access_control_lists = ['office']
[[trunks]]
name = 'carrier'
[[trunks]]
\tname = 'other'
\tdomain_name = 't.example'
secure = true
";
    let in_effect = [
        "3:8: ip_access_control_lists[0].name: IP access control list `office` has no addresses, so \
         it admits no caller",
        "5:8: credential_lists[0].name: credential list `staff` has no credentials, so it admits no \
         caller",
        "5:8: credential_lists[0].name: credential list `staff` is mapped to no domain and no trunk, \
         so it has no effect",
        "11:8: domains[0].name: domain `a.example` has no list, so every call to it is rejected",
        "18:8: trunks[0].name: trunk `carrier` has no `domain_name`, so no call reaches it",
        "21:16: trunks[1].domain_name: trunk `other` has no list, so every call to it is rejected",
    ];
    assert_eq!(warnings(text, &options), in_effect);
    assert_eq!(warnings(text, &options.clone().tls(true)), in_effect);
    let without_tls = warnings(text, &options.tls(false));
    let secure: Vec<_> =
        without_tls.iter().filter(|one| !in_effect.contains(&one.as_str())).collect();
    let text =
        "is `secure`: without a listener for TLS (`serve --sips`) every call to it is rejected";
    assert_eq!(
        secure,
        [
            &format!("14:8: domains[1].name: domain `b.example` {text}"),
            &format!("21:16: trunks[1].domain_name: trunk `other` {text}"),
        ]
    );
}

#[test]
fn debug_of_errors_is_their_text() {
    let errors = read("realm = 1\ndomains = 2").unwrap_err();
    assert_eq!(errors.len(), 2);
    assert_eq!(format!("{errors:?}"), errors.to_string());
    assert_eq!(format!("{:?}", errors.first()), errors.first().to_string());
}
