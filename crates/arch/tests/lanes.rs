//! Compares single and parallel hashing with the md-5 and sha2 crates, for every instruction set of
//! the machine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use md5::{Digest, Md5};
use proptest::prelude::*;
use sha2::{Sha256, Sha512_256};
use sip_authz_arch::*;

/// Pseudo-random bytes from `seed`.
fn text(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| byte()).collect()
}

/// Has room for the longest text of these tests.
type Written = Message<6>;

fn written(texts: &[Vec<u8>]) -> Vec<Written> {
    let mut messages = vec![Message::EMPTY; texts.len()];
    for (message, text) in messages.iter_mut().zip(texts) {
        let (start, end) = text.split_at(text.len() / 3);
        assert!(message.push(start) && message.push(end));
        assert_eq!(message.text(), text);
    }
    messages
}

/// Hashes all of `texts` with all widths.
fn compare(texts: &[Vec<u8>]) {
    let md5s: Vec<[u8; 16]> = texts.iter().map(|it| Md5::digest(it).into()).collect();
    let sha256s: Vec<[u8; 32]> = texts.iter().map(|it| Sha256::digest(it).into()).collect();
    let (mut md5_out, mut sha256_out) = (vec![[0; 16]; texts.len()], vec![[0; 32]; texts.len()]);
    for width in Width::available() {
        let mut messages = written(texts);
        md5_messages_with(width, &mut messages, &mut md5_out);
        assert_eq!(md5_out, md5s, "MD5, {}", width.name());
        // the messages must be empty now
        assert!(messages.iter().all(|it| it.text().is_empty()));
        md5_messages_with(width, &mut messages, &mut md5_out);
        assert!(md5_out.iter().all(|it| *it == *Md5::digest(b"")));

        let mut messages = written(texts);
        sha256_messages_with(width, &mut messages, &mut sha256_out);
        assert_eq!(sha256_out, sha256s, "SHA-256, {}", width.name());
        assert!(messages.iter().all(|it| it.text().is_empty()));
        sha256_messages_with(width, &mut messages, &mut sha256_out);
        assert!(sha256_out.iter().all(|it| *it == *Sha256::digest(b"")));
    }
    md5_messages(&mut written(texts), &mut md5_out);
    sha256_messages(&mut written(texts), &mut sha256_out);
    assert_eq!((md5_out, sha256_out), (md5s, sha256s));
}

#[test]
fn one_message_of_each_length_agrees() {
    for len in 0..300 {
        let message = text(len, len);
        assert_eq!(md5(&message), *Md5::digest(&message), "MD5 of {len}");
        assert_eq!(sha256(&message), *Sha256::digest(&message), "SHA-256 of {len}");
        assert_eq!(sha512_256(&message), *Sha512_256::digest(&message), "SHA-512/256 of {len}");
        compare(&[message]);
    }
}

#[test]
fn rfc_1321_and_fips_180_4_vectors() {
    for (message, md5_hex) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
    ] {
        assert_eq!(hex::encode(md5(message.as_bytes())), md5_hex);
    }
    assert_eq!(
        hex::encode(sha256(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        hex::encode(sha512_256(b"abc")),
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    );
}

#[test]
fn two_interleaved_messages_of_all_lengths_agree() {
    for a in (0..140).map(|len| text(1, len)) {
        for len in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 300] {
            let b = text(2, len);
            let [mut one, mut other] = written(&[a.clone(), b.clone()]).try_into().ok().unwrap();
            let (hash, partial) = PartialMd5::hash_interleaved(&mut one, &other);
            assert_eq!(hash, *Md5::digest(&a));
            // the message may grow after its first block was hashed
            assert!(other.push(&a[..a.len() / 3]));
            let whole = [&b, &a[..a.len() / 3]].concat();
            assert_eq!(partial.finalize(&mut other), *Md5::digest(&whole), "{} and {len}", a.len());
        }
    }
}

#[test]
fn any_number_of_messages_agrees() {
    for count in (0..20).chain([23, 24, 25, 31, 32, 33, 34, 48, 63, 64, 65, 70, 129]) {
        compare(&(0..count).map(|at| text(at, 47)).collect::<Vec<_>>());
        compare(&(0..count).map(|at| text(at, 115)).collect::<Vec<_>>());
        compare(&(0..count).map(|at| text(at, at * 37 % 300)).collect::<Vec<_>>());
        // one message is much longer than the others
        compare(&(0..count).map(|at| text(at, if at == 5 { 370 } else { 20 })).collect::<Vec<_>>());
    }
}

#[test]
fn a_short_output_takes_the_first_messages() {
    let texts: Vec<_> = (0..70).map(|at| text(at, at)).collect();
    for width in Width::available() {
        for places in [0, 1, 2, 17, 69, 75] {
            let (mut short, mut long) = (vec![[7; 16]; places], vec![[7; 32]; places]);
            let (mut messages, mut others) = (written(&texts), written(&texts));
            md5_messages_with(width, &mut messages, &mut short);
            sha256_messages_with(width, &mut others, &mut long);
            for (at, (short, long)) in short.iter().zip(&long).enumerate() {
                let text = texts.get(at);
                let expected = text.map_or([7; 16], |it| Md5::digest(it).into());
                assert_eq!(*short, expected, "{at} of {places}");
                let expected = text.map_or([7; 32], |it| Sha256::digest(it).into());
                assert_eq!(*long, expected, "{at} of {places}");
            }
            // the other messages must be unchanged
            for (at, text) in texts.iter().enumerate() {
                let left = if at < places { &[][..] } else { text };
                assert_eq!((messages[at].text(), others[at].text()), (left, left));
            }
        }
    }
}

#[test]
fn a_message_accepts_text_that_fits_with_its_padding() {
    const MOST: usize = 4 * 64 - 9;
    for len in 0..=2 * MOST {
        let mut message = Message::<4>::EMPTY;
        assert_eq!(message.spare(), MOST);
        let fits = message.push(&text(1, len));
        assert_eq!(fits, len <= MOST, "{len}");
        let kept = if fits { len } else { 0 };
        assert_eq!((message.text().len(), message.spare()), (kept, MOST - kept));
    }
}

#[test]
fn this_machine_has_more_than_one_width() {
    let names: Vec<_> = Width::available().map(Width::name).collect();
    assert_eq!(names[0], "scalar");
    assert_eq!(*names.last().unwrap(), Width::widest().name());
    // only this test may set the limit, because it applies to the whole process
    let held = hold_width(Width::available().next().unwrap());
    assert_eq!(Width::widest().name(), names[0]);
    drop(held);
    assert_eq!(*names.last().unwrap(), Width::widest().name());
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        assert!(names.len() > 1, "{names:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_messages(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..70)) {
        compare(&messages);
    }
}
