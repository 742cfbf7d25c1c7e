//! `sip-authz import` and `sip-authz export`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::http::Http;
use crate::support::{Caller, Request, Server, file, outcome, run, status};

/// MD5(alice:sip.example.com:Circle Of Life) and so on.
fn hash(text: &str) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(text))
}

pub(crate) fn empty() -> Server {
    Server::start(&["--on-accept", "ok"])
}

/// Runs `import`; returns the exit code, stdout and stderr, with paths reduced to the file name.
pub(crate) fn import(
    server: &Server,
    name: &str,
    text: &str,
    args: &[&str],
) -> (i32, String, String) {
    let path = file(name, text);
    let path = path.to_str().unwrap();
    let api = format!("http://{}", server.api);
    let (code, stdout, stderr) = outcome(&run(&[&["import", path, "--api", &api], args].concat()));
    (code.unwrap(), stdout, stderr.replace(path, name))
}

pub(crate) fn account(server: &Server) -> String {
    Http::admin(server).create("/2010-04-01/Accounts.json", &[("FriendlyName", "Acme")])
}

pub(crate) fn done(new: usize, changed: usize, same: usize) -> (i32, String, String) {
    let all = new + changed + same;
    let line = format!("imported {all} records: {new} new, {changed} changed, {same} unchanged\n");
    (0, line, String::new())
}

pub(crate) fn export(server: &Server) -> Value {
    Http::admin(server).get("/admin/export?secrets=true").1
}

#[test]
fn a_subscriber_table_lets_its_users_in() {
    let server = empty();
    let sid = account(&server);
    let owned = ["--account", sid.as_str()];
    let ha1 = hash("alice:sip.example.com:Circle Of Life");
    let ha1b = hash("alice@sip.example.com:sip.example.com:Circle Of Life");
    // as `mysql -B` prints it
    let table = format!(
        "id\tusername\tdomain\tpassword\tha1\tha1b\temail_address\n\
         1\talice\tsip.example.com\t\t{ha1}\t{ha1b}\tNULL\n\
         2\tbob\tsip.example.com\tback\\\\slash\t\t\tNULL\n\
         3\talice\tother.example\tx\t\t\tb@c\n"
    );
    assert_eq!(import(&server, "subscriber.tsv", &table, &owned), done(5, 0, 0));
    assert_eq!(import(&server, "subscriber.tsv", &table, &owned), done(0, 0, 5));
    let with = [&owned[..], &["--with-ha1b"]].concat();
    assert_eq!(import(&server, "subscriber.tsv", &table, &with), done(3, 0, 5));

    let http = Http::admin(&server);
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let (_, lists) = http.get(&format!("{sip}/CredentialLists.json"));
    let list = lists["credential_lists"]
        .as_array()
        .unwrap()
        .iter()
        .find(|list| list["friendly_name"] == "sip.example.com");
    let list = list.unwrap()["sid"].as_str().unwrap();
    let domain = http.create(&format!("{sip}/Domains.json"), &[("DomainName", "sip.example.com")]);
    let mappings = format!("{sip}/Domains/{domain}/Auth/Calls/CredentialListMappings.json");
    http.create(&mappings, &[("CredentialListSid", list)]);
    let caller = Caller::new(&server);
    let call = |user: &str, password: &str| {
        let invite = Request::invite("sip:100@sip.example.com");
        let challenge = caller.ask(&invite.text());
        status(&caller.ask(&invite.authorized(&challenge, user, password).text()))
    };
    assert_eq!(call("alice", "Circle Of Life"), 200);
    assert_eq!(call("alice@sip.example.com", "Circle Of Life"), 200);
    assert_eq!(call("bob", "back\\slash"), 200);
    assert_eq!(call("bob", "x"), 403);

    // OpenSIPS 3, and hashes of another realm
    let sha = "a".repeat(64);
    let table = format!(
        "\u{feff}\"username\";\"domain\";\"ha1\";\"ha1_sha256\";\"ha1_sha512t256\"\r\n\
         \"carol\";\"\";\"{ha1}\";\"{sha}\";\"{sha}\"\r\n"
    );
    let with = [&owned[..], &["--realm", "pbx"]].concat();
    assert_eq!(import(&server, "opensips.csv", &table, &with), done(2, 0, 0));
    let all = export(&server);
    let lists = all["credential_lists"].as_array().unwrap();
    let list = lists.iter().find(|list| list["realm"] == "pbx").unwrap();
    let users = all["credentials"].as_array().unwrap();
    let carol = users.iter().find(|user| user["username"] == "carol").unwrap();
    assert_eq!(carol["credential_list_sid"], list["sid"]);
    assert_eq!(carol["ha1"]["sha-512-256"], sha.as_str());
}

