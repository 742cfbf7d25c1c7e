//! Sampling of decisions for logs and events.

use std::num::NonZeroU32;
use std::str::FromStr;

use super::Decision;

/// Selects the decisions that a log or subscriber receives. Written `all`, `refused`, `1/100` or
/// `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sampling {
    /// All decisions.
    #[default]
    All,
    /// Rejections only.
    Refused,
    /// One of every N decisions.
    OneIn(NonZeroU32),
    /// No decisions.
    Nothing,
}

/// The text is not a sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `all`, `refused`, `none` or `1/N`")]
pub struct SamplingError;

impl Sampling {
    /// Whether to take `decision`, which is number `place` of all decisions, counted from 0.
    #[must_use]
    pub fn takes(self, decision: &Decision, place: u64) -> bool {
        match self {
            Self::All => true,
            Self::Refused => matches!(decision, Decision::Reject(_)),
            Self::OneIn(n) => place.is_multiple_of(n.get().into()),
            Self::Nothing => false,
        }
    }
}

impl FromStr for Sampling {
    type Err = SamplingError;

    fn from_str(text: &str) -> Result<Self, SamplingError> {
        match text {
            "all" => Ok(Self::All),
            "refused" => Ok(Self::Refused),
            "none" => Ok(Self::Nothing),
            _ => {
                let n = text.strip_prefix("1/").ok_or(SamplingError)?;
                n.parse().map(Self::OneIn).map_err(|_| SamplingError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Cause, Challenge, Reason, Reject};
    use crate::model::{ChallengeKind, Target};
    use crate::sid::DomainSid;

    #[test]
    fn each_sampling_takes_its_share() {
        let reject = Decision::Reject(Reject::new(None, Reason::UnknownHost));
        let challenge = Decision::Challenge(Challenge {
            target: Target::Domain(DomainSid::from_name(&["d"])),
            kind: ChallengeKind::Proxy,
            values: Vec::new(),
            stale: false,
            cause: Cause::NoCredentials,
            claimed: None,
        });
        let taken = |text: &str| {
            let sampling: Sampling = text.parse().unwrap();
            let count = |decision| (0..10).filter(|at| sampling.takes(decision, *at)).count();
            (count(&reject), count(&challenge))
        };
        assert_eq!(taken("all"), (10, 10));
        assert_eq!(taken("refused"), (10, 0));
        assert_eq!(taken("1/1"), (10, 10));
        assert_eq!(taken("1/4"), (3, 3));
        assert_eq!(taken("1/4294967295"), (1, 1));
        assert_eq!(taken("none"), (0, 0));
        for text in ["", "1/0", "1/", "1/-1", "2/3", "1/4294967296", "ALL"] {
            assert_eq!(text.parse::<Sampling>(), Err(SamplingError), "{text}");
        }
    }
}
