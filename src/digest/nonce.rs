//! Stateless nonces: each has its time, its number, and a keyed MAC over both and over its binding
//! (RFC 7616 §3.3, §5.4).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayString;
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

use super::base64url;
use super::framed::{Framed, Key, words};

/// The length of a nonce in characters: 16 bytes as base64url without padding.
pub(crate) const NONCE_LEN: usize = 22;

/// The lowest bits of a 64-bit stamp, which identify the issuer.
const ISSUER_BITS: u32 = 12;
/// The bits above them, which count the nonces of a second; the rest are seconds. A machine issues
/// fewer than 16.7 million nonces a second. If it issued more for several seconds, the newest would be
/// foreign until the clock catches up.
const COUNTER_BITS: u32 = 24;
const SECOND_SHIFT: u32 = COUNTER_BITS + ISSUER_BITS;
/// The maximum time in a stamp: eight and a half years.
const MAX_SECONDS: u64 = (1 << (64 - SECOND_SHIFT)) - 1;
/// A nonce may be issued this long after `now`, because another thread may have read a later time.
const AHEAD_SECONDS: u64 = 2;

/// The binding of a nonce. A nonce opened under another binding is foreign.
pub(crate) struct Binding<'a> {
    /// The host of the Request-URI, in canonical form.
    pub(crate) host: &'a str,
    /// The realm of the challenge.
    pub(crate) realm: &'a str,
    /// The offer of the challenge, encoded as a number.
    pub(crate) offer: u32,
    /// The source address (without port) of the request, if the policy binds nonces to it.
    pub(crate) source: Option<IpAddr>,
}

/// A nonce with a valid MAC: this issuer issued it for this binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce {
    /// The order of issue: seconds, a counter, and the bits of the issuer, which are always the same.
    pub(crate) stamp: u64,
    /// The MAC.
    pub(crate) tag: u64,
}

/// Whether a nonce may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Issued within the lifetime.
    Live(Nonce),
    /// Issued here, but older than the lifetime.
    Expired(Nonce),
    /// Not issued by this issuer for this binding.
    Foreign(Origin),
}

/// The likely origin of a foreign nonce: a hint, because anyone can make up a nonce of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Another server: it does not have the form of these nonces.
    Server,
    /// Another process or an earlier start: it has the bits of another issuer.
    Process,
    /// This issuer, for another source, host, realm or offer. With a probability of 2^-12 another
    /// issuer.
    Binding,
}

impl Freshness {
    /// The order of issue; zero for a foreign nonce.
    pub(crate) fn stamp(self) -> u64 {
        match self {
            Self::Live(nonce) | Self::Expired(nonce) => nonce.stamp,
            Self::Foreign(_) => 0,
        }
    }
}

/// Issues nonces and recognises its own.
///
/// Each issuer has a random key that never leaves it. A nonce is therefore valid in one process
/// only, and processes share no replay state. Times are milliseconds since the creation of the
/// issuer. After eight and a half years all its nonces are foreign, so every digest is refused.
pub(crate) struct NonceIssuer {
    key: Key,
    /// The bits by which the issuer finds that a foreign nonce is that of another one. They are no
    /// proof and need no secrecy.
    id: u64,
    /// The seconds and the count of the next stamp.
    next: AtomicU64,
}