#[test]
fn an_address_table_becomes_a_list_for_each_group() {
    let server = empty();
    let sid = account(&server);
    let owned = ["--account", sid.as_str()];
    let table = "id,grp,ip_addr,mask,port,tag\n1,1,127.0.0.1,32,0,NULL\n2,1,192.0.2.0,24,0,\"gw, 1\"\n\
                 3,7,2001:db8::1,128,0,\n4,1,127.0.0.1,32,0,again\n";
    let (code, stdout, stderr) = import(&server, "address.csv", table, &owned);
    assert_eq!((code, stdout), (0, done(5, 0, 0).1));
    assert_eq!(
        stderr,
        "sip-authz: warning: address.csv:5: ip_addr: `127.0.0.1/32` is in group 1 twice, first in \
         line 2; this row is skipped\n"
    );
    let all = export(&server);
    let names = |key: &str| {
        let entries = all[key].as_array().unwrap().iter();
        let mut names: Vec<_> = entries.map(|e| e["friendly_name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("ip_access_control_lists"), ["group 1", "group 7"]);
    assert_eq!(names("ip_addresses"), ["", "", "gw, 1"]);

    // OpenSIPS, whose rows can be limited to a port or transport
    let table = "id,grp,ip,mask,port,proto,pattern,context_info\n1,1,198.51.100.1,32,5060,udp,,x\n";
    let (code, _, stderr) = import(&server, "opensips.csv", table, &owned);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("sip-authz: opensips.csv:2: port: limited to `5060`"), "{stderr}");
    let with = [&owned[..], &["--widen"]].concat();
    assert_eq!(import(&server, "opensips.csv", table, &with), done(1, 0, 1));
}

#[test]
fn netmasks_are_imported_and_repeated_prefixes_are_warnings() {
    let server = empty();
    let sid = account(&server);
    let owned = ["--account", sid.as_str()];
    let prefixes = || {
        let all = export(&server);
        let entries = all["ip_addresses"].as_array().unwrap().iter();
        let mut prefixes: Vec<_> =
            entries.map(|entry| entry["address"].as_str().unwrap().to_owned()).collect();
        prefixes.sort_unstable();
        prefixes
    };
    let table =
        "grp,ip_addr,mask\n1,10.0.0.0,255.0.0.0\n1,192.0.2.0/255.255.255.0,\n\n1,10.0.0.0,8\n";
    let (code, stdout, stderr) = import(&server, "a.csv", table, &owned);
    assert_eq!((code, stdout), (0, done(3, 0, 0).1), "{stderr}");
    let again = "`10.0.0.0/8` is in group 1 twice, first in line 2; this row is skipped";
    assert_eq!(stderr, format!("sip-authz: warning: a.csv:5: ip_addr: {again}\n"));
    assert_eq!(prefixes(), ["10.0.0.0/8", "192.0.2.0/24"]);

    let text = "[[ip_access_control_lists]]\nname = 'l'\naddresses = [\n'198.51.100.0/24',\n\
                '198.51.100.0/255.255.255.0',\n]\n";
    let (code, stdout, stderr) = import(&server, "edge.toml", text, &owned);
    assert_eq!((code, stdout), (0, done(2, 0, 0).1), "{stderr}");
    assert_eq!(
        stderr,
        "sip-authz: warning: edge.toml:5:1: ip_access_control_lists[0].addresses[1]: \
         `198.51.100.0/24` is in the list twice, first in line 4\n"
    );
    // a long list does not flood the terminal
    let many = text.replace("'198.51.100.0/24',\n", &"'198.51.100.0/24',\n".repeat(30));
    let (code, _, stderr) = import(&server, "edge.toml", &many, &owned);
    assert_eq!((code, stderr.lines().count()), (0, 21), "{stderr}");
    assert!(stderr.ends_with("sip-authz: warning: and 10 more\n"), "{stderr}");

    let (list, entry) = (format!("AL{}", "7".repeat(32)), |n: u8, address: &str| {
        let list = "7".repeat(32);
        format!(
            r#"{{"sid":"IP{:032}","ip_access_control_list_sid":"AL{list}","address":"{address}"}}"#,
            n
        )
    });
    let text = format!(
        r#"{{"format":"sip-authz/1","ip_access_control_lists":[{{"sid":"{list}","account_sid":"{sid}"}}],"ip_addresses":[{},{},{}]}}"#,
        entry(1, "203.0.113.0/24"),
        entry(2, "203.0.113.7"),
        entry(3, "203.0.113.0/255.255.255.0"),
    );
    let (code, stdout, stderr) = import(&server, "all.json", &text, &[]);
    assert_eq!((code, stdout), (0, done(4, 0, 0).1), "{stderr}");
    assert_eq!(
        stderr,
        "sip-authz: warning: all.json: ip_addresses[2]: `203.0.113.0/24` is in the list twice, \
         first in ip_addresses[0]\n"
    );
}

#[test]
fn a_configuration_file_is_imported_with_warnings() {
    let server = empty();
    let text = "realm = 'r'\n[[accounts]]\nname = 'acme'\n[[credential_lists]]\nname = 'staff'\n\
                credentials = [{ username = 'u', ha1 = { md5 = '939e7578ed9e3c518a452acee763bce9' } }]\n\
                [[domains]]\nname = 'a.example'\ncredential_lists = ['staff']\n\
                policy = { algorithms = 'md5-first' }\n";
    let (code, stdout, stderr) = import(&server, "edge.toml", text, &["--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "would import 6 records: 6 new, 0 changed, 0 unchanged\n");
    assert!(export(&server)["accounts"].is_null(), "a dry run wrote something");

    let (code, stdout, stderr) = import(&server, "edge.toml", text, &[]);
    assert_eq!((code, stdout), (0, done(6, 0, 0).1));
    assert!(
        stderr.starts_with("sip-authz: warning: SD")
            && stderr.contains("(a.example) offers SHA-256, and 1 users of CL"),
        "{stderr}"
    );
    // also if a later import changes only the list
    let more =
        text.replace("credentials = [", "credentials = [{ username = 'v', password = 'w' }, ");
    let (_, stdout, stderr) = import(&server, "edge.toml", &more, &[]);
    assert_eq!(stdout, done(1, 0, 6).1);
    assert!(stderr.contains("and 1 users of CL"), "{stderr}");

    // for an existing account
    let sid = account(&server);
    let text = text.replace("[[accounts]]\nname = 'acme'\n", "").replace("a.example", "b.example");
    let (code, stdout, _) = import(&server, "edge.toml", &text, &["--account", &sid]);
    assert_eq!((code, stdout), (0, done(5, 0, 0).1));
    // an error of the server names the records as the file does
    let text = text.replace("b.example", "a.example");
    let before = export(&server);
    let (code, stdout, stderr) = import(&server, "edge.toml", &text, &["--account", &sid]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("sip-authz: edge.toml: domain SD"), "{stderr}");
    assert!(stderr.contains("(a.example): the name `a.example` is taken by SD"), "{stderr}");
    assert_eq!(export(&server), before);
}

#[test]
fn an_export_gives_the_same_records_again() {
    let one = Server::demo();
    let line = one.stdout.wait_for("curl -u ");
    let (sid, token) = line.split_whitespace().nth(2).unwrap().split_once(':').unwrap();
    let http = Http::new(&one, sid, token);
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let domain =
        [("DomainName", "a.example"), ("VoiceUrl", "http://b.example/"), ("Secure", "true")];
    let domain = http.create(&format!("{sip}/Domains.json"), &domain);
    http.post(&format!("{sip}/Domains/{domain}/Policy.json"), &[("NonceLifetime", "77")]);
    http.create("/v1/Trunks", &[("FriendlyName", "t"), ("TransferMode", "sip-only")]);
    let role = [("FriendlyName", "r"), ("Type", "channel"), ("Permission", "sendMessage")];
    http.create(&format!("/v2/Services/IS{}/Roles", "0".repeat(32)), &role);
    let list = http.create(&format!("{sip}/IpAccessControlLists.json"), &[("FriendlyName", "l")]);
    let all = [
        ("FriendlyName", "all"),
        ("IpAddress", "0.0.0.0"),
        ("CidrPrefixLength", "0"),
        ("AllowAll", "true"),
    ];
    http.create(&format!("{sip}/IpAccessControlLists/{list}/IpAddresses.json"), &all);

    let api = format!("http://{}", one.api);
    let path = file("export.json", "");
    let name = path.to_str().unwrap();
    let (code, stdout, stderr) =
        outcome(&run(&["export", "-o", name, "--with-secrets", "--api", &api]));
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let records: Value = serde_json::from_str(&text).unwrap();
    for key in
        ["accounts", "ip_addresses", "credentials", "policies", "trunks", "roles", "mappings"]
    {
        assert!(!records[key].as_array().unwrap().is_empty(), "{key}");
    }

    let other = empty();
    let (code, _, stderr) = import(&other, "export.json", &text, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(export(&other), records);
    assert_eq!(export(&one), records);
    // the account signs in with the token it had
    assert_eq!(Http::new(&other, sid, token).get(&format!("{sip}/Domains.json")).0, 200);

    // an export without secrets has no hashes, and importing it changes nothing
    let (code, stdout, _) = outcome(&run(&["export", "--api", &api]));
    assert_eq!(code, Some(0));
    assert!(!stdout.contains("ha1") && !stdout.contains("token_sha256"), "{stdout}");
    let (code, line, stderr) = import(&other, "export.json", &stdout, &[]);
    assert_eq!((code, line.contains(" 0 new, 0 changed, ")), (0, true), "{line} {stderr}");
    assert_eq!(export(&other), records);
    // but new users need a hash
    let (code, _, stderr) = import(&empty(), "export.json", &stdout, &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("a new user needs a password or ha1"), "{stderr}");
}

#[test]
fn each_error_names_file_line_and_column() {
    let server = empty();
    let sid = account(&server);
    let before = export(&server);
    let owned = ["--account", sid.as_str()];
    let md5 = "939e7578ed9e3c518a452acee763bce9";
    let users = "username,domain,ha1\n";
    let addresses = "grp,ip_addr,mask,port\n";
    let of_empty = hash("a:d:");
    let long = format!("{}@d", "u".repeat(64));
    let json =
        |entry: &str| format!("{{\"format\": \"sip-authz/1\",\n\"credentials\": [\n{entry}]}}");
    let user = format!("\"sid\": \"CR{0}\", \"credential_list_sid\": \"CL{0}\"", "0".repeat(32));
    let mut wrong = Vec::new();
    for (name, text, args, expected) in [
        (
            "s.csv",
            format!("{users}a,d,{md5}\nb,d,123\n"),
            &owned[..],
            "s.csv:3: ha1: an MD5 hash is 32 hexadecimal digits",
        ),
        (
            "s.csv",
            format!("{users}a,d,\n"),
            &owned,
            "s.csv:2: ha1: expected a hash, or a value in password",
        ),
        (
            "s.csv",
            format!("{users}a,d,{of_empty}\n"),
            &owned,
            "s.csv:2: ha1: the password of a credential must not be empty",
        ),
        (
            "s.csv",
            format!("{users}NULL,d,{md5}\n"),
            &owned,
            "s.csv:2: username: expected a user name",
        ),
        (
            "s.csv",
            format!("{users}a:b,d,{md5}\n"),
            &owned,
            "s.csv:2: username: ':' must not be in a user name",
        ),
        (
            "s.csv",
            format!("{users}a,,{md5}\n"),
            &owned,
            "s.csv:2: domain: expected a domain; --realm names the realm of the hashes instead",
        ),
        (
            "s.csv",
            format!("{users}a,d,{md5}\nb,d,{md5}\n\na,d,{md5}\n"),
            &owned,
            "s.csv:5: username: duplicate user `a` in domain `d`, first in line 2",
        ),
        (
            "s.csv",
            format!("{users}a,d\n"),
            &owned,
            "s.csv:2: expected 3 fields as in the first line, found 2",
        ),
        (
            "s.csv",
            format!("username,ha1\na,{md5}\n"),
            &owned,
            "s.csv:1: expected a first line of column names with `domain`",
        ),
        ("s.csv", users.to_owned(), &owned, "s.csv: expected at least one row, found none"),
        (
            "s.csv",
            format!("username,domain,ha1,ha1b\n{},d,{md5},{md5}\n", "u".repeat(64)),
            &["--account", &sid, "--with-ha1b"],
            &format!(
                "s.csv:2: username: a user name has at most 64 bytes, this one has {}",
                long.len()
            ),
        ),
        (
            "s.csv",
            "1,alice,example.com\n".to_owned(),
            &owned,
            "s.csv: unknown format: expected a name ending in .toml or .json, or a first line with the columns of the table `subscriber` (username) or `address` (ip_addr, or grp and ip); use --format",
        ),
        (
            "a.csv",
            format!("{addresses}1,192.0.2.1,24,0\n"),
            &owned,
            "a.csv:2: mask: host bits are set in `192.0.2.1/24`; the prefix is `192.0.2.0/24`",
        ),
        ("a.csv", format!("{addresses}1,192.0.2.1,33,0\n"), &owned, "a.csv:2: mask: "),
        (
            "a.csv",
            format!("{addresses}1,192.0.2.0,+24,0\n"),
            &owned,
            "a.csv:2: mask: expected 0 to 32 bits or a netmask, got `+24`",
        ),
        (
            "a.csv",
            format!("{addresses}1,2001:db8::,255.0.0.0,0\n"),
            &owned,
            "a.csv:2: mask: expected 0 to 128 bits, got `255.0.0.0`",
        ),
        (
            "a.csv",
            format!("{addresses}1,10.0.0.0,0.255.255.255,0\n"),
            &owned,
            "a.csv:2: mask: the netmask of `10.0.0.0/0.255.255.255` is not contiguous; expected ones and then zeros, such as `255.255.255.0`",
        ),
        (
            "a.csv",
            format!("{addresses}1,10.1.0.0,255.0.0.0,0\n"),
            &owned,
            "a.csv:2: mask: host bits are set in `10.1.0.0/8`; the prefix is `10.0.0.0/8`",
        ),
        (
            "a.csv",
            format!("{addresses}1,10.0.0.0/8,32,0\n"),
            &owned,
            "a.csv:2: ip_addr: expected an IP address, got `10.0.0.0/8` (no host names)",
        ),
        (
            "a.csv",
            format!("{addresses}1,gw.example,32,0\n"),
            &owned,
            "a.csv:2: ip_addr: expected an IP address, got `gw.example` (no host names)",
        ),
        (
            "a.csv",
            format!("{addresses}x,192.0.2.1,32,0\n"),
            &owned,
            "a.csv:2: grp: expected a number, got `x`",
        ),
        (
            "a.csv",
            format!("{addresses}1,0.0.0.0,0,0\n"),
            &owned,
            "a.csv:2: mask: 0 admits every address; allow it with --allow-all",
        ),
        (
            "e.toml",
            "[[domains]]\nname = 'a b'\n".to_owned(),
            &[],
            "e.toml:2:8: domains[0].name: `a b` is not a host name",
        ),
        (
            "e.toml",
            "[[accounts]]\nname = 'a'\n".to_owned(),
            &owned,
            "e.toml:2:8: accounts[0].name: expected no accounts in the file, since an owner is given for all records",
        ),
        (
            "e.json",
            json(&format!("{{{user}, \"username\": \"a:b\"}}")),
            &[],
            "e.json:3: credentials[0].username: ':' must not be in a user name",
        ),
        (
            "e.json",
            json(&format!("{{{user}, \"username\": \"a\", \"ha1\": {{\"md5\": 123456}}}}")),
            &[],
            "e.json:3: credentials[0].ha1.md5: expected a string",
        ),
        (
            "e.json",
            json(&format!("{{{user}, \"usernam\": \"a\"}}")),
            &[],
            "e.json:3: credentials[0].usernam: unknown field `usernam`, expected one of ",
        ),
        (
            "e.json",
            json(&format!("{{{user}, \"username\": \"a\", \"password\": \"x\", \"ha1\": {{}}}}")),
            &[],
            "e.json: credentials[0]: a credential has either a password or ha1, not both",
        ),
        (
            "e.json",
            "{\"format\": \"sip-authz/2\"}".to_owned(),
            &[],
            "e.json:1: format: unknown variant `sip-authz/2`, expected `sip-authz/1`",
        ),
        ("e.json", "{".to_owned(), &[], "e.json:1: EOF while parsing an object"),
        (
            "a.csv",
            addresses.to_owned(),
            &[],
            "--account SID is required: it names the owner of the table's records",
        ),
        (
            "e.json",
            "{\"format\": \"sip-authz/1\"}".to_owned(),
            &["--with-ha1b"],
            "--with-ha1b is only for subscriber tables",
        ),
    ] {
        let (code, stdout, stderr) = import(&server, name, &text, args);
        let found = stderr.strip_prefix("sip-authz: ").unwrap_or(&stderr).trim_end();
        let fits = found == expected || (expected.ends_with(' ') && found.starts_with(expected));
        if (code, stdout.as_str(), fits) != (2, "", true) {
            wrong.push(format!("{text}\nfound:    {code} {found}{stdout}\nexpected: {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(export(&server), before);

    // the server checks the rest, and refuses the import as a whole
    let text = json(&format!("{{{user}, \"username\": \"a\", \"password\": \"x\"}}"));
    let (code, _, stderr) = import(&server, "e.json", &text, &[]);
    assert_eq!(code, 1);
    let zero = "0".repeat(32);
    assert_eq!(
        stderr,
        format!("sip-authz: e.json: credential CR{zero}: credential list CL{zero} not found\n")
    );
}

#[test]
fn only_the_admin_can_import_and_export() {
    let server = empty();
    let http = Http::admin(&server);
    let (_, account) = http.post("/2010-04-01/Accounts.json", &[("FriendlyName", "a")]);
    let (sid, token) = (account["sid"].as_str().unwrap(), account["auth_token"].as_str().unwrap());
    for (who, expected) in
        [(Http::new(&server, sid, token), 403), (Http::new(&server, sid, "x"), 401)]
    {
        assert_eq!(who.get("/admin/export").0, expected);
        assert_eq!(who.post_json("/admin/import", "{\"format\":\"sip-authz/1\"}").0, expected);
    }
    for (path, body, expected) in [
        ("/admin/import", "{\"format\":\"sip-authz/1\"}", 200),
        ("/admin/import?dry_run=true", "{\"format\":\"sip-authz/1\"}", 200),
        ("/admin/import?dry_run=1", "{\"format\":\"sip-authz/1\"}", 400),
        ("/admin/import?secrets=true", "{\"format\":\"sip-authz/1\"}", 400),
        ("/admin/import", "{}", 400),
        ("/admin/import", "[", 400),
    ] {
        let (status, body) = http.post_json(path, body);
        assert_eq!(status, expected, "{path} {body}");
    }
    assert_eq!(http.post("/admin/import", &[("a", "b")]).0, 415);
    assert_eq!(http.get("/admin/import").0, 405);
}

#[test]
fn an_import_enables_no_disabled_user_and_opens_no_closed_account() {
    let server = empty();
    let (sid, http) = (account(&server), Http::admin(&server));
    let owned = ["--account", sid.as_str()];
    let table = "username,domain,password\nalice,sip.example.com,Circle Of Life\n";
    assert_eq!(import(&server, "subscriber.csv", table, &owned), done(2, 0, 0));
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let (_, lists) = http.get(&format!("{sip}/CredentialLists.json"));
    let list = lists["credential_lists"][0]["sid"].as_str().unwrap();
    let users = format!("{sip}/CredentialLists/{list}/Credentials");
    let (_, credentials) = http.get(&format!("{users}.json"));
    let alice = credentials["credentials"][0]["sid"].as_str().unwrap();
    assert_eq!(http.post(&format!("{users}/{alice}.json"), &[("Disabled", "true")]).0, 200);

    assert_eq!(import(&server, "subscriber.csv", table, &owned), done(0, 0, 2));
    assert_eq!(export(&server)["credentials"][0]["disabled"], true);
    let enabled = export(&server).to_string().replace(r#""disabled":true"#, r#""disabled":false"#);
    assert_eq!(import(&server, "records.json", &enabled, &[]), done(0, 1, 2));
    assert!(export(&server)["credentials"][0].get("disabled").is_none());

    let open = export(&server).to_string();
    let path = format!("/2010-04-01/Accounts/{sid}.json");
    assert_eq!(http.post(&path, &[("Status", "closed")]).0, 200);
    let (code, _, stderr) = import(&server, "records.json", &open, &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("a closed account cannot be opened again"), "{stderr}");
    assert_eq!(export(&server)["accounts"][0]["status"], "closed");
}
