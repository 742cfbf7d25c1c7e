//! Checks of credentials that the grammar does not make. They look up no user.

use super::{Blame, Judge};
use crate::authorizer::explain::{HeaderStep, Step, Trace};
use crate::decision::{Cause, Reason, UsedHeader};
use crate::digest::{Algorithm, Credentials, MalformedCredentials, Username};
use crate::model::{Policy, UriCheck};
use crate::uri::{Host, SipUri};

/// The longest body, in bytes, that is hashed (`auth-int`). A stranger chooses its length.
const MAX_BODY: usize = 32_768;

/// Whether the policy offers the algorithm, the qop and the form of the name; the cause if not.
#[inline(always)]
pub(in crate::authorizer) fn offers(
    policy: &Policy,
    credentials: &Credentials<'_>,
) -> Result<(), Cause> {
    if !policy.algorithms.contains(credentials.algorithm) {
        return Err(Cause::AlgorithmNotOffered);
    }
    if credentials.qop.is_some_and(|fields| !policy.qop.contains(fields.qop)) {
        return Err(Cause::QopNotOffered);
    }
    match credentials.username {
        Username::Hash(_) if !policy.userhash => Err(Cause::UserhashNotOffered),
        _ => Ok(()),
    }
}

impl Judge<'_, '_, '_> {
    /// Checks the rules that the grammar does not cover. Looks up no user.
    #[inline]
    pub(super) fn check_form<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        trace: &mut T,
    ) -> Result<(), (Reason, Blame)> {
        trace.step(|| Step::Header(header, HeaderStep::read(credentials)));
        if credentials.qop.is_none()
            && let Err(cause) = self.admits_without_qop(credentials)
        {
            return Err((Reason::QopMissing, Blame::of(cause)));
        }
        if let Err(cause) = self.uri_matches(credentials.uri) {
            return Err((Reason::UriMismatch, Blame::of(cause)));
        }
        if credentials.covers_body() && self.invite.body().len() > MAX_BODY {
            return Err(super::malformed(MalformedCredentials::BodyTooLong));
        }
        Ok(())
    }

    fn admits_without_qop(&self, credentials: &Credentials<'_>) -> Result<(), Cause> {
        match (self.policy.allow_rfc2069, credentials.algorithm) {
            (false, _) => Err(Cause::QopMissing),
            (true, Algorithm::Md5) => Ok(()),
            (true, _) => Err(Cause::QopMissingForAlgorithm),
        }
    }

    /// Whether the digest-uri matches the Request-URI as the policy requires (RFC 7616 §3.4.6); the
    /// cause if not.
    #[inline]
    fn uri_matches(&self, digest_uri: &[u8]) -> Result<(), Cause> {
        // fast path: equal texts match under every check
        if self.policy.uri_check == UriCheck::Off
            || digest_uri == self.invite.request_uri().as_bytes()
        {
            return Ok(());
        }
        self.compare_uris(digest_uri)
    }

    fn compare_uris(&self, digest_uri: &[u8]) -> Result<(), Cause> {
        let text = std::str::from_utf8(digest_uri).map_err(|_| Cause::UriUnreadable)?;
        let uri = SipUri::parse_request_uri(text).map_err(|_| Cause::UriUnreadable)?;
        // a URI without a host matches only the same text
        let request_uri = self.request_uri.ok_or(Cause::UriDiffers)?;
        let same_host = || Host::parse(uri.host).is_ok_and(|host| host.as_str() == self.uri_host);
        let same_user = || uri.same_user(request_uri);
        let matches = match self.policy.uri_check {
            UriCheck::Off => true,
            UriCheck::SameHost => same_host(),
            UriCheck::SameUserAndHost => same_host() && same_user(),
            UriCheck::Equivalent => uri.equivalent(request_uri),
        };
        match matches {
            true => Ok(()),
            false if !same_host() => Err(Cause::UriOfOtherHost),
            false if !same_user() => Err(Cause::UriOfOtherUser),
            false => Err(Cause::UriDiffers),
        }
    }
}
