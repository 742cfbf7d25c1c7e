//! Compares parts of two SIP URIs (RFC 3261 §19.1.4), in linear time for any parameters.

use arrayvec::ArrayVec;

use super::{MAX_PARAMS, split_after};

/// A parameter or a header.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
    /// Hash of the lower-case name, and of a header's value. A hostile URI can have many long names
    /// that differ only at the end. Only names with equal hashes are compared, so the time stays
    /// linear.
    hash: u64,
}

impl Pair<'_> {
    pub(super) fn is_named(&self, other: &Pair<'_>) -> bool {
        self.hash == other.hash && folded(self.name, other.name)
    }
}

/// Splits parameters (`;`) or headers (`&`). None if there are more than [`MAX_PARAMS`].
pub(super) fn read_pairs(text: &str, separator: char) -> Option<ArrayVec<Pair<'_>, MAX_PARAMS>> {
    let mut pairs = ArrayVec::new();
    for pair in text.split(separator).filter(|_| !text.is_empty()) {
        let (name, value) = split_after(pair, '=');
        let hashed = value.filter(|_| separator == '&').unwrap_or_default();
        // FNV-1a.
        let add = |hash: u64, (byte, escaped): (u8, bool)| {
            (hash ^ u64::from(byte) ^ u64::from(escaped) << 8).wrapping_mul(0x100_0000_01b3)
        };
        let hash = lower(name).chain(units(hashed)).fold(0xcbf2_9ce4_8422_2325, add);
        pairs.try_push(Pair { name, value, hash }).ok()?;
    }
    Some(pairs)
}

/// Whether each parameter matches its counterpart, or may be missing from the other URI.
pub(super) fn same_params(ours: &str, theirs: &str) -> bool {
    let never_missing = ["user", "ttl", "method", "maddr", "transport"];
    let covers = |ours: &[Pair<'_>], theirs: &[Pair<'_>]| {
        ours.iter().all(|our| {
            let their = theirs.iter().find(|their| their.is_named(our));
            match (our.value, their.map(|their| their.value)) {
                (_, None) => !never_missing.iter().any(|known| folded(our.name, known)),
                (Some(a), Some(Some(b))) if folded(our.name, "method") => exact(a, b),
                (Some(a), Some(Some(b))) => folded(a, b),
                (a, Some(b)) => a == b,
            }
        })
    };
    match (read_pairs(ours, ';'), read_pairs(theirs, ';')) {
        (Some(ours), Some(theirs)) => covers(&ours, &theirs) && covers(&theirs, &ours),
        _ => false,
    }
}

/// Whether each parameter has one of these names, in any case. A name with escapes is none of them.
pub(super) fn only_params(params: &str, names: &[&str]) -> bool {
    let is_named = |param| {
        let name = split_after(param, '=').0;
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    params.is_empty() || params.split(';').all(is_named)
}

/// Whether the headers match one to one.
pub(super) fn same_headers(ours: &str, theirs: &str) -> bool {
    let (Some(ours), Some(mut left)) = (read_pairs(ours, '&'), read_pairs(theirs, '&')) else {
        return false;
    };
    ours.len() == left.len()
        && ours.iter().all(|our| {
            let same = |their: &Pair<'_>| their.is_named(our) && same_text(our.value, their.value);
            left.iter().position(same).and_then(|at| left.swap_pop(at)).is_some()
        })
}

/// Whether both are missing, or equal after decoding escapes, case-sensitively.
pub(super) fn same_text(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => exact(a, b),
        (a, b) => a == b,
    }
}

/// Equality after decoding escapes, case-sensitive.
fn exact(a: &str, b: &str) -> bool {
    a == b || units(a).eq(units(b))
}

/// Equality after decoding escapes, case-insensitive.
fn folded(a: &str, b: &str) -> bool {
    lower(a).eq(lower(b))
}

fn lower(text: &str) -> impl Iterator<Item = (u8, bool)> {
    units(text).map(|(byte, escaped)| (byte.to_ascii_lowercase(), escaped))
}

/// The decoded bytes of `text`. The flag marks an escaped reserved character, which differs from
/// the character itself (RFC 3261 §19.1.4, RFC 2396 §2.2).
pub(super) fn units(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut bytes = text.bytes();
    let hex = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        if byte != b'%' {
            return Some((byte, false));
        }
        let mut ahead = bytes.clone();
        let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) else {
            return Some((byte, false));
        };
        bytes = ahead;
        let byte = high << 4 | low;
        Some((byte, b";/?:@&=+$,".contains(&byte)))
    })
}
