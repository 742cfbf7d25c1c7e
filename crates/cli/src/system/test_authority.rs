//! Certificates for tests, made with openssl.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of folders so far: tests of one process run at the same time.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A folder with the certificate of an authority and one that it signed: `ca.pem`, `leaf.pem` and their keys.
/// It is removed on drop.
pub(crate) struct TestAuthority(PathBuf);

impl TestAuthority {
    /// The signed certificate is valid for these names.
    pub(crate) fn new(name: &str, names: &str) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = format!("sip-authz-{name}-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(path));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder.make("ca", &["-subj", &format!("/CN=authority {name}")]);
        let names = format!("subjectAltName={names}");
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", &names];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-subj", "/CN=leaf"];
        folder.make("leaf", &[&signed[..], &leaf].concat());
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

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TestAuthority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
