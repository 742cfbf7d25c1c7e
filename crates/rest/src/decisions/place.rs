//! The places of decisions in the order of all edges, as page tokens carry them.

use std::fmt;
use std::str::FromStr;

use sip_authz::DecisionSid;

/// The place of a decision in the order of all edges: by time, then by SID. Its text is the number of
/// microseconds, a hyphen and the SID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Microseconds since 1970.
    pub micros: u64,
    /// The SID of the decision.
    pub sid: DecisionSid,
}

/// The decision at which the rows of a [`Query`](super::Query) begin. Rows are newest first in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// The newest decisions.
    #[default]
    Newest,
    /// The newest of the decisions that are older than this place.
    Before(Place),
    /// The oldest of the decisions that are newer than this place.
    After(Place),
}

/// The text is not a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of microseconds, a hyphen and the SID of a decision")]
pub struct PlaceError(());

impl Start {
    /// Whether a decision at `place` stands in the direction of this start.
    #[must_use]
    pub fn admits(self, place: Place) -> bool {
        match self {
            Self::Newest => true,
            Self::Before(end) => place < end,
            Self::After(end) => place > end,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.micros, self.sid)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (micros, sid) = text.split_once('-').ok_or(PlaceError(()))?;
        if !micros.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PlaceError(()));
        }
        let micros = micros.parse().map_err(|_| PlaceError(()))?;
        Ok(Self { micros, sid: sid.parse().map_err(|_| PlaceError(()))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_place_round_trips() {
        let place = Place { micros: 1_795_000_000_123_456, sid: DecisionSid::from_bytes([9; 16]) };
        assert_eq!(place.to_string().parse(), Ok(place));
        let sid = place.sid;
        for wrong in ["", "7", "-", &format!("+7-{sid}"), &format!("7 -{sid}"), &format!("-{sid}")]
        {
            assert_eq!(wrong.parse::<Place>(), Err(PlaceError(())), "{wrong}");
        }
        assert!(
            "18446744073709551616-NO09090909090909090909090909090909".parse::<Place>().is_err()
        );
    }

    #[test]
    fn a_start_admits_the_places_in_its_direction() {
        let at = |micros, byte| Place { micros, sid: DecisionSid::from_bytes([byte; 16]) };
        let middle = at(5, 5);
        assert!(Start::Newest.admits(middle));
        for (older, newer) in [(at(4, 9), at(6, 0)), (at(5, 4), at(5, 6))] {
            assert!(Start::Before(middle).admits(older) && !Start::Before(middle).admits(newer));
            assert!(Start::After(middle).admits(newer) && !Start::After(middle).admits(older));
        }
        assert!(!Start::Before(middle).admits(middle) && !Start::After(middle).admits(middle));
    }
}
