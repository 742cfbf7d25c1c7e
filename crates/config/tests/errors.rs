//! Invalid configurations and their exact errors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use sip_authz::model::{NextHop, NextHopSet};
use sip_authz_config::{ConfigErrors, Options, parse};

/// The example of the documentation.
const EXAMPLE: &str = include_str!("../../../docs/edge.toml");
/// Its password and its hash.
const SECRETS: [&str; 2] = ["Correct-Horse-7", "2b9c45d5d6e2f1d9b6f0c0a4a2fb8b63"];

fn errors(text: &str) -> Vec<String> {
    match parse(text, &Options::new().file("edge.toml")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| error.to_string().strip_prefix("edge.toml:").unwrap().to_owned())
            .collect(),
    }
}

#[test]
fn next_hops_come_from_the_file_and_from_the_options() {
    let domain = "[[domains]]\nname = 'a.example'\non_accept = 'redirect:gw.example.net'\n";
    let forward = "forward:sip:pbx.example.net;transport=tcp,10.0.0.1:5080;priority=1";
    let trunk = format!(
        "[[trunks]]\nname = 't'\ndomain_name = 't.example'\non_accept = 'ok'\n\
         [[trunks]]\nname = 'u'\ndomain_name = 'u.example'\non_accept = '{forward}'\n"
    );
    let allowed = [".example.net", "10.0.0.1"].map(|hop| hop.parse::<NextHop>().unwrap());
    let options = Options::new().next_hops(NextHopSet::new(allowed));
    let by_file = format!("next_hop_allow = ['10.0.0.0/8', '*.example.net']\n{domain}{trunk}");
    for (text, options) in [(format!("{domain}{trunk}"), &options), (by_file, &Options::new())] {
        let config = parse(&text, options).unwrap();
        let answers: Vec<_> = config
            .snapshot
            .target_views()
            .map(|view| (view.name.unwrap().to_string(), view.on_accept.unwrap().to_string()))
            .collect();
        assert_eq!(answers.len(), 3);
        assert!(answers.contains(&("a.example".into(), "redirect:gw.example.net".into())));
        assert!(answers.contains(&("t.example".into(), "ok".into())));
        assert!(answers.contains(&("u.example".into(), forward.into())));
    }
}

