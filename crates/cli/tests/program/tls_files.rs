//! Certificates and keys that cannot be used: the message at the start and at a reload.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use crate::support::{PATIENCE, Server, file, outcome, run};

fn openssl(folder: &Path, args: &str) {
    let made = Command::new("openssl").args(args.split(' ')).current_dir(folder).output();
    let made = made.expect("openssl");
    assert!(made.status.success(), "{args}: {made:?}");
}

/// A folder with two certificates and their keys, in several formats.
fn folder() -> PathBuf {
    let folder = file("edge.toml", "").parent().unwrap().to_owned();
    for name in ["edge", "other"] {
        openssl(
            &folder,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
                 -out {name}.pem -keyout {name}.key"
            ),
        );
    }
    for args in [
        "pkey -in edge.key -aes256 -passout pass:secret -out pkcs8-encrypted.key",
        "ec -in edge.key -aes256 -passout pass:secret -out sec1-encrypted.key",
        "pkey -in edge.key -outform der -out der.key",
        "ec -in edge.key -outform der -out sec1-der.key",
        "x509 -in edge.pem -outform der -out der.pem",
        "pkcs12 -export -in edge.pem -inkey edge.key -passout pass: -out both.p12",
        "pkey -in edge.key -pubout -out public.key",
        "req -new -key edge.key -subj /CN=edge -out request.pem",
        "genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out short.key",
    ] {
        openssl(&folder, args);
    }
    let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).unwrap();
    let (pem, key) = (read(&folder, "edge.pem"), read(&folder, "edge.key"));
    write("empty", b" \n");
    write("truncated.pem", &pem.as_bytes()[..pem.len() - 60]);
    write("truncated.key", &key.as_bytes()[..key.len() - 40]);
    write("no-base64.pem", pem.replacen("MII", "M!I", 1).as_bytes());
    write("damaged.pem", pem.replacen("MII", "AAA", 1).as_bytes());
    write("damaged.key", key.replacen("MI", "AA", 1).as_bytes());
    write("text", b"-- no key --\n");
    write("reversed.pem", [read(&folder, "other.pem"), pem.clone()].concat().as_bytes());
    write("marked.pem", format!("\u{feff}{}", pem.replace('\n', "\r\n")).as_bytes());
    folder
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

const CERTIFICATE: &str = "expected a certificate in PEM (`-----BEGIN CERTIFICATE-----`)";
const KEY: &str = "expected a private key in PEM (`-----BEGIN PRIVATE KEY-----`)";
const ENCRYPTED: &str = "the private key is encrypted, and the program cannot ask for its passphrase; \
                         write it without one: `openssl pkey -in FILE -out NEW`";

