//! Counts logins with a wrong token, and warns the operator of them: at once, then at most once a minute
//! for `admin` and for accounts each.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics::{counter, describe_counter};
use sip_authz_rest::{FailedLogin, LoginUser, OnFailedLogin};

use crate::observe::http_errors::WarningLimit;
use crate::observe::writer::Writer;
use crate::system::output::{ProgramError, warn};

/// The name of the metric.
const METRIC: &str = "sip_authz_api_failed_logins_total";

/// The failed logins since the start.
#[derive(Default)]
pub(crate) struct FailedLogins {
    admin: Kind,
    account: Kind,
}

/// The failed logins of one kind of user.
#[derive(Default)]
struct Kind {
    count: AtomicU64,
    limit: Mutex<WarningLimit>,
}

impl FailedLogins {
    /// A callback that counts logins, and prints the warnings to stderr on a thread of its own, so that a
    /// blocked stderr delays no request.
    pub(crate) fn callback(self: &Arc<Self>) -> Result<OnFailedLogin, ProgramError> {
        let (lines, due) = sync_channel::<String>(2);
        Writer::start("failed logins", move || due.into_iter().for_each(warn))?;
        let logins = Arc::clone(self);
        Ok(OnFailedLogin::new(move |login| logins.note(login, Instant::now(), &lines)))
    }

    fn note(&self, login: &FailedLogin, now: Instant, lines: &SyncSender<String>) {
        if let Some(line) = self.count(login, now) {
            // dropped if stderr has not taken the last warnings
            let _ = lines.try_send(line);
        }
    }

    /// Counts a login. Returns a warning if one is due.
    fn count(&self, login: &FailedLogin, now: Instant) -> Option<String> {
        let kind = match login.user {
            LoginUser::Admin => &self.admin,
            LoginUser::Account(_) => &self.account,
        };
        kind.count.fetch_add(1, Ordering::Relaxed);
        let suppressed = kind.limit.lock().unwrap_or_else(PoisonError::into_inner).due(now)?;
        let more = match suppressed {
            0 => String::new(),
            suppressed => format!(" ({suppressed} more since the last warning)"),
        };
        let user = Shown(login.user);
        Some(match login.source {
            Some(source) => format!("warning: failed login of {user} from {source}{more}"),
            None => format!("warning: failed login of {user} from an unknown address{more}"),
        })
    }

    /// Describes the metric.
    pub(crate) fn describe() {
        describe_counter!(METRIC, "Logins at the REST API with a wrong token or user, by user");
    }

    /// Records the counts.
    pub(crate) fn record(&self) {
        for (user, kind) in [("admin", &self.admin), ("account", &self.account)] {
            counter!(METRIC, "user" => user).absolute(kind.count.load(Ordering::Relaxed));
        }
    }
}

/// The user of a login in a warning. A name that is no SID is not shown: it can be anything, such as a
/// token in the wrong place.
struct Shown(LoginUser);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LoginUser::Admin => f.write_str("the user `admin`"),
            LoginUser::Account(Some(sid)) => write!(f, "the account {sid}"),
            LoginUser::Account(None) => f.write_str("a user that is no account"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip_authz::AccountSid;

    use super::*;

    #[test]
    fn each_kind_of_user_is_counted_and_has_one_warning_a_minute() {
        let (logins, start) = (FailedLogins::default(), Instant::now());
        let source = Some("192.0.2.7:4711".parse().unwrap());
        let sid = AccountSid::from_name(&["a"]);
        let failed = |user, source, seconds| {
            let now = start + Duration::from_secs(seconds);
            logins.count(&FailedLogin::new(user, source), now)
        };
        let admin = "warning: failed login of the user `admin` from";
        let first = failed(LoginUser::Admin, source, 0);
        assert_eq!(first, Some(format!("{admin} 192.0.2.7:4711")));
        assert_eq!(failed(LoginUser::Admin, source, 59), None);
        // a flood of one kind does not hide the other
        let account = failed(LoginUser::Account(Some(sid)), source, 59);
        let expected = format!("warning: failed login of the account {sid} from 192.0.2.7:4711");
        assert_eq!(account, Some(expected));
        for second in 60..119 {
            assert_eq!(failed(LoginUser::Account(None), None, second), None);
        }
        let more = failed(LoginUser::Account(None), None, 119);
        let expected = "warning: failed login of a user that is no account from an unknown address \
                        (59 more since the last warning)";
        assert_eq!(more.as_deref(), Some(expected));
        let more = failed(LoginUser::Admin, source, 120);
        let expected = format!("{admin} 192.0.2.7:4711 (1 more since the last warning)");
        assert_eq!(more, Some(expected));
        let counts = [&logins.admin, &logins.account].map(|it| it.count.load(Ordering::Relaxed));
        assert_eq!(counts, [3, 61]);
    }
}
