//! The table `[edge]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use sip_authz_config::{Config, Edge, Options, SourceFrom, SourceHeader, load, parse};

fn edge(text: &str) -> Edge {
    parse(text, &Options::new()).unwrap().edge
}

fn errors(text: &str) -> String {
    parse(text, &Options::new().file("edge.toml")).unwrap_err().to_string()
}

#[test]
fn every_key_of_the_table_is_read() {
    let edge = edge(
        r#"
        [edge]
        sip = ["0.0.0.0:5060,advertise=203.0.113.7", "[::]:5060", "localhost:5070,domain=a.example"]
        sips = [":5061"]
        advertise = "edge.example.com:5060"
        default_domain = ["listener", "to", "sos.example.com"]
        tls_cert = "chain.pem"
        tls_key = "/etc/key.pem"
        trusted_proxy = ["192.0.2.1", "2001:db8::/64"]
        source_from = "via"
        source_header = "X-Caller"
        "#,
    );
    let proxies: Vec<_> =
        edge.trusted_proxy.iter().map(|proxy| proxy.prefix().to_string()).collect();
    assert_eq!(proxies, ["192.0.2.1/32", "2001:db8::/64"]);
    assert_eq!(edge.source_from, Some(SourceFrom::Via));
    assert_eq!(edge.source_header.as_ref().map(SourceHeader::as_str), Some("X-Caller"));
    let addresses: Vec<_> = edge.sip.iter().map(|listener| listener.address()).collect();
    assert_eq!(addresses, ["0.0.0.0:5060", "[::]:5060", "localhost:5070"]);
    assert_eq!(edge.sip[0].advertise.as_ref().unwrap().to_string(), "203.0.113.7");
    assert_eq!(edge.sips[0].port, Some(5061));
    assert_eq!(edge.advertise.unwrap().to_string(), "edge.example.com:5060");
    let sources: Vec<_> = edge.default_domain.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["listener", "to", "sos.example.com"]);
    assert_eq!(edge.tls_cert.as_deref(), Some(Path::new("chain.pem")));
    assert_eq!(edge.tls_key.as_deref(), Some(Path::new("/etc/key.pem")));
}

#[test]
fn a_file_without_the_table_sets_nothing() {
    assert_eq!(edge(""), Edge::default());
    assert_eq!(edge("[edge]"), Edge::default());
}

#[test]
fn paths_are_relative_to_the_folder_of_the_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("paths-of-edge");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("edge.toml");
    std::fs::write(&path, "[edge]\ntls_cert = \"tls/chain.pem\"\ntls_key = \"/etc/key.pem\"\n")
        .unwrap();
    let Config { edge, .. } = load(&path, &Options::new()).unwrap();
    assert_eq!(edge.tls_cert, Some(folder.join("tls/chain.pem")));
    assert_eq!(edge.tls_key.as_deref(), Some(Path::new("/etc/key.pem")));
}

#[test]
fn every_error_has_its_place() {
    let text = r#"
[edge]
sip = ["0.0.0.0:5060", "0.0.0.0:x", 5060, ":5060,adverise=a"]
sips = ":5061"
advertise = "0.0.0.0"
default_domain = ["from header", "to"]
tls_crt = "chain.pem"
tls_key = true
"#;
    assert_eq!(
        errors(text),
        "edge.toml:3:24: edge.sip[1]: expected a port from 0 to 65535, found `x`\n\
         edge.toml:3:37: edge.sip[2]: expected a string, found an integer\n\
         edge.toml:3:43: edge.sip[3]: expected `advertise=HOST[:PORT]`, `domain=NAME` or `inside`, found `adverise=a`\n\
         edge.toml:4:8: edge.sips: expected an array, found a string\n\
         edge.toml:5:13: edge.advertise: callers cannot reach `0.0.0.0`: it is not the address of one machine\n\
         edge.toml:6:19: edge.default_domain[0]: expected `listener`, `route`, `to` or a domain name, \
         found `from header`\n\
         edge.toml:7:1: edge.tls_crt: unknown key `tls_crt`, did you mean `tls_cert`?\n\
         edge.toml:8:11: edge.tls_key: expected a string, found a boolean"
    );
    assert!(errors("edge = 5060").contains("1:8: edge: expected a table, found an integer"));
    assert!(
        errors("[edge]\ndefault_domain = [\"a\", \"b\", \"c\", \"d\", \"e\"]")
            .contains("2:18: edge.default_domain: expected at most 4 values, found 5")
    );
}