impl NonceIssuer {
    /// Creates an issuer with this key, which must be random and used for nothing else.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        let words = words(&key);
        let [low, high] = *words;
        // no text of a tag is as short as this one
        let id = SipHasher24::new_with_keys(low, high).hash(b"issuer") & ((1 << ISSUER_BITS) - 1);
        Self { key: words, id, next: AtomicU64::new(0) }
    }

    /// Issues a unique nonce, whose stamp is higher than that of every nonce issued before.
    ///
    /// If more nonces are issued in a second than the counter holds, the others take the time of the
    /// next second.
    pub(crate) fn issue(&self, now_ms: u64, binding: &Binding<'_>) -> ArrayString<NONCE_LEN> {
        let second = seconds(now_ms) << COUNTER_BITS;
        let mut next = self.next.fetch_add(1, Ordering::Relaxed);
        if next < second {
            // the first of a second
            self.next.fetch_max(second, Ordering::Relaxed);
            next = self.next.fetch_add(1, Ordering::Relaxed);
        }
        self.text(next, binding)
    }

    /// The nonce that [`Self::issue`] would issue now. It changes nothing, so the nonce is not unique.
    pub(crate) fn would_issue(&self, now_ms: u64, binding: &Binding<'_>) -> ArrayString<NONCE_LEN> {
        let next = self.next.load(Ordering::Relaxed);
        self.text(next.max(seconds(now_ms) << COUNTER_BITS), binding)
    }

    fn text(&self, number: u64, binding: &Binding<'_>) -> ArrayString<NONCE_LEN> {
        let stamp = number << ISSUER_BITS | self.id;
        let tag = self.tag(stamp, binding);
        let bytes = (u128::from(stamp) << 64 | u128::from(tag)).to_be_bytes();
        base64url::encode(&bytes)
    }

    /// Checks a nonce from a header. It is foreign unless it has exactly 22 characters of base64url
    /// with zero unused bits.
    #[inline(always)]
    pub(crate) fn open(
        &self,
        text: &[u8],
        now_ms: u64,
        lifetime_seconds: u32,
        binding: &Binding<'_>,
    ) -> Freshness {
        let Some(bytes) = base64url::decode(text) else {
            return Freshness::Foreign(Origin::Server);
        };
        let [s @ .., _, _, _, _, _, _, _, _] = bytes;
        let [_, _, _, _, _, _, _, _, t @ ..] = bytes;
        let nonce = Nonce { stamp: u64::from_be_bytes(s), tag: u64::from_be_bytes(t) };
        let expected = self.tag(nonce.stamp, binding);
        if !bool::from(expected.ct_eq(&nonce.tag)) {
            return Freshness::Foreign(self.origin(nonce.stamp));
        }
        let issued = nonce.stamp >> SECOND_SHIFT;
        let now = seconds(now_ms);
        if now >= MAX_SECONDS || issued > now + AHEAD_SECONDS {
            return Freshness::Foreign(self.origin(nonce.stamp));
        }
        if now.saturating_sub(issued) > u64::from(lifetime_seconds) {
            return Freshness::Expired(nonce);
        }
        Freshness::Live(nonce)
    }

    fn origin(&self, stamp: u64) -> Origin {
        match (stamp ^ self.id) & ((1 << ISSUER_BITS) - 1) {
            0 => Origin::Binding,
            _ => Origin::Process,
        }
    }

    /// Computes the MAC. The kind of the source and the lengths of the texts come first, so the
    /// encoding is injective.
    #[inline(always)]
    fn tag(&self, stamp: u64, binding: &Binding<'_>) -> u64 {
        let Binding { host, realm, offer, source } = binding;
        // at most 253 bytes of host name and 255 bytes of realm
        let mut text = Framed::<540>::default();
        let family = match source {
            None => 0,
            Some(IpAddr::V4(_)) => 4,
            Some(IpAddr::V6(_)) => 6,
        };
        let len = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
        let lengths = u32::from_le_bytes([family, len(realm), len(host), 0]);
        let start = [stamp, u64::from(*offer) << 32 | u64::from(lengths)];
        text.push(start.map(u64::to_le_bytes).as_flattened());
        match source {
            None => {}
            Some(IpAddr::V4(address)) => text.push(&address.octets()),
            Some(IpAddr::V6(address)) => text.push(&address.octets()),
        }
        text.push(realm.as_bytes());
        text.push(host.as_bytes());
        let [low, high] = *self.key;
        SipHasher24::new_with_keys(low, high).hash(text.as_bytes())
    }
}

