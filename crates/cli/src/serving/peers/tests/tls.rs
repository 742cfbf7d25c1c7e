//! Edges whose APIs have TLS.

use std::path::PathBuf;

use super::*;
use crate::system::test_authority::TestAuthority;
use crate::system::tls::{Identity, Names};

fn security(authority: &TestAuthority) -> Security {
    let names = Names {
        certificate: ("--api-cert", authority.file("leaf.pem")),
        key: ("--api-key", authority.file("leaf.key")),
    };
    Security::Tls(Arc::new(Identity::load(names).unwrap()))
}

#[tokio::test]
async fn the_certificate_of_an_edge_must_be_valid_for_its_host() {
    let own = Kept::of(vec![]);
    let (ours, foreign) = (
        TestAuthority::new("ours", "DNS:localhost,IP:127.0.0.1"),
        TestAuthority::new("foreign", "DNS:localhost"),
    );
    let other = TestAuthority::new("other", "DNS:edge.example,IP:127.0.0.2");
    for (host, security, ca, wanted) in [
        ("https://localhost", security(&ours), &ours, ""),
        ("https://127.0.0.1", security(&ours), &ours, ""),
        ("https://localhost", security(&foreign), &ours, "TLS failed"),
        ("https://127.0.0.1", security(&other), &other, "TLS failed"),
        ("https://localhost", Security::None, &ours, "TLS failed"),
        ("http://localhost", security(&ours), &ours, "not answer as an HTTP server"),
    ] {
        let kept = Kept::of(vec![row("two", 5)]);
        let (two, _keep) = real_at("two", TOKEN, Arc::clone(&kept), host, security).await;
        let peers = peers_with(&own, vec![two], |options| {
            let ca = ca.file("ca.pem");
            options.connector = Connector::new("--api-ca", Some(&ca)).unwrap();
        });
        let found = peers.recent(ADMIN, query(5, Start::Newest)).await;
        let reasons: Vec<_> = found.answered.silent.iter().map(|s| s.reason.as_str()).collect();
        if wanted.is_empty() {
            assert_eq!((times(&found).0, reasons), (vec![5], vec![]), "{host}");
        } else {
            assert!(reasons.iter().all(|reason| reason.contains(wanted)), "{host}: {reasons:?}");
            assert_eq!((reasons.len(), kept.askers.lock().unwrap().len()), (1, 0), "{host}");
        }
    }
}

#[test]
fn a_file_without_certificates_is_an_error() {
    let missing = PathBuf::from("/nonexistent/ca.pem");
    let error = Connector::new("--api-ca", Some(&missing)).err().unwrap();
    assert!(error.starts_with("--api-ca /nonexistent/ca.pem: "), "{error}");
}
