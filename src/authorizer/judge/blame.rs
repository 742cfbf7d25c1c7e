//! The internal cause of a verdict, found without a branch on the claimed user.

use subtle::{Choice, ConditionallySelectable, ConstantTimeGreater};

use crate::decision::Cause;
use crate::sid::CredentialSid;
use crate::snapshot::CredentialEntry;

/// A cause, and the credential with the claimed user name.
///
/// An unknown user, a disabled one, one without a hash and a wrong password take the same
/// instructions and read the same entry of the snapshot: the user, or the decoy of a miss.
#[derive(Clone, Copy)]
pub(in crate::authorizer) struct Blame {
    /// The index of the [`Cause`]. Of several causes of wrong credentials the highest is named.
    cause: u8,
    /// 1 if a user has the claimed name, else 0.
    is_claimed: u8,
    /// The SID of the user, or without meaning.
    sid: [u64; 2],
}

impl Blame {
    /// A cause without a user.
    pub(in crate::authorizer) const fn of(cause: Cause) -> Self {
        Self { cause: cause as u8, is_claimed: 0, sid: [0; 2] }
    }

    /// A cause with a user who proved the password.
    pub(super) fn of_proved(cause: Cause, user: &CredentialEntry) -> Self {
        Self { cause: cause as u8, is_claimed: 1, sid: words(user.sid) }
    }

    /// The cause if the response is not right for a user of a list. `hit`: the list has the name;
    /// `enabled` and `has_hash` are about `near`, the user or the decoy of a miss.
    pub(super) fn of_user(
        hit: Choice,
        enabled: Choice,
        has_hash: Choice,
        near: Option<&CredentialEntry>,
    ) -> Self {
        let [hit, enabled, has_hash] = [hit, enabled, has_hash].map(|it| it.unwrap_u8());
        // the place in `Cause::USER`
        let place = hit.wrapping_add(hit & enabled).wrapping_add(hit & enabled & has_hash);
        Self {
            cause: (Cause::UserUnknown as u8).wrapping_add(place),
            is_claimed: hit,
            sid: near.map_or([0; 2], |user| words(user.sid)),
        }
    }

    /// Replaces the cause, but not the user, if `replaces`.
    pub(super) fn replace_if(&mut self, replaces: bool, cause: Cause) {
        self.cause.conditional_assign(&(cause as u8), Choice::from(u8::from(replaces)));
    }

    /// Takes the other one if its cause is higher.
    pub(super) fn raise(&mut self, other: &Self) {
        let is_higher = other.cause.ct_gt(&self.cause);
        self.cause.conditional_assign(&other.cause, is_higher);
        self.is_claimed.conditional_assign(&other.is_claimed, is_higher);
        for (word, other) in self.sid.iter_mut().zip(&other.sid) {
            word.conditional_assign(other, is_higher);
        }
    }

    /// The cause.
    pub(in crate::authorizer) fn cause(&self) -> Cause {
        Cause::ALL.get(usize::from(self.cause)).copied().unwrap_or(Cause::UserUnknown)
    }

    /// The credential with the claimed user name.
    pub(in crate::authorizer) fn claimed(&self) -> Option<CredentialSid> {
        let sid = self.sid.map(u64::to_ne_bytes);
        // both have 16 bytes
        let sid = sid.as_flattened().try_into().unwrap_or_default();
        (self.is_claimed != 0).then_some(CredentialSid::from_bytes(sid))
    }
}

fn words(sid: CredentialSid) -> [u64; 2] {
    let (chunks, _) = sid.as_bytes().as_chunks();
    match chunks {
        [first, second] => [u64::from_ne_bytes(*first), u64::from_ne_bytes(*second)],
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_user_is_that_of_its_cause() {
        let choice = |it: bool| Choice::from(u8::from(it));
        for (hit, enabled, has_hash, expected) in [
            (false, false, false, Cause::UserUnknown),
            (false, true, true, Cause::UserUnknown),
            (true, false, false, Cause::UserDisabled),
            (true, false, true, Cause::UserDisabled),
            (true, true, false, Cause::HashMissing),
            (true, true, true, Cause::WrongPassword),
        ] {
            let blame = Blame::of_user(choice(hit), choice(enabled), choice(has_hash), None);
            assert_eq!((blame.cause(), blame.claimed().is_some()), (expected, hit));
        }
    }

    #[test]
    fn the_higher_cause_is_kept_with_its_user() {
        let of = |cause, byte| Blame { cause: cause as u8, is_claimed: 1, sid: [byte; 2] };
        let sid = |byte: u64| {
            CredentialSid::from_bytes([byte.to_ne_bytes(); 2].concat().try_into().unwrap())
        };
        let mut blame = Blame::of(Cause::UserUnknown);
        assert_eq!(blame.claimed(), None);
        blame.raise(&of(Cause::HashMissing, 7));
        blame.raise(&of(Cause::UserDisabled, 8));
        blame.raise(&of(Cause::HashMissing, 9));
        assert_eq!((blame.cause(), blame.claimed()), (Cause::HashMissing, Some(sid(7))));
        blame.replace_if(false, Cause::BeyondCopies);
        assert_eq!(blame.cause(), Cause::HashMissing);
        blame.replace_if(true, Cause::BeyondCopies);
        assert_eq!((blame.cause(), blame.claimed()), (Cause::BeyondCopies, Some(sid(7))));
        for cause in Cause::ALL {
            assert_eq!(Blame::of(*cause).cause(), *cause);
        }
    }
}
