//! The body of the fuzz target `lanes`.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

use sip_authz_arch::{
    Message, PartialMd5, Width, md5, md5_messages_with, sha256, sha256_messages_with, sha512_256,
};

/// Splits `bytes` into messages. A byte before each gives its length, times four if it is odd. Hashes
/// each message alone, in as many lanes as the machine's instructions allow, and interleaved with the
/// next one. Compares all results with the md-5 and sha2 crates.
pub fn fuzz_lanes(bytes: &[u8]) {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((len, more)) = rest.split_first() {
        let len = usize::from(*len) * if len % 2 == 0 { 1 } else { 4 };
        let (message, more) = more.split_at(len.min(more.len()));
        messages.push(message);
        rest = more;
    }
    for it in &messages {
        assert_eq!(md5(it), *Md5::digest(it));
        assert_eq!(sha256(it), *Sha256::digest(it));
        assert_eq!(sha512_256(it), *Sha512_256::digest(it));
    }
    let mut written = vec![Message::<4>::EMPTY; messages.len()];
    for (written, text) in written.iter_mut().zip(&messages) {
        assert_eq!(written.push(text), text.len() + 9 <= 4 * 64);
    }
    let md5s: Vec<[u8; 16]> = written.iter().map(|it| Md5::digest(it.text()).into()).collect();
    let sha256s: Vec<[u8; 32]> =
        written.iter().map(|it| Sha256::digest(it.text()).into()).collect();
    for (two, expected) in written.windows(2).zip(md5s.windows(2)) {
        let ([one, other], [first, second]) = (two, expected) else { continue };
        let (mut one, mut other) = (one.clone(), other.clone());
        let (hash, partial) = PartialMd5::hash_interleaved(&mut one, &other);
        assert_eq!([hash, partial.finalize(&mut other)], [*first, *second]);
    }
    for width in Width::available() {
        let (mut copies, mut out) = (written.clone(), vec![[0; 16]; messages.len()]);
        md5_messages_with(width, &mut copies, &mut out);
        assert_eq!(out, md5s, "MD5, {}", width.name());

        let (mut copies, mut out) = (written.clone(), vec![[0; 32]; messages.len()]);
        sha256_messages_with(width, &mut copies, &mut out);
        assert_eq!(out, sha256s, "SHA-256, {}", width.name());
    }
}
