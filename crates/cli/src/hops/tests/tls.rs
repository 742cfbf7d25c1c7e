use std::path::Path;
use std::process::Command;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A folder with the certificate of an authority and of a hop.
struct Folder(PathBuf);

impl Folder {
    /// The certificate of the hop is valid for these names.
    fn new(name: &str, names: &str) -> Self {
        let path = format!("sip-authz-hop-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(path));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder.make("ca", &["-subj", &format!("/CN=authority {name}")]);
        let names = format!("subjectAltName={names}");
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", &names];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-subj", "/CN=hop"];
        folder.make("hop", &[&signed[..], &leaf].concat());
        folder
    }

    fn make(&self, name: &str, args: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-out", &format!("{name}.pem")])
            .args(["-keyout", &format!("{name}.key")])
            .args(args)
            .current_dir(&self.0)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A hop over TLS that answers each OPTIONS.
async fn tls_hop(folder: &Folder, versions: &[&'static rustls::SupportedProtocolVersion]) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(folder.file("hop.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.file("hop.key")).unwrap();
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
    let folder = Folder::new("right", "DNS:localhost,IP:127.0.0.1");
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
    let right = Folder::new("other", "DNS:localhost");
    let wrong = Folder::new("wrong", "DNS:pbx.example");
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
    let folder = Folder::new("names", "DNS:a.example");
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
    let folder = Folder::new("files", "DNS:a.example");
    let (_, inbox) = hops(0);
    for (file, why) in [("missing.pem", "missing.pem: "), ("hop.key", "found a private key")] {
        let options = HopOptions { ca: Some(folder.file(file)), ..options(10) };
        let receive: Arc<dyn Receive> = Arc::clone(&inbox) as _;
        let error = Hops::new(options, receive).err().unwrap();
        assert!(error.starts_with("--hop-ca ") && error.contains(why), "{error}");
    }
}
