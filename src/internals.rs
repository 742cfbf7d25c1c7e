//! Internals for the tests, benches and fuzz targets of this workspace. Not part of the public API:
//! anything here may change in any release.

use std::hint::black_box;

use arrayvec::ArrayVec;

use crate::authorizer::Authorizer;
use crate::digest::{
    self, Body, Credentials, DigestCheck, ExpectedResponse, MAX_BATCH, verify_batch,
};
use crate::method::Method;
use crate::snapshot::Snapshot;

/// The maximum number of credentials that an [`Invite`](crate::Invite) keeps.
pub const MAX_CREDENTIALS: usize = crate::invite::MAX_CREDENTIALS;

/// Removes the white space around `text`.
#[must_use]
pub fn trim(text: &[u8]) -> &[u8] {
    crate::message::trim(text)
}

/// Converts a hash of 16 bytes to lower-case hexadecimal.
#[must_use]
pub fn hex16(hash: &[u8; 16]) -> [u8; 32] {
    hex(hash)
}

/// Converts a hash of 32 bytes to lower-case hexadecimal.
#[must_use]
pub fn hex32(hash: &[u8; 32]) -> [u8; 64] {
    hex(hash)
}

fn hex<const N: usize, const H: usize>(hash: &[u8; N]) -> [u8; H] {
    let mut text = [0; H];
    digest::hash::write_hex(hash, &mut text);
    text
}

/// Compares hexadecimal in constant time, as the verification of a response does.
#[must_use]
pub fn same_hex<const N: usize>(expected: &[u8; N], sent: &[u8]) -> bool {
    digest::hash::same_hex(expected, sent)
}

/// An authorizer that behaves as in a process that did not create it.
#[must_use]
pub fn in_other_process(authorizer: Authorizer) -> Authorizer {
    authorizer.in_other_process()
}

/// The content of a snapshot as sorted lines. Equal for two snapshots with the same content in
/// different slots.
#[must_use]
pub fn facts(snapshot: &Snapshot) -> Vec<String> {
    snapshot.facts()
}

/// The number of `hosts` that are a domain or trunk, looked up one at a time; for benches.
#[must_use]
pub fn count_named(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    hosts.iter().filter(|host| snapshot.named_entry(host).is_some()).count()
}

/// Same as [`count_named`], with prefetching for 64 hosts at a time.
#[must_use]
pub fn count_named_at_once(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    let targets = snapshot.targets();
    let mut count = 0;
    for hosts in hosts.chunks(64) {
        let keys: ArrayVec<_, 64> = hosts.iter().map(|host| targets.key(host)).collect();
        let slots: ArrayVec<_, 64> = keys.iter().map(|key| targets.prefetch(*key)).collect();
        black_box(slots.iter().flatten().filter(|slot| targets.prefetch_entry(**slot)).count());
        let named = |(key, host): (&_, &&str)| targets.named(*key, host).is_some();
        count += keys.iter().zip(hosts).filter(|pair| named(*pair)).count();
    }
    count
}

/// The number of `names` that are users of the lists mapped to `host`, looked up one at a time; for
/// benches.
#[must_use]
pub fn count_users(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let lists = entry.credential_lists.iter();
    lists
        .map(|mapped| {
            let found = |name: &&&str| snapshot.look_up(mapped.list, name).hit.is_some();
            names.iter().filter(found).count()
        })
        .sum()
}

/// Same as [`count_users`], with prefetching for 64 names at a time.
#[must_use]
pub fn count_users_at_once(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let users = snapshot.users();
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let mut count = 0;
    for list in entry.credential_lists.iter().map(|mapped| mapped.list) {
        for names in names.chunks(64) {
            let keys: ArrayVec<_, 64> = names.iter().map(|name| users.key(list, name)).collect();
            let slots: ArrayVec<_, 64> = keys.iter().map(|key| users.prefetch(*key)).collect();
            black_box(slots.iter().flatten().filter(|slot| users.prefetch_entry(**slot)).count());
            let pairs = keys.iter().zip(names);
            count += pairs.filter(|(key, n)| users.look_up(**key, list, n).hit.is_some()).count();
        }
    }
    count
}

/// Whether the header's response matches `ha1`, for any method and body. The test vectors of the
/// RFCs use GET.
#[must_use]
pub fn verify(credentials: &Credentials<'_>, ha1: &[u8], method: &str, body: &[u8]) -> bool {
    let body = Body::new(body);
    ExpectedResponse::new(credentials, Method::new(method), &body).equals(ha1)
}

/// The number of headers whose response to an INVITE matches its H(A1), verified in lanes like a
/// batch; for benches.
#[must_use]
pub fn count_right(headers: &[(Credentials<'_>, impl AsRef<[u8]>)]) -> usize {
    let mut right = 0;
    for headers in headers.chunks(MAX_BATCH) {
        let mut checks = ArrayVec::<_, MAX_BATCH>::new();
        for (credentials, ha1) in headers {
            checks.push(DigestCheck { credentials, method: Method::INVITE, ha1: ha1.as_ref() });
        }
        right += verify_batch(&checks).iter().filter(|it| **it == Some(true)).count();
    }
    right
}
