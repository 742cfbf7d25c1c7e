//! The body of the fuzz target `lanes`.

use md5::{Digest, Md5};
use sha2::Sha256;

use super::hash::{
    Message, Sha256Midstate, Width, md5, md5_many_with, md5_messages_with, sha256,
    sha256_many_from_with, sha256_many_with,
};

/// Cuts `bytes` into messages, each as long as a byte before it says, by fours if that is odd; hashes
/// them by every set of instructions that the machine has, and compares with the md-5 and sha2 crates.
pub fn fuzz_lanes(bytes: &[u8]) {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((len, more)) = rest.split_first() {
        let len = usize::from(*len) * if len % 2 == 0 { 1 } else { 4 };
        let (message, more) = more.split_at(len.min(more.len()));
        messages.push(message);
        rest = more;
    }
    let md5s: Vec<[u8; 16]> = messages.iter().map(|it| Md5::digest(it).into()).collect();
    let sha256s: Vec<[u8; 32]> = messages.iter().map(|it| Sha256::digest(it).into()).collect();
    let split = |message: &&[u8]| message.len() >= 64;
    let long: Vec<&[u8]> = messages.iter().copied().filter(split).collect();
    let tails: Vec<_> = long
        .iter()
        .filter_map(|it| it.split_first_chunk())
        .map(|(first, tail)| (Sha256Midstate::of(first), tail))
        .collect();
    let wholes: Vec<[u8; 32]> = long.iter().map(|it| sha256(it)).collect();
    for width in Width::available() {
        let mut out = vec![[0; 16]; messages.len()];
        md5_many_with(width, &messages, &mut out);
        assert_eq!(out, md5s, "MD5, {}", width.name());

        let mut written = vec![Message::<4>::EMPTY; messages.len()];
        for (written, text) in written.iter_mut().zip(&messages) {
            assert_eq!(written.push(text), text.len() + 9 <= 4 * 64);
        }
        let texts: Vec<_> = written.iter().map(|it| md5(it.text())).collect();
        md5_messages_with(width, &mut written, &mut out);
        assert_eq!(out, texts, "MD5 of messages, {}", width.name());

        let mut out = vec![[0; 32]; messages.len()];
        sha256_many_with(width, &messages, &mut out);
        assert_eq!(out, sha256s, "SHA-256, {}", width.name());
        let mut out = vec![[0; 32]; tails.len()];
        sha256_many_from_with(width, &tails, &mut out);
        assert_eq!(out, wholes, "SHA-256 from midstates, {}", width.name());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_are_hashed_alike() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/lanes");
        let seeds = std::fs::read_dir(folder).unwrap();
        let read =
            seeds.map(|seed| super::fuzz_lanes(&std::fs::read(seed.unwrap().path()).unwrap()));
        assert!(read.count() >= 4);
    }
}