#[test]
#[rustfmt::skip]
fn each_error_has_its_line_column_and_key() {
    let lists = "realm = 'r'\n[[ip_access_control_lists]]\nname = 'office'\n\
                 [[credential_lists]]\nname = 'staff'\n";
    let in_list = |entry: &str| {
        format!("realm = 'r'\n[[credential_lists]]\nname = 'staff'\ncredentials = [\n{entry},\n]\n")
    };
    let in_addresses =
        |entry: &str| format!("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n{entry}\n]");
    let policy =
        |setting: &str| format!("[[domains]]\nname = 'a.example'\n\n[domains.policy]\n{setting}\n");
    // one user in so many lists of one domain
    let copies = |lists: usize| {
        let list = |n| {
            format!("[[credential_lists]]\nname = 'l{n}'\ncredentials = [{{ username = 'alice', password = 'Correct-Horse-7' }}]\n")
        };
        let names: Vec<_> = (0..lists).map(|n| format!("'l{n}'")).collect();
        let all: String = (0..lists).map(list).collect();
        let names = names.join(", ");
        format!("realm = 'r'\n{all}[[domains]]\nname = 'a.example'\ncredential_lists = [{names}]\n")
    };
    let two_accounts = "[[accounts]]\nname = 'a'\n[[accounts]]\nname = 'b'\n";
    let table: Vec<(String, &[&str])> = vec![
        // not TOML, or not UTF-8
        ("a = ".to_owned(), &["1:5: expected a value"]),
        ("[[domain]\n".to_owned(), &["1:10: unclosed array table, expected `]`"]),
        // headers with the wrong brackets; the errors below them are reported too
        ("[[domains]\n".to_owned(), &["1:1: expected `[[domains]]`, found `[[domains]`", "1:1: domains[0]: missing key `name`"]),
        ("[domains]\nname = 'a b'\n[domains]\nname = 'c d'\n".to_owned(), &[
            "1:1: expected `[[domains]]`, found `[domains]`",
            "2:8: domains[0].name: `a b` is not a host name",
            "3:1: expected `[[domains]]`, found `[domains]`",
            "4:8: domains[1].name: `c d` is not a host name",
        ]),
        ("\t[domains]] # one\nname = 'a.example'\n[[domains.policy]]\nqop = 'x'\n[[[trunks]]]\nname = 5\n".to_owned(), &[
            "1:2: expected `[[domains]]`, found `[domains]]`",
            "3:1: expected `[domains.policy]`, found `[[domains.policy]]`",
            "4:7: domains[0].policy.qop: expected `auth`, `auth-int` or `auth,auth-int`, found `x`",
            "5:1: expected `[[trunks]]`, found `[[[trunks]]]`",
            "6:8: trunks[0].name: expected a string, found an integer",
        ]),
        ("[[domains]]\nname = 'a.example'\nfriendly_name = \"\"\"\n[domains]\n[[trunks]\n\"\"\"\nsecure = 1\n".to_owned(), &["7:10: domains[0].secure: expected a boolean, found an integer"]),
        // unknown keys, wrong types, missing keys
        ("relam = 'r'\n".to_owned(), &["1:1: relam: unknown key `relam`, did you mean `realm`?"]),
        ("[[domains]]\nname = 'a.example'\nnmae = 'b'\n".to_owned(), &["3:1: domains[0].nmae: unknown key `nmae`, did you mean `name`?"]),
        ("[[domains]]\nname = 'a.example'\n[[domains]]\nname = 'b.example'\nsecure = 'yes'\n".to_owned(), &["5:10: domains[1].secure: expected a boolean, found a string"]),
        ("\n[[domains]]\nsecure = true\n".to_owned(), &["2:1: domains[0]: missing key `name`"]),
        ("[[domains]]\nname = 'a.example'\nname = 'b.example'\n".to_owned(), &["3:1: duplicate key `name`"]),
        // answers to accepted calls and next hops
        ("[[domains]]\nname = 'a.example'\non_accept = 'redirect:gw.example'\n".to_owned(), &["3:13: domains[0].on_accept: the next hop `gw.example` is not allowed; allow it in `next_hop_allow` or in the program that reads the file (sip-authz: --next-hop-allow)"]),
        ("next_hop_allow = ['gw.example']\n[[trunks]]\nname = 'a'\ndomain_name = 'a.example'\non_accept = 'redirect:gw.example,sip:{user}@b.example:5060'\n".to_owned(), &["5:13: trunks[0].on_accept: the next hop `b.example:5060` is not allowed; allow it in `next_hop_allow` or in the program that reads the file (sip-authz: --next-hop-allow)"]),
        ("next_hop_allow = ['gw.example']\n[[domains]]\nname = 'a.example'\non_accept = 'redirect:sip:{user}@{host}'\n".to_owned(), &["4:13: domains[0].on_accept: `{host}` is allowed in the user part only"]),
        ("[[domains]]\nname = 'a.example'\non_accept = 'redirect:sip:{usr}@gw.example'\n".to_owned(), &["3:13: domains[0].on_accept: unknown placeholder `{usr}` at position 14, expected {user}, {host}, {domain}, {account} or {username}"]),
        ("[[domains]]\nname = 'a.example'\non_accept = 'proxy:gw.example'\n".to_owned(), &["3:13: domains[0].on_accept: expected `ok`, or `redirect:` or `forward:` and a SIP URI or host"]),
        ("[[domains]]\nname = 'a.example'\non_accept = 'forward:sip:pbx.example'\n".to_owned(), &["3:13: domains[0].on_accept: the next hop `pbx.example` is not allowed; allow it in `next_hop_allow` or in the program that reads the file (sip-authz: --next-hop-allow)"]),
        ("next_hop_allow = ['pbx.example']\n[[trunks]]\nname = 'a'\ndomain_name = 'a.example'\non_accept = 'forward:pbx.example, sips:b.example:5071;priority=1'\n".to_owned(), &["5:13: trunks[0].on_accept: the next hop `b.example:5071` is not allowed; allow it in `next_hop_allow` or in the program that reads the file (sip-authz: --next-hop-allow)"]),
        ("next_hop_allow = ['pbx.example']\n[[trunks]]\nname = 'a'\ndomain_name = 'a.example'\non_accept = 'forward:pbx.example, pbx.example:5062;maddr=192.0.2.1'\n".to_owned(), &["5:13: trunks[0].on_accept: hop at position 22: unknown parameter `maddr`, expected transport, priority, weight or lr"]),
        ("next_hop_allow = ['pbx.example']\n[[domains]]\nname = 'a.example'\non_accept = 'forward:sip:{user}@pbx.example'\n".to_owned(), &["4:13: domains[0].on_accept: brace at position 13: expected no placeholder in a hop"]),
        // an allowed next hop that cannot be read hides the error about the target
        ("next_hop_allow = ['gw:0']\n[[domains]]\nname = 'a.example'\non_accept = 'redirect:gw'\n".to_owned(), &["1:19: next_hop_allow[0]: expected a port from 1 to 65535"]),
        ("next_hop_alow = ['gw']\n[[domains]]\nname = 'a.example'\non_accept = 'redirect:gw'\n".to_owned(), &["1:1: next_hop_alow: unknown key `next_hop_alow`, did you mean `next_hop_allow`?"]),
        // names
        ("realm = ''\n".to_owned(), &["1:9: realm: a realm must not be empty"]),
        ("realm = 'a\"b'\n".to_owned(), &["1:9: realm: '\"' must not be in a realm"]),
        ("[[domains]]\nname = 'a b'\n".to_owned(), &["2:8: domains[0].name: `a b` is not a host name"]),
        ("[[domains]]\nname = 'a.example'\nsid = 'TK1'\n".to_owned(), &["3:7: domains[0].sid: `TK1` is not a SID of the form SD and 32 hexadecimal digits"]),
        ("[[accounts]]\nname = ''\n".to_owned(), &["2:8: accounts[0].name: a name must not be empty or have control characters"]),
        ("[[accounts]]\nname = 'a'\nstatus = 'gone'\n".to_owned(), &["3:10: accounts[0].status: expected `active`, `suspended` or `closed`, found `gone`"]),
        // names that are taken
        ("[[accounts]]\nname = 'a'\n[[accounts]]\nname = 'a'\n".to_owned(), &["4:8: accounts[1].name: there are two accounts `a`"]),
        (format!("{lists}[[credential_lists]]\nname = 'staff'\n"), &["7:8: credential_lists[1].name: there are two credential lists `staff`"]),
        (format!("{lists}[[ip_access_control_lists]]\nname = 'office'\n"), &["7:8: ip_access_control_lists[1].name: there are two IP access control lists `office`"]),
        ("[[domains]]\nname = 'a.example'\n[[domains]]\nname = 'A.Example.'\n".to_owned(), &["4:8: domains[1].name: there are two domains `a.example`"]),
        ("[[domains]]\nname = 'a.example'\n[[trunks]]\nname = 't'\ndomain_name = 'a.example'\n".to_owned(), &["5:15: trunks[0].domain_name: the name `a.example` is taken by domain `a.example`"]),
        ("[[trunks]]\nname = 't'\n[[trunks]]\nname = 't'\n".to_owned(), &["4:8: trunks[1].name: there are two trunks `t`"]),
        (format!("{two_accounts}[[domains]]\nname = 'a.example'\naccount = 'a'\n[[domains]]\nname = 'a.example'\naccount = 'b'\n"), &["9:8: domains[1].name: the name `a.example` is taken by domain `a.example`"]),
        // references
        (format!("{lists}[[domains]]\nname = 'a.example'\ncredential_lists = ['office']\n"), &["8:21: domains[0].credential_lists[0]: there is no credential list `office`"]),
        (format!("{lists}[[domains]]\nname = 'a.example'\ncredential_lists = ['staff', 'staff']\n"), &["8:30: domains[0].credential_lists[1]: `staff` is mapped twice"]),
        (format!("{lists}[[domains]]\nname = 'a.example'\nregistrations = ['x']\n"), &["8:18: domains[0].registrations[0]: there is no credential list `x`"]),
        (format!("{lists}[[trunks]]\nname = 't'\nip_access_control_lists = [\n  'office',\n  'x',\n]\n"), &["10:3: trunks[0].ip_access_control_lists[1]: there is no IP access control list `x`"]),
        (format!("{two_accounts}[[ip_access_control_lists]]\nname = 'l'\n"), &["6:8: ip_access_control_lists[0].name: missing key `account`: the file has several accounts"]),
        (format!("{two_accounts}[[domains]]\nname = 'a.example'\naccount = 'c'\n"), &["7:11: domains[0].account: there is no account `c`"]),
        (format!("{two_accounts}[[ip_access_control_lists]]\nname = 'l'\naccount = 'a'\n[[domains]]\nname = 'a.example'\naccount = 'b'\nip_access_control_lists = ['l']"), &["11:28: domains[0].ip_access_control_lists[0]: there is no IP access control list `l` of account `b`; one belongs to `a`"]),
        // realms
        ("[[credential_lists]]\nname = 'staff'\n".to_owned(), &["2:8: credential_lists[0].name: missing key `realm`, and the file has no `realm` for all lists"]),
        (format!("{lists}[[credential_lists]]\nname = 'other'\nrealm = 's'\n[[domains]]\nname = 'a.example'\ncredential_lists = ['staff', 'other']\n"), &["11:30: domains[0].credential_lists[1]: `other` has the realm `s`, and a list mapped before it has `r`"]),
        // copies of a user name
        (copies(5), &["19:45: domains[0].credential_lists[4]: `alice` is in 5 of the lists mapped to domain `a.example`, at most 4 are allowed: `l4`, `l0`, `l3`, `l1`, `l2`"]),
        (copies(4), &[]),
        // addresses
        (in_addresses("'192.0.2.1/24'"), &["4:1: ip_access_control_lists[0].addresses[0]: host bits are set in `192.0.2.1/24`; the prefix is `192.0.2.0/24`"]),
        (in_addresses("'10.1.2.3/255.0.0.0'"), &["4:1: ip_access_control_lists[0].addresses[0]: host bits are set in `10.1.2.3/8`; the prefix is `10.0.0.0/8`"]),
        (in_addresses("{ address = '10.0.0.0/255.0.255.0' }"), &["4:13: ip_access_control_lists[0].addresses[0].address: the netmask of `10.0.0.0/255.0.255.0` is not contiguous; expected ones and then zeros, such as `255.255.255.0`"]),
        (in_addresses("'10.0.0.0/255.0.0'"), &["4:1: ip_access_control_lists[0].addresses[0]: `10.0.0.0/255.0.0` is not an IP address or prefix"]),
        (in_addresses("'0.0.0.0/0.0.0.0'"), &["4:1: ip_access_control_lists[0].addresses[0]: `0.0.0.0/0` admits every address; if that is meant, write { address = \"0.0.0.0/0\", allow_all = true }"]),
        // a prefix may repeat, a SID may not
        (in_addresses("{ address = '192.0.2.0/24', sid = 'IP00000000000000000000000000000001' },\n{ address = '192.0.3.0/24', sid = 'IP00000000000000000000000000000001' }"), &["5:1: ip_access_control_lists[0].addresses[1]: IP00000000000000000000000000000001 is used twice"]),
        (in_addresses("'0.0.0.0/0'"), &["4:1: ip_access_control_lists[0].addresses[0]: `0.0.0.0/0` admits every address; if that is meant, write { address = \"0.0.0.0/0\", allow_all = true }"]),
        (in_addresses("{ address = '::/0' }"), &["4:1: ip_access_control_lists[0].addresses[0]: `::/0` admits every address; if that is meant, write { address = \"::/0\", allow_all = true }"]),
        (in_addresses("{ address = '192.0.2.1', allow_all = true }"), &["4:38: ip_access_control_lists[0].addresses[0].allow_all: `allow_all` needs a prefix of length 0, found `192.0.2.1/32`"]),
        (in_addresses("{ address = '192.0.2.1', port = 5 }"), &["4:26: ip_access_control_lists[0].addresses[0].port: unknown key `port`, expected `address`, `sid`, `friendly_name` or `allow_all`"]),
        (in_addresses("5"), &["4:1: ip_access_control_lists[0].addresses[0]: expected an address or prefix in quotes, or a table with `address` in it, found an integer"]),
        (in_addresses("'host.example'"), &["4:1: ip_access_control_lists[0].addresses[0]: `host.example` is not an IP address or prefix"]),
        // credentials
        (in_list("{ username = 'a', password = '' }"), &["5:30: credential_lists[0].credentials[0].password: the password of a credential must not be empty"]),
        (in_list("{ username = 'a' }"), &["5:1: credential_lists[0].credentials[0]: a credential needs a password or ha1"]),
        (in_list("{ username = 'a', password = 'p', ha1 = { md5 = 'x' } }"), &["5:41: credential_lists[0].credentials[0].ha1: a credential has either a password or ha1, not both"]),
        (in_list("{ username = 'a', ha1 = {} }"), &["5:25: credential_lists[0].credentials[0].ha1: a credential needs at least one hash"]),
        (in_list("{ username = 'a', ha1 = { sha-256 = 'abc' } }"), &["5:37: credential_lists[0].credentials[0].ha1.sha-256: an SHA-256 hash is 64 hexadecimal digits"]),
        (in_list("{ username = 'a', ha1 = { md4 = 'abc' } }"), &["5:27: credential_lists[0].credentials[0].ha1.md4: unknown key `md4`, did you mean `md5`?"]),
        (in_list("{ username = 'a', password = 'p' },\n{ username = 'a', password = 'q' }"), &["6:14: credential_lists[0].credentials[1].username: `a` is in the list twice"]),
        (in_list("{ username = 'a', password = 'p' },\n{ username = 'a', sid = 'CR00000000000000000000000000000001', password = 'q' }"), &["6:14: credential_lists[0].credentials[1].username: `a` is in the list twice"]),
        (in_list("{ username = 'a:b', password = 'p' }"), &["5:14: credential_lists[0].credentials[0].username: ':' must not be in a user name"]),
        // policies
        (policy("nonce_lifetime = 0"), &["5:18: domains[0].policy.nonce_lifetime: nonce lifetime must be 1 to 86400 seconds, got 0"]),
        (policy("nonce_lifetime = -1"), &["5:18: domains[0].policy.nonce_lifetime: expected an integer from 0 to 4294967295, found -1"]),
        (policy("algorithms = 'md5'"), &["5:14: domains[0].policy.algorithms: expected `md5-only`, `md5-first`, `sha256-first`, `strongest-first`, or a list of names such as `MD5`, found `md5`"]),
        (policy("algorithms = ['MD5', 'SHA-1']"), &["5:22: domains[0].policy.algorithms[1]: expected one of MD5, MD5-sess, SHA-256, SHA-256-sess, SHA-512-256, SHA-512-256-sess, found `SHA-1`"]),
        (policy("algorithms = []"), &["5:14: domains[0].policy.algorithms: at least one algorithm must be offered"]),
        (policy("algorithms = ['MD5', 'md5']"), &["5:14: domains[0].policy.algorithms: MD5 is offered twice"]),
        (policy("allow_rfc2069 = true\nalgorithms = ['SHA-256']"), &["5:17: domains[0].policy.allow_rfc2069: RFC 2069 responses need MD5, which is not offered"]),
        (policy("from_must_match = 'anonymous'"), &["5:19: domains[0].policy.from_must_match: expected false, true or \"or-anonymous\", found `anonymous`"]),
        (policy("from_must_match = 'Or-Anonymous'"), &["5:19: domains[0].policy.from_must_match: expected false, true or \"or-anonymous\", found `Or-Anonymous`"]),
        (policy("from_must_match = 'true'"), &["5:19: domains[0].policy.from_must_match: expected false, true or \"or-anonymous\", found a string"]),
        (policy("from_must_match = 1"), &["5:19: domains[0].policy.from_must_match: expected false, true or \"or-anonymous\", found an integer"]),
        (policy("from_must_match = [true]"), &["5:19: domains[0].policy.from_must_match: expected false, true or \"or-anonymous\", found an array"]),
        (policy("register_as = '{user}'"), &["5:15: domains[0].policy.register_as: expected a list of templates such as `{user}`, found a string"]),
        (policy("register_as = []"), &["5:15: domains[0].policy.register_as: at least one template is needed"]),
        (policy("register_as = ['{user}', '{user}']"), &["5:15: domains[0].policy.register_as: the template `{user}` is repeated"]),
        (policy("register_as = ['{user}', '1 {user}']"), &["5:26: domains[0].policy.register_as[1]: expected a template of at most 64 bytes with {user} once and letters, digits and +-_.*#!~, found `1 {user}`"]),
        (policy("register_as = [1]"), &["5:16: domains[0].policy.register_as[0]: expected a string, found an integer"]),
        (policy("register_as = ['1{user}','2{user}','3{user}','4{user}','5{user}','6{user}','7{user}','8{user}','9{user}']"), &["5:15: domains[0].policy.register_as: at most 8 templates can be set"]),
        (policy("methods = 'INVITE'"), &["5:11: domains[0].policy.methods: expected a list of methods such as `INVITE`, found a string"]),
        (policy("methods = []"), &["5:11: domains[0].policy.methods: at least one method must be admitted"]),
        (policy("methods = ['INVITE', 'INVITE']"), &["5:11: domains[0].policy.methods: INVITE is admitted twice"]),
        (policy("methods = ['INVITE', 'BYE']"), &["5:22: domains[0].policy.methods[1]: BYE cannot be admitted: it belongs to a call or a registration"]),
        (policy("methods = ['register']"), &["5:12: domains[0].policy.methods[0]: register cannot be admitted: it belongs to a call or a registration"]),
        (policy("methods = ['INVITE', 'A B']"), &["5:22: domains[0].policy.methods[1]: expected a method of 1 to 32 token characters, found `A B`"]),
        (policy("methods = ['']"), &["5:12: domains[0].policy.methods[0]: expected a method of 1 to 32 token characters, found ``"]),
        (policy("methods = [1]"), &["5:12: domains[0].policy.methods[0]: expected a string, found an integer"]),
        (policy("methods = ['A','B','C','D','E','F','G','H','I','J','K','L','M','N','O','P','Q','R']"), &["5:11: domains[0].policy.methods: at most 16 methods can be admitted"]),
        (policy("qop = 'none'"), &["5:7: domains[0].policy.qop: expected `auth`, `auth-int` or `auth,auth-int`, found `none`"]),
        (policy("guesses = { name = { burst = 5, refill_ms = 3600001 } }"), &["5:45: domains[0].policy.guesses.name.refill_ms: guess refill interval must be at most 3600000 ms, got 3600001"]),
        (policy("guesses = { pair = { burst = 0, refill_ms = 1 } }"), &["5:30: domains[0].policy.guesses.pair.burst: expected an integer from 1 to 4294967295, found 0"]),
        (policy("guesses = { all = 1 }"), &["5:13: domains[0].policy.guesses.all: unknown key `all`, expected `source`, `pair`, `name` or `any_name`"]),
        // SIDs
        ("[[domains]]\nname = 'a.example'\nsid = 'SD00000000000000000000000000000001'\n[[domains]]\nname = 'b.example'\nsid = 'SD00000000000000000000000000000001'\n".to_owned(), &["5:8: domains[1].name: SD00000000000000000000000000000001 is used twice"]),
        // several errors in one file
        ("realm = 5\nrelam = 'r'\n[[domains]]\nsecure = 'yes'\n[[domains]]\nname = 'a b'\nsid = 'x'\npolicy = 1\n".to_owned(), &[
            "1:9: realm: expected a string, found an integer",
            "2:1: relam: unknown key `relam`, did you mean `realm`?",
            "3:1: domains[0]: missing key `name`",
            "4:10: domains[0].secure: expected a boolean, found a string",
            "6:8: domains[1].name: `a b` is not a host name",
            "7:7: domains[1].sid: `x` is not a SID of the form SD and 32 hexadecimal digits",
            "8:10: domains[1].policy: expected a table, found an integer",
        ]),
        // misspelled keys, and their consequences
        ("[[domain]]\nname = 'a.example'\n".to_owned(), &["1:3: domain: unknown key `domain`, did you mean `domains`?"]),
        ("[[domains]]\nnmae = 'a.example'\n".to_owned(), &["2:1: domains[0].nmae: unknown key `nmae`, did you mean `name`?"]),
        ("relam = 'r'\n[[credential_lists]]\nname = 'l'\n".to_owned(), &["1:1: relam: unknown key `relam`, did you mean `realm`?"]),
        (in_list("{ usrname = 'a', pasword = 'p' }"), &[
            "5:3: credential_lists[0].credentials[0].usrname: unknown key `usrname`, did you mean `username`?",
            "5:18: credential_lists[0].credentials[0].pasword: unknown key `pasword`, did you mean `password`?",
        ]),
        ("acounts = []\n[[domains]]\nname = 'a.example'\naccount = 'b'\n".to_owned(), &["1:1: acounts: unknown key `acounts`, did you mean `accounts`?"]),
        ("[[domains]]\nname = 'a.example'\n'a key with spaces' = 1\n".to_owned(), &["3:1: domains[0]: unknown key, expected `name`, `sid`, `friendly_name`, `account`, `secure`, `on_accept`, `ip_access_control_lists`, `credential_lists`, `registrations` or `policy`"]),
        // references to a list with errors are not reported
        ("[[credential_lists]]\nname = 'l'\n[[domains]]\nname = 'a.example'\ncredential_lists = ['l']\n".to_owned(), &["2:8: credential_lists[0].name: missing key `realm`, and the file has no `realm` for all lists"]),
        ("[[credential_lists]]\nname = 5\n[[domains]]\nname = 'a.example'\ncredential_lists = ['l']\nip_access_control_lists = ['l']\n".to_owned(), &[
            "1:1: credential_lists[0]: missing key `realm`, and the file has no `realm` for all lists",
            "2:8: credential_lists[0].name: expected a string, found an integer",
            "6:28: domains[0].ip_access_control_lists[0]: there is no IP access control list `l`",
        ]),
        ("[[ip_access_control_lists]]\nname = 'l'\naccount = 'x'\n[[domains]]\nname = 'a.example'\nip_access_control_lists = ['l', 'm']\n".to_owned(), &[
            "3:11: ip_access_control_lists[0].account: there is no account `x`",
            "6:33: domains[0].ip_access_control_lists[1]: there is no IP access control list `m`",
        ]),
        ("[[accounts]]\nname = ''\n[[domains]]\nname = 'a.example'\naccount = 'x'\n".to_owned(), &["2:8: accounts[0].name: a name must not be empty or have control characters"]),
        (format!("{two_accounts}[[domains]]\nname = 'a.example'\naccount = 'c'\nip_access_control_lists = ['m']\npolicy = {{ nonce_lifetime = 0 }}\n"), &[
            "7:11: domains[0].account: there is no account `c`",
            "8:28: domains[0].ip_access_control_lists[0]: there is no IP access control list `m`",
            "9:29: domains[0].policy.nonce_lifetime: nonce lifetime must be 1 to 86400 seconds, got 0",
        ]),
        ("domains = 5\ntrunks = [5]\n[accounts]\nname = 'a'\n".to_owned(), &[
            "1:11: domains: expected an array, found an integer",
            "2:11: trunks[0]: expected a table, found an integer",
            "3:1: expected `[[accounts]]`, found `[accounts]`",
        ]),
        // several records that break rules
        ("[[domains]]\nname = 'a.example'\n[[trunks]]\nname = 't'\ndomain_name = 'a.example'\n[[trunks]]\nname = 'u'\ndomain_name = 'a.example'\nsecure = 1\n".to_owned(), &[
            "5:15: trunks[0].domain_name: the name `a.example` is taken by domain `a.example`",
            "8:15: trunks[1].domain_name: the name `a.example` is taken by domain `a.example`",
            "9:10: trunks[1].secure: expected a boolean, found an integer",
        ]),
        (format!("{lists}[[credential_lists]]\nname = 'other'\nrealm = 's'\n[[credential_lists]]\nname = 'third'\nrealm = 't'\n[[domains]]\nname = 'a.example'\ncredential_lists = ['staff', 'other']\nregistrations = ['third']\n"), &[
            "14:30: domains[0].credential_lists[1]: `other` has the realm `s`, and a list mapped before it has `r`",
            "15:18: domains[0].registrations[0]: `third` has the realm `t`, and a list mapped before it has `r`",
        ]),
        // several errors in a policy
        (policy("qop = 'none'\nnonce_lifetime = 0\nuserhash = 1\nallow_rfc2069 = true\nalgorithms = ['SHA-256', 'x', 5]\nfrom_must_mach = true\nguesses = { source = { burst = 0, refill_ms = 9999999 }, pair = { burst = 1 }, name = { burst = 1, refill_ms = 4000000 } }"), &[
            "5:7: domains[0].policy.qop: expected `auth`, `auth-int` or `auth,auth-int`, found `none`",
            "6:18: domains[0].policy.nonce_lifetime: nonce lifetime must be 1 to 86400 seconds, got 0",
            "7:12: domains[0].policy.userhash: expected a boolean, found an integer",
            "9:26: domains[0].policy.algorithms[1]: expected one of MD5, MD5-sess, SHA-256, SHA-256-sess, SHA-512-256, SHA-512-256-sess, found `x`",
            "9:31: domains[0].policy.algorithms[2]: expected a string, found an integer",
            "10:1: domains[0].policy.from_must_mach: unknown key `from_must_mach`, did you mean `from_must_match`?",
            "11:32: domains[0].policy.guesses.source.burst: expected an integer from 1 to 4294967295, found 0",
            "11:65: domains[0].policy.guesses.pair: missing key `refill_ms`",
            "11:112: domains[0].policy.guesses.name.refill_ms: guess refill interval must be at most 3600000 ms, got 4000000",
        ]),
        (policy("algorithms = ['x']\nguesses = { name = { burts = 1, refill_ms = 1 } }\nwrong_answer = 'challange'"), &[
            "5:15: domains[0].policy.algorithms[0]: expected one of MD5, MD5-sess, SHA-256, SHA-256-sess, SHA-512-256, SHA-512-256-sess, found `x`",
            "6:22: domains[0].policy.guesses.name.burts: unknown key `burts`, did you mean `burst`?",
            "7:16: domains[0].policy.wrong_answer: expected `reject` or `challenge`, found `challange`",
        ]),
        // several errors in addresses and credentials
        (in_addresses("'192.0.2.1/24', 'x', 5, { adress = '192.0.2.0/24' }, { address = '::/0', allow_all = 'yes' }, '0.0.0.0/0'"), &[
            "4:1: ip_access_control_lists[0].addresses[0]: host bits are set in `192.0.2.1/24`; the prefix is `192.0.2.0/24`",
            "4:17: ip_access_control_lists[0].addresses[1]: `x` is not an IP address or prefix",
            "4:22: ip_access_control_lists[0].addresses[2]: expected an address or prefix in quotes, or a table with `address` in it, found an integer",
            "4:27: ip_access_control_lists[0].addresses[3].adress: unknown key `adress`, did you mean `address`?",
            "4:86: ip_access_control_lists[0].addresses[4].allow_all: expected a boolean, found a string",
            "4:95: ip_access_control_lists[0].addresses[5]: `0.0.0.0/0` admits every address; if that is meant, write { address = \"0.0.0.0/0\", allow_all = true }",
        ]),
        (in_list("{ username = '', password = '' },\n{ username = 'b', ha1 = { md5 = 'x', sha-256 = 5, sha256 = 'y' } },\n{ username = 'c', ha1 = 5, disabled = 'no' },\n'd'"), &[
            "5:14: credential_lists[0].credentials[0].username: a user name must not be empty",
            "5:29: credential_lists[0].credentials[0].password: the password of a credential must not be empty",
            "6:48: credential_lists[0].credentials[1].ha1.sha-256: expected a string",
            "6:51: credential_lists[0].credentials[1].ha1.sha256: unknown key `sha256`, did you mean `sha-256`?",
            "7:25: credential_lists[0].credentials[2].ha1: expected a table, found an integer",
            "7:39: credential_lists[0].credentials[2].disabled: expected a boolean, found a string",
            "8:1: credential_lists[0].credentials[3]: expected a table, found a string",
        ]),
        (in_list("{ username = 'b', ha1 = { md5 = 'x', sha-256 = 'y' } }"), &[
            "5:33: credential_lists[0].credentials[0].ha1.md5: an MD5 hash is 32 hexadecimal digits",
            "5:48: credential_lists[0].credentials[0].ha1.sha-256: an SHA-256 hash is 64 hexadecimal digits",
        ]),
        ("[[accounts]]\nname = 'a'\ntoken_sha256 = 'abc'\nsid = 'AC1'\n".to_owned(), &[
            "3:16: accounts[0].token_sha256: a SHA-256 hash is 64 hexadecimal digits",
            "4:7: accounts[0].sid: `AC1` is not a SID of the form AC and 32 hexadecimal digits",
        ]),
        // columns are characters
        ("[[accounts]]\nfriendly_name = 'ä€𝄞' # ü\nname\t= 'a'\n[[trunks]]\nname = \"ä\"\nfriendly_name = 'x'\naccount = 'ö'\n".to_owned(), &["7:11: trunks[0].account: there is no account `ö`"]),
        ("\u{feff}relam = 5\r\nb = 1\r\n".to_owned(), &[
            "1:1: relam: unknown key `relam`, did you mean `realm`?",
            "2:1: b: unknown key `b`, expected `realm`, `edge`, `next_hop_allow`, `accounts`, `ip_access_control_lists`, `credential_lists`, `domains` or `trunks`",
        ]),
        // errors of the syntax, and others around them
        ("relm = 'r'\n[[accounts]]\nname = 'a\n[[accounts]]\nname = 5\n[[trunks]]\nname = t\nx = 1\n".to_owned(), &[
            "1:1: relm: unknown key `relm`, did you mean `realm`?",
            "3:10: accounts[0].name: unclosed string, expected `'`",
            "5:8: accounts[1].name: expected a string, found an integer",
            "7:8: trunks[0].name: expected a value; a string must be in quotes",
            "8:1: trunks[0].x: unknown key `x`, expected `name`, `domain_name`, `sid`, `friendly_name`, `account`, `secure`, `on_accept`, `ip_access_control_lists`, `credential_lists` or `policy`",
        ]),
        ("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n  'x',\n  '192.0.2.1'\n[[domains]]\nname = 'a.example'\nsecure = 1\n".to_owned(), &[
            "4:3: ip_access_control_lists[0].addresses[0]: `x` is not an IP address or prefix",
            "5:14: ip_access_control_lists[0].addresses: unclosed array, expected `]`",
            "8:10: domains[0].secure: expected a boolean, found an integer",
        ]),
        // behind a comment, and several of them
        ("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n  '192.0.2.1', # one\n[[domains]]\nname = 5\n".to_owned(), &["5:1: ip_access_control_lists[0].addresses: unclosed array, expected `]`"]),
        ("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n  '192.0.2.1',\n\n[[domains]]\nname = 'a.example'\nip_access_control_lists = ['l', 'm'\n[[trunks]]\nname = 5\n".to_owned(), &[
            "4:15: ip_access_control_lists[0].addresses: unclosed array, expected `]`",
            "8:36: domains[0].ip_access_control_lists: unclosed array, expected `]`",
            "10:8: trunks[0].name: expected a string, found an integer",
        ]),
        ("[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n  '192.0.2.1'\n  '192.0.2.2'\n]\n[[domains]]\nname = 'a.example'\nsecure = 1\nip_access_control_lists = ['l']\n".to_owned(), &[
            "5:3: ip_access_control_lists[0].addresses[1]: missing comma between array elements, expected `,`",
            "9:10: domains[0].secure: expected a boolean, found an integer",
        ]),
        (in_list("{ username = 'a', password 'p' },\n{ username = b, password = 'p' },\n{ username = 'a:', password = 'p' }"), &[
            "5:28: credential_lists[0].credentials[0].password: missing assignment between key-value pairs, expected `=`",
            "6:14: credential_lists[0].credentials[1].username: expected a value; a string must be in quotes",
            "7:14: credential_lists[0].credentials[2].username: ':' must not be in a user name",
        ]),
        ("[[domains]]\nname 'a.example'\nsecure = 1\n[[domains]]\nsid = 5\n[[trunks]]\nname = 't'\nacount = 'x'\ndomain_name = {\n  x = 1,\n  y = 2 z\n}\n".to_owned(), &[
            "2:6: key with no value, expected `=`",
            "3:10: domains[0].secure: expected a boolean, found an integer",
            "4:1: domains[1]: missing key `name`",
            "5:7: domains[1].sid: expected a string, found an integer",
            "8:1: trunks[0].acount: unknown key `acount`, did you mean `account`?",
            "11:7: trunks[0].domain_name: expected a value; a string must be in quotes",
        ]),
        ("realm = r\n[[credential_lists]]\nname = 'l'\n[[credential_lists]]\nname = 'm'\nrealm = s\n[[credential_lists.credentials]]\nusername = ''\npassword = p\n[[domains]]\nname = 'a.example'\ncredential_lists = ['l', 'm', 'n']\nsecure = 1\n".to_owned(), &[
            "1:9: realm: expected a value; a string must be in quotes",
            "6:9: credential_lists[1].realm: expected a value; a string must be in quotes",
            "8:12: credential_lists[1].credentials[0].username: a user name must not be empty",
            "9:12: credential_lists[1].credentials[0].password: expected a value; a string must be in quotes",
            "12:26: domains[0].credential_lists[1]: `m` has the realm `s`, and a list mapped before it has `r`",
            "12:31: domains[0].credential_lists[2]: there is no credential list `n`",
            "13:10: domains[0].secure: expected a boolean, found an integer",
        ]),
        ("[[ip_access_control_lists]]\nname = 'l'\naddresses = ['192.0.2.1' '192.0.2.2']\n[[ip_access_control_lists]]\nname = 'm'\naddresses = [{ address = '192.0.2.1', allow_all = 5 }, {\n[[domains]]\nname = 'a.example'\n".to_owned(), &[
            "3:26: ip_access_control_lists[0].addresses[1]: missing comma between array elements, expected `,`",
            "6:57: ip_access_control_lists[1].addresses[1]: unclosed inline table, expected `}`",
        ]),
        ("[[credential_lists]]\nname = 'l'\nrealm = 'r'\ncredentials = [\n  { username = 'a', password = 'p' },\n".to_owned(), &["5:38: credential_lists[0].credentials: unclosed array, expected `]`"]),
        ("accounts = 5\ntrunks = 1\n[[accounts]]\nname = 'a'\n[domains]\nx = 1\n".to_owned(), &[
            "1:12: accounts: expected an array, found an integer",
            "2:10: trunks: expected an array, found an integer",
            "3:3: duplicate key `accounts`",
            "5:1: expected `[[domains]]`, found `[domains]`",
        ]),
        ("[[domains]\nname = 'a b'\n[[domains]]\nname = 'c d'\n".to_owned(), &[
            "1:1: expected `[[domains]]`, found `[[domains]`",
            "2:8: domains[0].name: `a b` is not a host name",
            "4:8: domains[1].name: `c d` is not a host name",
        ]),
        // a string without an end is the only error of its value, and an array is no table
        ("realm = \"\"\"abc\n[[domains]]\nname = 5\n".to_owned(), &["4:1: realm: unclosed string, expected `\"`"]),
        (policy("guesses = [5]"), &["5:11: domains[0].policy.guesses: expected a table, found an array"]),
        ("[[domains]]\nname = 'a.example'\npolicy = [{ qop = 'auth' }]\n".to_owned(), &["3:10: domains[0].policy: expected a table, found an array"]),
        // a name that is close to a known one
        ("[[accounts]]\nname = 'acme'\n[[ip_access_control_lists]]\nname = 'office'\n[[domains]]\nname = 'a.example'\naccount = 'acm'\nip_access_control_lists = ['ofice']\n".to_owned(), &[
            "7:11: domains[0].account: there is no account `acm`, did you mean `acme`?",
            "8:28: domains[0].ip_access_control_lists[0]: there is no IP access control list `ofice`, did you mean `office`?",
        ]),
        // an error in the line after a header
        ("[[domains]]\n= 'x'\nname = 'a b'\n[[trunks]]\nname = 5\n".to_owned(), &[
            "2:1: domains[0]: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
            "3:8: domains[0].name: `a b` is not a host name",
            "5:8: trunks[0].name: expected a string, found an integer",
        ]),
        // values that other formats write in another way
        ("[[domains]]\nname = \u{201c}a.example\u{201d}\nsecure = True\npolicy.userhash = yes\nfriendly_name = 'a', \n".to_owned(), &[
            "2:8: domains[0].name: expected a value; quotes must be `\"` or `'`",
            "3:10: domains[0].secure: expected `true` or `false`, in lower case",
            "4:19: domains[0].policy: expected a value, such as `true`, `false` or a string in quotes",
            "5:20: domains[0].friendly_name: expected the end of the line",
        ]),
        ("[[domains]]\nname == 'a.example'\nname 'x'\n".to_owned(), &[
            "2:7: expected a value, found a second `=`",
            "3:6: key with no value, expected `=`",
        ]),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in table {
        let found = errors(&text);
        if found != expected {
            wrong.push(format!("{text}\nfound:    {found:#?}\nexpected: {expected:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_display_has_one_line_for_each_error() {
    let errors = parse("a = 1\nb =\n", &Options::new().file("edge.toml")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "edge.toml:1:1: a: unknown key `a`, expected `realm`, `edge`, `next_hop_allow`, `accounts`, \
         `ip_access_control_lists`, `credential_lists`, `domains` or `trunks`\n\
         edge.toml:2:4: expected a value"
    );
}

#[test]
fn no_error_shows_a_secret() {
    for secret in [
        "password = 12345678",
        "password = hunter22",
        "password = 'hunter22",
        "password = \"hunter22",
        "password 'hunter22'",
        "password . 'hunter22'",
        "password = , 'hunter22'",
        "password = , hunter22 = 1",
        "password = x, hunter22 = 1",
        "'hunter22'",
        "hunter22",
        "password = 'hunter\n22'",
        "password =\n'hunter22', hunter22",
        "password = [\"hunter22\"]",
        "password = { hunter22 = 1 }",
        "password.hunter22 = 1",
        "password = 'hunter22', ha1 = {}",
        "password = 'hunter22', password = 'hunter22'",
        "ha1 = { md5 = 'hunter22' }",
        "ha1 = { md5 = 12345678 }",
        "ha1 = 'hunter22'",
        "password = 12345678.5",
        "passwrod = 'hunter22'",
        "sid = 5, password = 'hunter22'",
    ] {
        let text = format!(
            "realm = 'r'\n[[credential_lists]]\nname = 'l'\n\
             credentials = [{{ username = 'u', {secret} }}]"
        );
        let found = errors(&text);
        assert!(!found.is_empty(), "{text}");
        for error in found {
            assert!(!error.contains("hunter") && !error.contains("12345678"), "{text}\n{error}");
            assert!(error.starts_with("4:") || error.starts_with("5:"), "{text}\n{error}");
        }
    }
    for account in
        ["token_sha256 = 'hunter22'", "token_sha256 = 'hunter22", "token_sha256 = hunter22"]
    {
        let found = errors(&format!("[[accounts]]\nname = 'a'\n{account}\n"));
        assert!(!found.is_empty() && !found.join("").contains("hunter"), "{found:?}");
    }
}

/// Checks properties of the errors in any variant of the example: order, place, no secrets.
fn check(text: &str, errors: &ConfigErrors) {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = (0, 0);
    for error in errors.iter() {
        let place = (error.line().unwrap(), error.column().unwrap());
        assert!(place >= last, "not in the order of the text: {errors}");
        last = place;
        let length = lines.get(place.0 - 1).map(|line| line.chars().count());
        assert!(length.is_some_and(|length| place.1 <= length + 1), "outside the text: {error}");
        let shown = error.to_string();
        assert!(!shown.contains('\n'), "{shown}");
        for secret in SECRETS {
            // parts of a secret too, since the change may be in its middle
            let parts = secret.as_bytes().windows(6).map(|part| str::from_utf8(part).unwrap());
            parts.for_each(|part| assert!(!shown.contains(part), "{shown}\n{text}"));
        }
    }
}

#[test]
fn no_error_of_a_corrupted_line_shows_a_secret() {
    assert!(parse(EXAMPLE, &Options::new()).is_ok());
    let section =
        EXAMPLE.find("[[credential_lists]]").unwrap()..EXAMPLE.find("[[domains]]").unwrap();
    let text = EXAMPLE[section].replace("account = \"acme\"", "realm = \"r\"");
    assert!(parse(&text, &Options::new()).is_ok());
    let insertions =
        ["", "\"", "'", "\n", "=", ".", ",", "#", "\\", " ", "[", "]", "{", "}", "\"\"\"", "\0"];
    for offset in text.find("credentials").unwrap()..text.trim_end().len() {
        for inserted in insertions {
            for deleted in 0..2 {
                let text = [&text[..offset], inserted, &text[offset + deleted..]].concat();
                if let Err(errors) = parse(&text, &Options::new()) {
                    check(&text, &errors);
                }
            }
        }
    }
}

#[test]
fn a_header_with_other_white_space_has_its_error_inside_the_line() {
    for space in ['\u{b}', '\u{c}', '\u{85}', '\u{a0}', '\u{2028}'] {
        for header in ["[[accounts", "[accounts]", "[[edge]]", "[[accounts]]"] {
            let text = format!("{header}{space}\nname = 'a'\n");
            check(&text, &parse(&text, &Options::new()).unwrap_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn errors_of_a_changed_file_are_inside_it_and_show_no_secret(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..4, prop::collection::vec(any::<u8>(), 0..3)),
            1..4,
        )
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for (index, deleted, inserted) in changes {
            let from = index.index(bytes.len());
            let to = (from + deleted).min(bytes.len());
            bytes.splice(from..to, inserted);
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(errors) = parse(&text, &Options::new()) {
            check(&text, &errors);
        }
    }

    #[test]
    fn errors_of_a_file_with_moved_lines_are_inside_it(
        lines in prop::collection::vec(any::<prop::sample::Index>(), 1..30)
    ) {
        let all: Vec<&str> = EXAMPLE.lines().collect();
        let text: String = lines.iter().map(|line| format!("{}\n", line.get(&all))).collect();
        if let Err(errors) = parse(&text, &Options::new()) {
            check(&text, &errors);
        }
    }
}
