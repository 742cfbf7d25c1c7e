//! Hashes of several messages in parallel lanes.

use crate::dispatch::Width;
use crate::md5;
use crate::message::Message;

/// Computes the MD5 of each message, in order, and wipes the hashed messages. If there are more
/// messages than places in `out`, the last messages stay unchanged.
pub fn md5_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [[u8; 16]]) {
    md5_messages_with(Width::widest(), messages, out);
}

/// Does the same with the given instruction set.
pub fn md5_messages_with<const B: usize>(
    width: Width,
    messages: &mut [Message<B>],
    out: &mut [[u8; 16]],
) {
    let count = messages.len().min(out.len());
    let (Some(mut messages), Some(mut out)) = (messages.get_mut(..count), out.get_mut(..count))
    else {
        return;
    };
    while !messages.is_empty() {
        let lanes = width.md5_lanes(messages.len()).clamp(1, messages.len());
        let (Some((now, later)), Some((hashes, rest))) =
            (messages.split_at_mut_checked(lanes), out.split_at_mut_checked(lanes))
        else {
            return;
        };
        if let ([message], [hash]) = (&mut *now, &mut *hashes) {
            *hash = md5::md5(message.text());
        } else {
            now.iter_mut().for_each(Message::pad);
            width.md5_messages(now, hashes);
        }
        now.iter_mut().for_each(Message::wipe);
        (messages, out) = (later, rest);
    }
}

/// Computes the SHA-256 of each message, in order, and wipes the hashed messages. If there are more
/// messages than places in `out`, the last messages stay unchanged.
pub fn sha256_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [[u8; 32]]) {
    sha256_messages_with(Width::for_sha256(), messages, out);
}

/// Does the same with the given instruction set.
pub fn sha256_messages_with<const B: usize>(
    width: Width,
    messages: &mut [Message<B>],
    out: &mut [[u8; 32]],
) {
    let (lanes, count) = (width.sha256_lanes(), messages.len().min(out.len()));
    let messages = messages.get_mut(..count).unwrap_or_default();
    for (now, hashes) in messages.chunks_mut(lanes).zip(out.chunks_mut(lanes)) {
        for message in &mut *now {
            message.padded(u64::to_be_bytes);
        }
        width.sha256_messages(now, hashes);
        now.iter_mut().for_each(Message::wipe);
    }
}
