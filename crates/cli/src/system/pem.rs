//! Reads certificates and private keys in PEM, and describes the fault of a file in plain words.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::system::words::file_error;

/// The maximum number of bytes of a file; longer than any chain of certificates.
const MAX_FILE: u64 = 1 << 20;

/// The kind of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Certificate,
    Key,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate in PEM (`-----BEGIN CERTIFICATE-----`)",
            Self::Key => "a private key in PEM (`-----BEGIN PRIVATE KEY-----`)",
        }
    }
}

/// Reads the chain of certificates in a file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path, Wanted::Certificate)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(describe(&bytes, Wanted::Certificate)),
        Err(error) => Err(damaged(&error, &bytes, Wanted::Certificate)),
    }
}

/// Reads the first private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path, Wanted::Key)?;
    // openssl's older formats have the same first line for encrypted keys
    if labels(&bytes).any(|label| label == "ENCRYPTED PRIVATE KEY")
        || contains(&bytes, "Proc-Type: 4,ENCRYPTED")
    {
        return Err(
            "the private key is encrypted, and the program cannot ask for its passphrase; \
                    write it without one: `openssl pkey -in FILE -out NEW`"
                .to_owned(),
        );
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(describe(&bytes, Wanted::Key)),
        Err(error) => Err(damaged(&error, &bytes, Wanted::Key)),
    }
}

fn read(path: &Path, wanted: Wanted) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        // reserve the full size: a buffer that grows leaves copies of a key in memory
        let size = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or_default();
        bytes.reserve_exact(size.saturating_add(1));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)
    });
    opened.map_err(|error| file_error(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("expected {}, found a file of over 1 MiB", wanted.name()));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(format!("the file is empty, expected {}", wanted.name()));
    }
    // a mark that some editors write
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// The message for a file in which the wanted object was not found.
fn describe(bytes: &[u8], wanted: Wanted) -> String {
    let expected = wanted.name();
    if let Some(message) = binary(bytes, wanted) {
        return message;
    }
    let found: Vec<_> = labels(bytes).collect();
    let has = |what: &str| found.iter().any(|label| label.ends_with(what));
    match wanted {
        Wanted::Certificate if has("PRIVATE KEY") => {
            format!("expected {expected}, found a private key")
        }
        Wanted::Key if has("CERTIFICATE") => {
            format!("expected {expected}, found a certificate")
        }
        Wanted::Key if has("PUBLIC KEY") => format!("expected {expected}, found a public key"),
        _ => match found.first() {
            Some(&label) => format!("expected {expected}, found `-----BEGIN {label}-----`"),
            None => format!("expected {expected}, found none"),
        },
    }
}

/// The message for a binary format, if the file has one.
fn binary(bytes: &[u8], wanted: Wanted) -> Option<String> {
    // the elements inside the outer sequence (X.690): a certificate and an encrypted key begin with a
    // sequence, a PKCS #12 file with the version 3, other keys with the version 0 or 1
    let (0x30, rest) = bytes.split_first()? else { return None };
    let length = match rest.first()? {
        long @ 0x81..=0x84 => usize::from(long & 0x7f) + 1,
        short if *short < 0x80 => 1,
        _ => return None,
    };
    let convert = match wanted {
        Wanted::Certificate => "openssl x509 -inform der -in FILE -out NEW",
        Wanted::Key => "openssl pkey -inform der -in FILE -out NEW",
    };
    let expected = wanted.name();
    Some(match rest.get(length..)? {
        [0x02, 0x01, 0x03, ..] => format!(
            "expected {expected}, found a PKCS #12 file; convert it: \
             `openssl pkcs12 -in FILE -out NEW -nodes`"
        ),
        _ => format!("expected {expected}, found DER; convert it: `{convert}`"),
    })
}

/// The message for a block that cannot be read.
fn damaged(error: &pem::Error, bytes: &[u8], wanted: Wanted) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("the file is truncated: the line `-----END {}-----` is missing", label.trim())
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins with `-----BEGIN` is incomplete".to_owned()
        }
        pem::Error::Base64Decode(_) => {
            "the text between `-----BEGIN` and `-----END` is damaged: it is not base64".to_owned()
        }
        _ => describe(bytes, wanted),
    }
}

/// The labels of the blocks, such as `CERTIFICATE`.
fn labels(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = str::from_utf8(line.trim_ascii()).ok()?;
        line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")
    })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}