fn seconds(now_ms: u64) -> u64 {
    (now_ms / 1_000).min(MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn binding() -> Binding<'static> {
        Binding {
            host: "sip.example.com",
            realm: "example.com",
            offer: 1,
            source: Some([192, 0, 2, 1].into()),
        }
    }

    #[test]
    fn a_nonce_is_valid_for_its_lifetime() {
        let issuer = NonceIssuer::new([7; 16]);
        let nonce = issuer.issue(5_000, &binding());
        let open = |now_ms| issuer.open(nonce.as_bytes(), now_ms, 60, &binding());
        assert_eq!(nonce.len(), NONCE_LEN);
        assert!(matches!(open(5_000), Freshness::Live(_)));
        assert!(matches!(open(3_000), Freshness::Live(_)), "two seconds ahead is age zero");
        let ahead = Freshness::Foreign(Origin::Binding);
        assert_eq!(open(2_999), ahead, "three seconds ahead was not issued");
        assert!(matches!(open(65_999), Freshness::Live(_)));
        assert!(matches!(open(66_000), Freshness::Expired(_)));
    }

    #[test]
    fn a_nonce_is_valid_for_its_binding_and_issuer_only() {
        let issuer = NonceIssuer::new([7; 16]);
        let nonce = issuer.issue(0, &binding());
        let open = |issuer: &NonceIssuer, binding| issuer.open(nonce.as_bytes(), 0, 60, &binding);
        assert!(matches!(open(&issuer, binding()), Freshness::Live(_)));
        for other in [
            Binding { host: "sip.example.co", ..binding() },
            Binding { realm: "example.comsip.", host: "example.com", ..binding() },
            Binding { offer: 2, ..binding() },
            Binding { source: Some([192, 0, 2, 2].into()), ..binding() },
            Binding { source: None, ..binding() },
        ] {
            assert_eq!(open(&issuer, other), Freshness::Foreign(Origin::Binding));
        }
        let process = Freshness::Foreign(Origin::Process);
        assert_eq!(open(&NonceIssuer::new([8; 16]), binding()), process);
    }

    #[test]
    fn every_changed_bit_or_length_makes_a_nonce_foreign() {
        let issuer = NonceIssuer::new([7; 16]);
        let nonce = issuer.issue(0, &binding());
        for at in 0..nonce.len() {
            for bit in 0..8 {
                let mut changed = nonce.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                assert!(matches!(issuer.open(&changed, 0, 60, &binding()), Freshness::Foreign(_)));
            }
            let short = &nonce.as_bytes()[..at];
            let server = Freshness::Foreign(Origin::Server);
            assert_eq!(issuer.open(short, 0, 60, &binding()), server);
        }
        let long = [nonce.as_bytes(), b"A"].concat();
        let server = Freshness::Foreign(Origin::Server);
        assert_eq!(issuer.open(&long, 0, 60, &binding()), server);
    }

    #[test]
    fn nonces_are_unique_and_increasing_and_invalid_at_the_end_of_time() {
        let issuer = NonceIssuer::new([7; 16]);
        let stamp = |text: ArrayString<NONCE_LEN>, now| match issuer.open(
            text.as_bytes(),
            now,
            60,
            &binding(),
        ) {
            Freshness::Live(nonce) => nonce.stamp,
            other => panic!("{other:?}"),
        };
        let stamps: Vec<_> =
            (0..1_000).map(|n| stamp(issuer.issue(n * 10, &binding()), n * 10)).collect();
        assert!(stamps.is_sorted());
        assert_eq!(stamps.iter().collect::<HashSet<_>>().len(), 1_000);

        for end in [MAX_SECONDS * 1_000, u64::MAX] {
            let nonce = issuer.issue(end, &binding());
            let opened = issuer.open(nonce.as_bytes(), end, 60, &binding());
            assert_eq!(opened, Freshness::Foreign(Origin::Binding));
        }
    }

    fn stamp(issuer: &NonceIssuer, nonce: &str, now_ms: u64) -> u64 {
        match issuer.open(nonce.as_bytes(), now_ms, 60, &binding()) {
            Freshness::Live(nonce) => nonce.stamp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stamps_follow_the_order_of_issue_within_a_second_and_after_its_count_is_full() {
        let issuer = NonceIssuer::new([7; 16]);
        let mut last = 0;
        let mut next = |now_ms| {
            let stamp = stamp(&issuer, &issuer.issue(now_ms, &binding()), now_ms);
            assert!(stamp > last, "{stamp} after {last}");
            assert_eq!(stamp & ((1 << ISSUER_BITS) - 1), issuer.id);
            last = stamp;
            stamp >> SECOND_SHIFT
        };
        for now_ms in [5_000, 5_000, 5_999, 5_000, 6_000, 5_999] {
            let _ = next(now_ms);
        }
        // the time of a second that is full is the next one, which is still live
        issuer.next.store((7 << COUNTER_BITS) - 1, Ordering::Relaxed);
        assert_eq!([next(6_999), next(6_999), next(6_999), next(7_000)], [6, 7, 7, 7]);
        assert_eq!(next(9_000), 9);
    }

    #[test]
    fn threads_issue_no_nonce_twice() {
        let issuer = NonceIssuer::new([7; 16]);
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u64)
                .map(|thread| {
                    let issuer = &issuer;
                    let issue = move |n: u64| issuer.issue(n + thread, &binding());
                    scope.spawn(move || (0..5_000).map(issue).collect::<Vec<_>>())
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn a_nonce_that_would_be_issued_changes_nothing() {
        let issuer = NonceIssuer::new([7; 16]);
        let now_ms = 5_000;
        let first = stamp(&issuer, &issuer.issue(now_ms, &binding()), now_ms);
        for later_ms in [now_ms, 1_000_000] {
            let nonce = issuer.would_issue(later_ms, &binding());
            assert!(stamp(&issuer, &nonce, later_ms) > first);
        }
        assert_eq!(
            stamp(&issuer, &issuer.issue(now_ms, &binding()), now_ms),
            first + (1 << ISSUER_BITS)
        );
    }
}