/// Pairs of certificate and key, each with the lines of the error.
fn cases() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let one = |line: &str| vec![line.to_owned()];
    let pem = |file: &str, why: &str| vec![format!("CERT {file}: {why}")];
    let key = |file: &str, why: &str| vec![format!("KEY {file}: {why}")];
    let swapped = "are certificate and key swapped?";
    let der = |wanted: &str, command: &str| {
        format!(
            "{wanted}, found DER; convert it: `openssl {command} -inform der -in FILE -out NEW`"
        )
    };
    let pkcs12 = |wanted: &str| {
        format!(
            "{wanted}, found a PKCS #12 file; convert it: `openssl pkcs12 -in FILE -out NEW -nodes`"
        )
    };
    let unsupported = "the private key is damaged or of another type; expected RSA with 2,048 bits or \
                       more, ECDSA with P-256 or P-384, or Ed25519";
    vec![
        (
            "edge.pem",
            "other.key",
            one("KEY other.key: the key does not belong to the certificate in edge.pem"),
        ),
        (
            "reversed.pem",
            "edge.key",
            one(
                "KEY edge.key: the key belongs to a later certificate of reversed.pem; put that one first",
            ),
        ),
        ("edge.pem", "pkcs8-encrypted.key", key("pkcs8-encrypted.key", ENCRYPTED)),
        ("edge.pem", "sec1-encrypted.key", key("sec1-encrypted.key", ENCRYPTED)),
        ("edge.pem", "der.key", key("der.key", &der(KEY, "pkey"))),
        ("edge.pem", "sec1-der.key", key("sec1-der.key", &der(KEY, "pkey"))),
        ("der.pem", "edge.key", pem("der.pem", &der(CERTIFICATE, "x509"))),
        (
            "both.p12",
            "both.p12",
            [pem("both.p12", &pkcs12(CERTIFICATE)), key("both.p12", &pkcs12(KEY))].concat(),
        ),
        (
            "truncated.pem",
            "edge.key",
            pem(
                "truncated.pem",
                "the file is truncated: the line `-----END CERTIFICATE-----` is missing",
            ),
        ),
        (
            "edge.pem",
            "truncated.key",
            key(
                "truncated.key",
                "the file is truncated: the line `-----END PRIVATE KEY-----` is missing",
            ),
        ),
        (
            "no-base64.pem",
            "edge.key",
            pem(
                "no-base64.pem",
                "the text between `-----BEGIN` and `-----END` is damaged: it is not base64",
            ),
        ),
        ("damaged.pem", "edge.key", pem("damaged.pem", "the certificate is damaged")),
        ("edge.pem", "damaged.key", key("damaged.key", unsupported)),
        ("edge.pem", "short.key", key("short.key", unsupported)),
        (
            "empty",
            "empty",
            [
                pem("empty", &format!("the file is empty, {CERTIFICATE}")),
                key("empty", &format!("the file is empty, {KEY}")),
            ]
            .concat(),
        ),
        (
            "text",
            "text",
            [
                pem("text", &format!("{CERTIFICATE}, found none")),
                key("text", &format!("{KEY}, found none")),
            ]
            .concat(),
        ),
        (
            "edge.key",
            "edge.pem",
            [
                pem("edge.key", &format!("{CERTIFICATE}, found a private key; {swapped}")),
                key("edge.pem", &format!("{KEY}, found a certificate; {swapped}")),
            ]
            .concat(),
        ),
        (
            "request.pem",
            "public.key",
            [
                pem(
                    "request.pem",
                    &format!("{CERTIFICATE}, found `-----BEGIN CERTIFICATE REQUEST-----`"),
                ),
                key("public.key", &format!("{KEY}, found a public key")),
            ]
            .concat(),
        ),
        (
            "none.pem",
            "none.key",
            [pem("none.pem", "no such file"), key("none.key", "no such file")].concat(),
        ),
        (".", "edge.key", pem(".", "expected a file, found a directory")),
    ]
}

