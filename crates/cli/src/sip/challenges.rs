//! Challenges of a next hop in a realm of this edge: no phone can ever answer one, since the edge removes
//! the credentials for its own realms.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sip_authz::escape_name;
use sip_authz::message::{Message, StartLine};
use sip_authz_proxy::named_realms;

use crate::system::output::warn;

/// The minimum time between two warnings for a realm.
const QUIET: Duration = Duration::from_secs(60);
/// The maximum number of realms whose last warning is remembered.
const MAX_REALMS: usize = 1_024;

/// The realm of this side, as `is_own` says, that a response challenges in; none if it challenges in no
/// such realm or is no challenge (RFC 3261 §22.1).
pub(super) fn challenged_realm(
    message: &Message<'_>,
    is_own: impl Fn(&str) -> bool,
) -> Option<String> {
    let StartLine::Response { status: 401 | 407, .. } = message.start_line() else { return None };
    let is_challenge = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"WWW-Authenticate")
            || name.eq_ignore_ascii_case(b"Proxy-Authenticate")
    };
    let fields = message.fields().filter(|field| is_challenge(field.name));
    let mut realms = fields.flat_map(|field| named_realms(field.value));
    realms.find(|realm| is_own(realm)).map(|realm| realm.into_owned())
}

/// Warns of challenges in own realms.
#[derive(Default)]
pub(super) struct OwnRealmWarnings {
    /// The time of the last warning for each realm.
    last: Mutex<HashMap<String, Instant>>,
}

impl OwnRealmWarnings {
    /// Warns that the hop with this name challenges in a realm, at most once a minute for each realm.
    pub(super) fn warn(&self, realm: &str, hop: impl FnOnce() -> String) {
        if self.is_due(realm, Instant::now()) {
            warn(format_args!(
                "warning: {} challenges in the realm `{}`, which is a realm of this edge: the edge \
                 removes the credentials for it, so its phones cannot answer. Let the PBX trust the \
                 edge, or give the PBX another realm",
                hop(),
                escape_name(realm)
            ));
        }
    }

    fn is_due(&self, realm: &str, now: Instant) -> bool {
        // the map is whole in any case
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |last: &Instant| now.saturating_duration_since(*last) < QUIET;
        if last.get(realm).is_some_and(is_quiet) {
            return false;
        }
        if last.len() >= MAX_REALMS {
            last.retain(|_, last| is_quiet(last));
        }
        // with more realms than that, the others wait
        if last.len() >= MAX_REALMS {
            return false;
        }
        last.insert(realm.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: u16, fields: &str) -> Option<String> {
        let text = format!("SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP a\r\n{fields}\r\n\r\n");
        let message = Message::scan(text.as_bytes()).unwrap();
        challenged_realm(&message, |realm| realm.eq_ignore_ascii_case("own"))
    }

    #[test]
    fn a_challenge_in_an_own_realm_is_found_in_every_spelling() {
        for (status, fields, expected) in [
            (401, "WWW-Authenticate: Digest realm=\"own\", nonce=\"x\"", true),
            (407, "proxy-authenticate:Digest nonce=\"x\",\r\n REALM = \"OWN\"", true),
            (
                401,
                "WWW-Authenticate: Digest realm=\"a\"\r\nWWW-AUTHENTICATE: Digest realm=own",
                true,
            ),
            (401, "WWW-Authenticate: Digest realm=\"other\"", false),
            (401, "Authorization: Digest realm=\"own\"", false),
            (403, "WWW-Authenticate: Digest realm=\"own\"", false),
            (200, "WWW-Authenticate: Digest realm=\"own\"", false),
            (401, "X: y", false),
        ] {
            assert_eq!(found(status, fields).is_some(), expected, "{status} {fields}");
        }
    }

    #[test]
    fn a_realm_has_one_warning_a_minute() {
        let (warnings, start) = (OwnRealmWarnings::default(), Instant::now());
        let due = |realm: &str, after| warnings.is_due(realm, start + Duration::from_secs(after));
        let found = [due("a", 0), due("a", 59), due("b", 59), due("a", 60), due("a", 61)];
        assert_eq!(found, [true, false, true, true, false]);
        let all = (0..2 * MAX_REALMS).filter(|number| due(&number.to_string(), 70));
        // `a` and `b` are remembered
        assert_eq!(all.count(), MAX_REALMS - 2);
        assert_eq!(warnings.last.lock().unwrap().len(), MAX_REALMS);
        assert!(due("a", 200) && !due("a", 201));
    }
}
