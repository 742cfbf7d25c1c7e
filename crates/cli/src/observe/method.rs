//! The methods of requests, for logs and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, describe_counter};
use sip_authz::Decision;

/// Declares [`MethodName`]: the methods that have a name of their own in logs. Those of the first list are
/// decided, and have a name in metrics too. Requests with the others are sent within a dialog, or follow
/// another request.
macro_rules! methods {
    ([$($name:ident, $text:literal;)*] [$($undecided:ident, $undecided_text:literal;)*]) => {
        /// The method of a request. A caller can make up any number of methods, so logs and
        /// metrics know the usual ones only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum MethodName {
            $($name,)*
            Other,
            $($undecided,)*
        }

        /// The number of methods that metrics have.
        const COUNTED: usize = [$($text),*].len() + 1;

        impl MethodName {
            /// All methods, in the order of their indices.
            const ALL: [Self; COUNTED + [$($undecided_text),*].len()] =
                [$(Self::$name,)* Self::Other, $(Self::$undecided,)*];

            /// The name of a method, compared with case (RFC 3261 §7.1).
            pub(crate) fn of(method: &str) -> Self {
                match method {
                    $($text => Self::$name,)*
                    $($undecided_text => Self::$undecided,)*
                    _ => Self::Other,
                }
            }

            /// The text for logs and metrics.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    $(Self::$undecided => $undecided_text,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

methods! {
    [
        Invite, "INVITE";
        Register, "REGISTER";
        Options, "OPTIONS";
        Message, "MESSAGE";
        Subscribe, "SUBSCRIBE";
        Notify, "NOTIFY";
        Publish, "PUBLISH";
        Refer, "REFER";
    ]
    [
        Bye, "BYE";
        Info, "INFO";
        Update, "UPDATE";
        Prack, "PRACK";
        Ack, "ACK";
        Cancel, "CANCEL";
    ]
}

/// Counts of decisions by method and outcome.
#[derive(Debug)]
pub(crate) struct MethodCounts([[AtomicU64; OUTCOMES.len()]; COUNTED]);

/// The outcomes of decisions, as [`Decision::outcome`] names them.
const OUTCOMES: [&str; 3] = ["accept", "challenge", "reject"];

/// The name of the metric.
const METRIC: &str = "sip_authz_method_decisions_total";

impl Default for MethodCounts {
    fn default() -> Self {
        Self([const { [const { AtomicU64::new(0) }; OUTCOMES.len()] }; COUNTED])
    }
}

impl MethodCounts {
    /// Counts decisions. Those of a batch are added at once, since threads share the counters.
    pub(crate) fn count<'d>(&self, decisions: impl Iterator<Item = (MethodName, &'d Decision)>) {
        let mut batch = [[0; OUTCOMES.len()]; COUNTED];
        for (method, decision) in decisions {
            let outcome = match decision {
                Decision::Accept(_) => 0,
                Decision::Challenge(_) => 1,
                Decision::Reject(_) => 2,
            };
            let counts = batch.get_mut(method as usize);
            if let Some(count) = counts.and_then(|counts| counts.get_mut(outcome)) {
                *count += 1;
            }
        }
        for (total, count) in self.0.iter().flatten().zip(batch.into_iter().flatten()) {
            if count > 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Describes the metric.
    pub(crate) fn describe() {
        describe_counter!(METRIC, "Requests decided, by method and outcome");
    }

    /// Records the counts.
    pub(crate) fn record(&self) {
        for (method, counts) in MethodName::ALL.into_iter().zip(&self.0) {
            for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
                let labels = [("method", method.as_str()), ("outcome", outcome)];
                counter!(METRIC, &labels).absolute(count.load(Ordering::Relaxed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sip_authz::{Reason, Reject};

    use super::*;

    #[test]
    fn each_method_has_its_name_and_its_counts() {
        let counts = MethodCounts::default();
        let reject = Decision::Reject(Reject::new(None, Reason::UnknownHost));
        for (at, method) in MethodName::ALL.into_iter().enumerate() {
            assert_eq!((method as usize, MethodName::of(method.as_str())), (at, method));
            counts.count((0..=at).map(|_| (method, &reject)));
        }
        let rejected = |method: MethodName| counts.0[method as usize][2].load(Ordering::Relaxed);
        for (at, method) in (1..).zip(MethodName::ALL).take(COUNTED) {
            assert_eq!(rejected(method), at);
        }
        assert_eq!(reject.outcome(), OUTCOMES[2]);
        for made_up in ["", "invite", "REGISTERS", "X"] {
            assert_eq!(MethodName::of(made_up), MethodName::Other, "{made_up}");
        }
    }
}