#[test]
fn each_unusable_file_is_explained_at_the_start() {
    let folder = folder();
    let mut wrong = String::new();
    for (certificate, key, expected) in cases() {
        let (pem, secret) = (folder.join(certificate), folder.join(key));
        let (pem, secret) = (pem.to_str().unwrap(), secret.to_str().unwrap());
        let sips = ["--sips", "127.0.0.1:0", "--tls-cert", pem, "--tls-key", secret];
        let api = ["--api-cert", pem, "--api-key", secret];
        for (options, [cert_option, key_option]) in
            [(&sips[..], ["--tls-cert", "--tls-key"]), (&api, ["--api-cert", "--api-key"])]
        {
            let args = [&["serve", "--on-accept", "ok", "--sip", "127.0.0.1:0"], options].concat();
            let (code, _, stderr) = outcome(&run(&args));
            let inside = format!("{}/", folder.display());
            let found: Vec<_> = stderr
                .lines()
                .map(|line| line.replace(&inside, "").replace("sip-authz: ", ""))
                .filter(|line| !line.starts_with("warning: "))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|line| line.replacen("CERT ", &format!("{cert_option} "), 1))
                .map(|line| line.replacen("KEY ", &format!("{key_option} "), 1))
                .collect();
            if (code, &found) != (Some(2), &expected) {
                writeln!(wrong, "{certificate} {key}: {code:?}\n{found:#?}\n{expected:#?}")
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unusable_file_at_a_reload_keeps_the_old_certificate() {
    let folder = folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (pem, key) = (path("used.pem"), path("used.key"));
    fs::copy(path("marked.pem"), &pem).unwrap();
    fs::copy(path("edge.key"), &key).unwrap();
    let args = ["--on-accept", "ok", "--api-cert", &pem, "--api-key", &key];
    let server = Server::start(&[&args[..], &["--metrics", "127.0.0.1:0"]].concat());
    let url = crate::metrics::address(&server.stdout);
    let series = "sip_authz_certificate_last_reload_successful{listener=\"api\"}";
    let time = "sip_authz_certificate_last_reload_success_timestamp_seconds{listener=\"api\"}";
    let page = crate::metrics::scrape(&url);
    assert_eq!(page[series], 1.0);
    let mut lines = server.stderr.all().len();
    for (wrong, part) in [("pkcs8-encrypted.key", "is encrypted"), ("other.key", "does not belong")]
    {
        fs::copy(path(wrong), &key).unwrap();
        server.signal("HUP");
        let printed = server.stderr.wait_from(lines, |line| line.contains(part));
        lines += printed.len();
        let line = printed.last().unwrap();
        assert!(line.starts_with(&format!("sip-authz: --api-key {key}: ")), "{line}");
        assert!(line.ends_with("; the old certificate stays in use"), "{line}");
        assert_eq!(crate::metrics::wait_for(&url, series, 0.0)[time], page[time]);
    }
    fs::copy(path("edge.key"), &key).unwrap();
    server.signal("HUP");
    server.stderr.wait_from(lines, |line| line == format!("sip-authz: reloaded {pem}"));
    assert!(crate::metrics::wait_for(&url, series, 1.0)[time] > page[time]);
}

#[test]
fn certificates_that_expire_soon_are_on_the_page_and_have_a_warning() {
    let folder = folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let make = |name: &str, days: &str| {
        let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let files = format!("-out {name}.pem -keyout {name}.key");
        openssl(&folder, &format!("req -x509 {curve} -days {days} -subj /CN=x {files}"));
    };
    make("long", "400");
    make("soon", "10");
    // the first certificate of a chain to expire counts
    let chain = [read(&folder, "long.pem"), read(&folder, "soon.pem")].concat();
    fs::write(folder.join("chain.pem"), chain).unwrap();
    let (used, key) = (path("used.pem"), path("used.key"));
    fs::copy(path("long.pem"), &used).unwrap();
    fs::copy(path("long.key"), &key).unwrap();
    let (chain, long_key) = (path("chain.pem"), path("long.key"));
    let sips = ["--sips", "127.0.0.1:0", "--tls-cert", &chain, "--tls-key", &long_key];
    let api = ["--api-cert", &used, "--api-key", &key, "--on-accept", "ok"];
    let args = [&sips[..], &api, &["--metrics", "127.0.0.1:0"]].concat();
    let server = Server::start(&args);
    let url = crate::metrics::address(&server.stdout);
    let metric = "sip_authz_certificate_expiration_timestamp_seconds";
    let series =
        |listener: &str, file: &str| format!("{metric}{{listener=\"{listener}\",file=\"{file}\"}}");
    let page = crate::metrics::scrape(&url);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let days = |page: &crate::metrics::Page, listener: &str, file: &str| {
        (page[&series(listener, file)] - now) / 86_400.0
    };
    let found = [days(&page, "sips", &chain), days(&page, "api", &used)];
    assert!((9.9..=10.1).contains(&found[0]) && (399.9..=400.1).contains(&found[1]), "{found:?}");
    let line = server.stderr.wait_for("expires at");
    let start = format!("sip-authz: warning: {chain}: the certificate expires at ");
    assert!(line.starts_with(&start) && line.ends_with("Z, in 9 days"), "{line}");
    assert_eq!(server.stderr.all().iter().filter(|line| line.contains("expires")).count(), 1);

    // at a reload
    let lines = server.stderr.all().len();
    fs::copy(path("edge.pem"), &used).unwrap();
    fs::copy(path("edge.key"), &key).unwrap();
    server.signal("HUP");
    let start = format!("sip-authz: warning: {used}: the certificate expires at ");
    server.stderr.wait_from(lines, |line| line.starts_with(&start) && line.ends_with("in 1 day"));
    let start = Instant::now();
    let left = loop {
        // the page is cached for a moment
        let left = days(&crate::metrics::scrape(&url), "api", &used);
        if left < 300.0 || start.elapsed() > PATIENCE {
            break left;
        }
    };
    assert!((1.9..=2.1).contains(&left), "{left}");

    // a file that cannot be used changes nothing
    fs::copy(path("other.key"), &key).unwrap();
    server.signal("HUP");
    server.stderr.wait_from(lines, |line| line.ends_with("the old certificate stays in use"));
    assert_eq!(days(&crate::metrics::scrape(&url), "api", &used), left);
}

#[test]
fn an_expired_certificate_has_a_warning() {
    let folder = folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(folder.join("names"), "subjectAltName=DNS:edge\n").unwrap();
    // it ends at once
    let made =
        "x509 -req -in request.pem -signkey edge.key -days 0 -extfile names -out expired.pem";
    openssl(&folder, made);
    let (pem, key) = (path("expired.pem"), path("edge.key"));
    let args = ["--on-accept", "ok", "--api-cert", &pem, "--api-key", &key];
    let server = Server::start(&args);
    let line = server.stderr.wait_for("expired at");
    let start = format!("sip-authz: warning: {pem}: the certificate expired at 20");
    assert!(line.starts_with(&start) && line.ends_with("Z; clients refuse it"), "{line}");
}
