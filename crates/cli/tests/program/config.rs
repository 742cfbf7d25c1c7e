//! Files that cannot be used, and what is said of them: file, line, key, and what is wrong.

use crate::support::{file, outcome, run};

/// What the program says of `text` in a file called `edge.toml`.
fn complaint(text: &str) -> String {
    let path = file("edge.toml", text);
    let path = path.to_str().unwrap();
    let output = run(&["serve", "--sip", "127.0.0.1:0", "--config", path, "--on-accept", "ok"]);
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{text}\n{stderr}");
    let line = stderr.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    line.replace(path, "edge.toml").strip_prefix("sip-authz: ").unwrap().to_owned()
}

#[test]
fn each_error_names_file_line_and_key() {
    let lists = "realm = 'r'\n[[ip_access_control_lists]]\nname = 'office'\n\
                 [[credential_lists]]\nname = 'staff'\n";
    let in_list = |entry: &str| {
        format!("realm = 'r'\n[[credential_lists]]\nname = 'staff'\ncredentials = [\n{entry},\n]\n")
    };
    let in_addresses =
        |entry: &str| format!("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n{entry}\n]");
    let policy =
        |setting: &str| format!("[[domains]]\nname = 'a.example'\n\n[domains.policy]\n{setting}\n");
    let mut wrong = Vec::new();
    let two_accounts = "[[accounts]]\nname = 'a'\n[[accounts]]\nname = 'b'\n";
    for (text, expected) in [
        // not TOML, or not UTF-8
        ("a = ".to_owned(), "edge.toml:1: a: string values must be quoted, expected literal string"),
        ("[[domains]\n".to_owned(), "edge.toml:1: unclosed array table, expected `]`"),
        // unknown keys, wrong types, missing keys
        ("relam = 'r'\n".to_owned(), "edge.toml:1: relam: unknown field `relam`, expected one of `realm`, `accounts`, `ip_access_control_lists`, `credential_lists`, `domains`, `trunks`"),
        ("[[domains]]\nname = 'a.example'\nnmae = 'b'\n".to_owned(), "edge.toml:3: domains[0].nmae: unknown field `nmae`, expected one of `name`, `sid`, `friendly_name`, `account`, `secure`, `ip_access_control_lists`, `credential_lists`, `registrations`, `policy`"),
        ("[[domains]]\nname = 'a.example'\n[[domains]]\nname = 'b.example'\nsecure = 'yes'\n".to_owned(), "edge.toml:5: domains[1].secure: invalid type: string \"yes\", expected a boolean"),
        ("\n[[domains]]\nsecure = true\n".to_owned(), "edge.toml:2: domains[0]: missing field `name`"),
        ("[[domains]]\nname = 'a.example'\nname = 'b.example'\n".to_owned(), "edge.toml:3: duplicate key `name`"),
        // names
        ("realm = ''\n".to_owned(), "edge.toml:1: realm: a realm must not be empty"),
        ("realm = 'a\"b'\n".to_owned(), "edge.toml:1: realm: '\"' must not be in a realm"),
        ("[[domains]]\nname = 'a b'\n".to_owned(), "edge.toml:2: domains[0].name: `a b` is not a host name"),
        ("[[domains]]\nname = 'a.example'\nsid = 'TK1'\n".to_owned(), "edge.toml:3: domains[0].sid: `TK1` is not a SID of the form SD and 32 hexadecimal digits"),
        ("[[accounts]]\nname = ''\n".to_owned(), "edge.toml:2: accounts[0].name: a name must not be empty or have control characters"),
        ("[[accounts]]\nname = 'a'\nstatus = 'gone'\n".to_owned(), "edge.toml:3: accounts[0].status: unknown variant `gone`, expected one of `active`, `suspended`, `closed`"),
        // names that are taken
        ("[[accounts]]\nname = 'a'\n[[accounts]]\nname = 'a'\n".to_owned(), "edge.toml:4: accounts[1].name: there are two accounts `a`"),
        (format!("{lists}[[credential_lists]]\nname = 'staff'\n"), "edge.toml:7: credential_lists[1].name: there are two credential lists `staff`"),
        (format!("{lists}[[ip_access_control_lists]]\nname = 'office'\n"), "edge.toml:7: ip_access_control_lists[1].name: there are two IP access control lists `office`"),
        ("[[domains]]\nname = 'a.example'\n[[domains]]\nname = 'A.Example.'\n".to_owned(), "edge.toml:4: domains[1].name: there are two domains `a.example`"),
        ("[[domains]]\nname = 'a.example'\n[[trunks]]\nname = 't'\ndomain_name = 'a.example'\n".to_owned(), "edge.toml:5: trunks[0].domain_name: the name `a.example` is taken by domain `a.example`"),
        ("[[trunks]]\nname = 't'\n[[trunks]]\nname = 't'\n".to_owned(), "edge.toml:4: trunks[1].name: there are two trunks `t`"),
        (format!("{two_accounts}[[domains]]\nname = 'a.example'\naccount = 'a'\n[[domains]]\nname = 'a.example'\naccount = 'b'\n"), "edge.toml:9: domains[1].name: the name `a.example` is taken by domain `a.example`"),
        // references
        (format!("{lists}[[domains]]\nname = 'a.example'\ncredential_lists = ['office']\n"), "edge.toml:8: domains[0].credential_lists[0]: there is no credential list `office`"),
        (format!("{lists}[[domains]]\nname = 'a.example'\ncredential_lists = ['staff', 'staff']\n"), "edge.toml:8: domains[0].credential_lists[1]: `staff` is mapped twice"),
        (format!("{lists}[[domains]]\nname = 'a.example'\nregistrations = ['x']\n"), "edge.toml:8: domains[0].registrations[0]: there is no credential list `x`"),
        (format!("{lists}[[trunks]]\nname = 't'\nip_access_control_lists = [\n  'office',\n  'x',\n]\n"), "edge.toml:10: trunks[0].ip_access_control_lists[1]: there is no IP access control list `x`"),
        (format!("{two_accounts}[[ip_access_control_lists]]\nname = 'l'\n"), "edge.toml:6: ip_access_control_lists[0].name: there are several accounts, and it names none"),
        (format!("{two_accounts}[[domains]]\nname = 'a.example'\naccount = 'c'\n"), "edge.toml:7: domains[0].account: there is no account `c`"),
        (format!("{two_accounts}[[ip_access_control_lists]]\nname = 'l'\naccount = 'a'\n[[domains]]\nname = 'a.example'\naccount = 'b'\nip_access_control_lists = ['l']"), "edge.toml:11: domains[0].ip_access_control_lists[0]: there is no IP access control list `l` of account `b`; one belongs to `a`"),
        // realms
        ("[[credential_lists]]\nname = 'staff'\n".to_owned(), "edge.toml:2: credential_lists[0].name: it has no realm, and the file has none for all lists"),
        (format!("{lists}[[credential_lists]]\nname = 'other'\nrealm = 's'\n[[domains]]\nname = 'a.example'\ncredential_lists = ['staff', 'other']\n"), "edge.toml:11: domains[0].credential_lists[1]: `other` has the realm `s`, and a list mapped before it has `r`"),
        // addresses
        (in_addresses("'192.0.2.1/24'"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: host bits are set in `192.0.2.1/24`; the prefix is `192.0.2.0/24`"),
        (in_addresses("'192.0.2.0/24',\n\n'192.0.2.0/24'"), "edge.toml:6: ip_access_control_lists[0].addresses[1]: `192.0.2.0/24` is in the list twice"),
        (in_addresses("'0.0.0.0/0'"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: `0.0.0.0/0` admits every address; if that is meant, write { address = \"0.0.0.0/0\", allow_all = true }"),
        (in_addresses("{ address = '::/0' }"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: `::/0` admits every address; if that is meant, write { address = \"::/0\", allow_all = true }"),
        (in_addresses("{ address = '192.0.2.1', allow_all = true }"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: allow_all stands beside `192.0.2.1/32`, which is not all"),
        (in_addresses("{ address = '192.0.2.1', port = 5 }"), "edge.toml:4: ip_access_control_lists[0].addresses[0].port: unknown field `port`, expected one of `address`, `sid`, `friendly_name`, `allow_all`"),
        (in_addresses("5"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: invalid type: integer `5`, expected an address or prefix in quotes, or a table with `address` in it"),
        (in_addresses("'host.example'"), "edge.toml:4: ip_access_control_lists[0].addresses[0]: `host.example` is not an IP address or prefix"),
        // credentials
        (in_list("{ username = 'a', password = '' }"), "edge.toml:5: credential_lists[0].credentials[0].password: the password of a credential must not be empty"),
        (in_list("{ username = 'a' }"), "edge.toml:5: credential_lists[0].credentials[0]: a credential needs a password or ha1"),
        (in_list("{ username = 'a', password = 'p', ha1 = { md5 = 'x' } }"), "edge.toml:5: credential_lists[0].credentials[0].ha1: a credential has either a password or ha1, not both"),
        (in_list("{ username = 'a', ha1 = {} }"), "edge.toml:5: credential_lists[0].credentials[0].ha1: a credential needs at least one hash"),
        (in_list("{ username = 'a', ha1 = { sha-256 = 'abc' } }"), "edge.toml:5: credential_lists[0].credentials[0].ha1.sha-256: an SHA-256 hash is 64 hexadecimal digits"),
        (in_list("{ username = 'a', ha1 = { md4 = 'abc' } }"), "edge.toml:5: credential_lists[0].credentials[0].ha1.md4: unknown field `md4`, expected one of `md5`, `sha-256`, `sha-512-256`"),
        (in_list("{ username = 'a', password = 'p' },\n{ username = 'a', password = 'q' }"), "edge.toml:6: credential_lists[0].credentials[1].username: `a` is in the list twice"),
        (in_list("{ username = 'a', password = 'p' },\n{ username = 'a', sid = 'CR00000000000000000000000000000001', password = 'q' }"), "edge.toml:6: credential_lists[0].credentials[1].username: `a` is in the list twice"),
        (in_list("{ username = 'a:b', password = 'p' }"), "edge.toml:5: credential_lists[0].credentials[0].username: ':' must not be in a user name"),
        // policies
        (policy("nonce_lifetime = 0"), "edge.toml:5: domains[0].policy.nonce_lifetime: a nonce lifetime is 1 to 86400 seconds, not 0"),
        (policy("nonce_lifetime = -1"), "edge.toml:5: domains[0].policy.nonce_lifetime: invalid value: integer `-1`, expected u32"),
        (policy("algorithms = 'md5'"), "edge.toml:5: domains[0].policy.algorithms: invalid value: string \"md5\", expected `md5-only`, `md5-first`, `strongest-first`, or a list of names such as `MD5`"),
        (policy("algorithms = ['MD5', 'SHA-1']"), "edge.toml:5: domains[0].policy.algorithms: unknown algorithm `SHA-1`, not one of MD5, MD5-sess, SHA-256, SHA-256-sess, SHA-512-256, SHA-512-256-sess"),
        (policy("algorithms = []"), "edge.toml:5: domains[0].policy.algorithms: at least one algorithm must be offered"),
        (policy("algorithms = ['MD5', 'md5']"), "edge.toml:5: domains[0].policy.algorithms: MD5 is offered twice"),
        (policy("allow_rfc2069 = true\nalgorithms = ['SHA-256']"), "edge.toml:5: domains[0].policy.allow_rfc2069: RFC 2069 responses are MD5 only, and MD5 is not offered"),
        (policy("qop = 'none'"), "edge.toml:5: domains[0].policy.qop: unknown variant `none`, expected one of `auth`, `auth-int`, `auth,auth-int`"),
        (policy("guesses = { name = { burst = 5, refill_ms = 3600001 } }"), "edge.toml:5: domains[0].policy.guesses: after 3600000 ms at most one more wrong digest must be let pass, not after 3600001"),
        (policy("guesses = { pair = { burst = 0, refill_ms = 1 } }"), "edge.toml:5: domains[0].policy.guesses.pair.burst: invalid value: integer `0`, expected a nonzero u32"),
        (policy("guesses = { all = 1 }"), "edge.toml:5: domains[0].policy.guesses.all: unknown field `all`, expected one of `source`, `pair`, `name`, `any_name`"),
        // SIDs
        ("[[domains]]\nname = 'a.example'\nsid = 'SD00000000000000000000000000000001'\n[[domains]]\nname = 'b.example'\nsid = 'SD00000000000000000000000000000001'\n".to_owned(), "edge.toml:5: domains[1].name: SD00000000000000000000000000000001 is used twice"),
    ] {
        let said = complaint(&text);
        if said != expected {
            wrong.push(format!("{text}\nsaid:     {said}\nexpected: {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_cannot_be_read() {
    let say = |path: &str| {
        let (code, _, stderr) = outcome(&run(&["serve", "--config", path, "--on-accept", "ok"]));
        assert_eq!(code, Some(2));
        stderr
    };
    assert_eq!(say("no/such.toml"), "sip-authz: no/such.toml: no such file\n");
    assert_eq!(say("/"), "sip-authz: /: a directory, not a file\n");
    let path = file("edge.toml", "");
    std::fs::write(&path, b"realm = 'r'\nx = '\xff'\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(say(path), format!("sip-authz: {path}:2: not UTF-8\n"));
}
