use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::name_server::NameServer;
use super::*;
use crate::system::test_authority::TestAuthority;

/// A hop over TLS that answers each OPTIONS.
async fn tls_hop(
    folder: &TestAuthority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(folder.file("leaf.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.file("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // delayed acknowledgements follow another clock
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 2_048];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let answered = stream.write_all(&answer(&buffer[..length], 200)).await;
                    answered.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    port
}

fn hops_with(ca: &Path) -> Hops {
    let (_, inbox) = hops(0);
    let options = HopOptions { ca: Some(ca.to_owned()), ..options(10) };
    Hops::new(options, inbox).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hop_with_the_right_certificate_is_up() {
    let folder = TestAuthority::new("right", "DNS:localhost,IP:127.0.0.1");
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let port = tls_hop(&folder, versions).await;
        let hops = hops_with(&folder.file("ca.pem"));
        let forward = forward(&format!("127.0.0.1:{port};transport=tls"));
        hops.set([&forward]);
        until(|| hops.states()[0].status == Some(200)).await;
        assert!(hops.choose(&forward, false, true, b"1").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hop_with_a_wrong_certificate_is_down_with_the_reason() {
    let right = TestAuthority::new("other", "DNS:localhost");
    let wrong = TestAuthority::new("wrong", "DNS:pbx.example");
    let cases = [
        // another name, another authority
        (&wrong, &wrong, "not valid for name"),
        (&right, &wrong, "UnknownIssuer"),
    ];
    for (hop, ca, why) in cases {
        let port = tls_hop(hop, rustls::ALL_VERSIONS).await;
        let hops = hops_with(&ca.file("ca.pem"));
        let forward = forward(&format!("sips:127.0.0.1:{port}"));
        hops.set([&forward]);
        until(|| hops.choose(&forward, true, false, b"1").is_none()).await;
        let reason = hops.states()[0].reason.clone().unwrap();
        assert!(reason.contains(why), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_certificate_is_that_of_the_configured_name() {
    let folder = TestAuthority::new("names", "DNS:a.example");
    let port = tls_hop(&folder, rustls::ALL_VERSIONS).await;
    let hops = hops_with(&folder.file("ca.pem"));
    // both names lead to one address, where each has a connection and a state of its own
    let [a, b] = ["a", "b"].map(|name| forward(&format!("sips:{name}.example:{port}")));
    hops.set([&a, &b]);
    for forward in [&a, &b] {
        let ip = vec![[127, 0, 0, 1].into()];
        hops.inner.learn(forward.hops()[0].host(), Found::of(ip, 3_600 * SECOND));
    }
    until(|| hops.choose(&b, true, false, b"1").is_none()).await;
    until(|| hops.states()[0].status == Some(200)).await;
    assert!(hops.choose(&a, true, false, b"1").is_some());
}

#[tokio::test]
async fn a_wrong_file_of_certificates_is_an_error() {
    let folder = TestAuthority::new("files", "DNS:a.example");
    let (_, inbox) = hops(0);
    for (file, why) in [("missing.pem", "missing.pem: "), ("leaf.key", "found a private key")] {
        let options = HopOptions { ca: Some(folder.file(file)), ..options(10) };
        let receive: Arc<dyn Receive> = Arc::clone(&inbox) as _;
        let error = Hops::new(options, receive).err().unwrap();
        assert!(error.starts_with("--hop-ca ") && error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn the_certificate_is_not_that_of_the_target_of_a_record() {
    for (names, is_up) in [("DNS:pbx.example", true), ("DNS:a.example", false)] {
        let folder = TestAuthority::new(if is_up { "srv-name" } else { "srv-target" }, names);
        let port = tls_hop(&folder, rustls::ALL_VERSIONS).await;
        let srv = format!("--srv-host=_sips._tcp.pbx.example,a.example,{port},0,0");
        let server = NameServer::start(
            if is_up { "tls-name" } else { "tls-target" },
            &[&srv, "--host-record=a.example,127.0.0.1"],
        );
        server.ready().await;
        let options = HopOptions { ca: Some(folder.file("ca.pem")), ..options(1) };
        let inbox = Arc::new(Inbox::default());
        let hops = Hops::with_resolver(options, inbox, server.resolver.clone()).unwrap();
        let forward = forward("sips:pbx.example");
        hops.set([&forward]);
        hops.resolved(20 * SECOND).await;
        let probed = |state: &HopState| state.status.is_some() || state.reason.is_some();
        until(|| hops.states().first().is_some_and(probed)).await;
        let state = hops.states().remove(0);
        assert_eq!((state.is_up, state.host.as_str()), (is_up, "pbx.example"), "{state:?}");
        assert_eq!(hops.choose(&forward, false, true, b"1").is_some(), is_up);
        let reason = state.reason.unwrap_or_default();
        assert_eq!(reason.contains("not valid for name \"pbx.example\""), !is_up, "{reason}");
    }
}
