//! The times at which certificates expire, for metrics and warnings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A day.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The time before the end of a certificate in which the program warns.
const SOON: Duration = DAY.saturating_mul(14);

/// The time at which a chain of certificates expires.
#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    /// The file of the chain.
    pub(crate) file: PathBuf,
    /// The end of the certificate that expires first; none if it cannot be read.
    pub(crate) at: Option<SystemTime>,
}

impl Expiry {
    /// The warning that is due at this time.
    pub(crate) fn warning(&self, now: SystemTime) -> Option<Warning<'_>> {
        let file = self.file.as_path();
        let Some(at) = self.at else { return Some(Warning::Unknown { file }) };
        match at.duration_since(now) {
            Ok(left) if left >= SOON => None,
            Ok(left) => Some(Warning::Soon { file, at, days: left.as_secs() / DAY.as_secs() }),
            Err(_) => Some(Warning::Expired { file, at }),
        }
    }
}

/// A warning about a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Warning<'a> {
    Unknown {
        file: &'a Path,
    },
    Soon {
        file: &'a Path,
        at: SystemTime,
        /// The number of whole days until then.
        days: u64,
    },
    Expired {
        file: &'a Path,
        at: SystemTime,
    },
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { file } => {
                let file = file.display();
                write!(f, "warning: {file}: cannot read when the certificate expires")
            }
            Self::Soon { file, at, days } => {
                let (file, at) = (file.display(), Date(*at));
                write!(f, "warning: {file}: the certificate expires at {at}, in ")?;
                match days {
                    0 => f.write_str("less than a day"),
                    1 => f.write_str("1 day"),
                    days => write!(f, "{days} days"),
                }
            }
            Self::Expired { file, at } => {
                let (file, at) = (file.display(), Date(*at));
                write!(f, "warning: {file}: the certificate expired at {at}; clients refuse it")
            }
        }
    }
}

/// A time in UTC.
struct Date(SystemTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::try_from(self.0) {
            Ok(time) => time.fmt(f),
            // after the year 9999
            Err(_) => f.write_str("a time out of range"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_in_the_last_14_days() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let expiry = Expiry { file: "cert.pem".into(), at: Some(at) };
        let warning = |left: Duration| expiry.warning(at - left).map(|it| it.to_string());
        assert_eq!(warning(SOON), None);
        let begin = "warning: cert.pem: the certificate expires at 2030-03-17T17:46:40Z, in";
        for (left, text) in [
            (SOON - Duration::from_secs(1), "13 days"),
            (DAY * 2, "2 days"),
            (DAY, "1 day"),
            (DAY - Duration::from_secs(1), "less than a day"),
            (Duration::ZERO, "less than a day"),
        ] {
            assert_eq!(warning(left), Some(format!("{begin} {text}")));
        }
        let late = expiry.warning(at + Duration::from_secs(1)).map(|it| it.to_string());
        let expected =
            "warning: cert.pem: the certificate expired at 2030-03-17T17:46:40Z; clients refuse it";
        assert_eq!(late.as_deref(), Some(expected));
        let unknown = Expiry { at: None, ..expiry };
        let text = unknown.warning(at).map(|it| it.to_string());
        let expected = "warning: cert.pem: cannot read when the certificate expires";
        assert_eq!(text.as_deref(), Some(expected));
    }
}
