//! The internal causes of challenges and rejections. One table defines each cause's reason and
//! texts; the enum, its methods, the counters, metrics and logs derive from it.

use std::fmt;

use super::Reason;
use crate::digest::MalformedCredentials;

/// The answer of a decision with a [`Cause`].
#[derive(Clone, Copy)]
enum Answer {
    /// A challenge without `stale`.
    Asked,
    /// A challenge with `stale=true`.
    Stale,
    /// A rejection with this reason or, for wrong credentials, a challenge if the policy says so.
    Rejected(Reason),
}

/// Declares [`Cause`] from rows `Variant: answer, "text", "meaning", "what to do";`.
macro_rules! causes {
    ($($variant:ident: $answer:expr, $text:literal, $meaning:literal, $advice:literal;)*) => {
        /// The internal cause of a challenge or rejection, finer than its [`Reason`]. The texts of
        /// [`Cause::as_str`] are stable.
        ///
        /// For operators only. Never show it to a caller: it reveals which users exist and which
        /// nonces were issued here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Cause {
            $(
                #[doc = concat!("`", $text, "`: ", $meaning, ".")]
                $variant,
            )*
        }

        impl Cause {
            /// Every cause once, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// A stable text for logs and metrics, without values from the request.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The meaning of the cause: a clause in plain words, without a full stop.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }

            /// Advice to the operator: a clause in plain words, without a full stop.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)*
                }
            }

            const fn answer(self) -> Answer {
                match self {
                    $(Self::$variant => $answer,)*
                }
            }
        }
    };
}

use Answer::{Asked, Rejected, Stale};
use Reason::{
    AccountInactive, AddressNotListed, BadRequestUri, FromMismatch, MethodNotAllowed, NotSecure,
    NothingMapped, OtherProcess, QopMissing, RegistrationNotAllowed, SnapshotStale, ToMismatch,
    TooManyCredentials, TooManyGuesses, UnknownHost, UnsupportedScheme, UriMismatch,
    WrongCredentials,
};

/// The example of a reason with a payload.
const MALFORMED: Reason = Reason::MalformedCredentials(MalformedCredentials::UnknownQop);

causes! {
    // Causes of wrong credentials. Of several with one reason, the last one in this order is named. The causes that
    // depend on the user are beside each other, see `USER`.
    AlgorithmNotOffered: Rejected(WrongCredentials), "algorithm-not-offered",
        "the client answered with an algorithm that the challenge did not offer",
        "set the client to an algorithm of the domain's policy, or add the algorithm to `algorithms`";
    QopNotOffered: Rejected(WrongCredentials), "qop-not-offered",
        "the client answered with a qop that the challenge did not offer",
        "set the client to a qop of the domain's policy, or change `qop`";
    UserhashNotOffered: Rejected(WrongCredentials), "userhash-not-offered",
        "the client sent a hashed user name, which the challenge did not offer",
        "set the client to plain user names, or switch `userhash` on in the domain's policy";
    UserUnknown: Rejected(WrongCredentials), "user-unknown",
        "no mapped credential list has a user with the claimed name",
        "compare the name with the lists that are mapped for the method, since REGISTER has \
         lists of its own; names are compared whole and by case";
    UserDisabled: Rejected(WrongCredentials), "user-disabled",
        "the user is disabled",
        "enable the credential, unless it was disabled on purpose";
    HashMissing: Rejected(WrongCredentials), "hash-missing",
        "the user has no stored hash for the algorithm of the answer",
        "set the user's password again, or store the hash for this algorithm";
    WrongPassword: Rejected(WrongCredentials), "wrong-password",
        "the user exists, and the digest is wrong",
        "compare the password in the client, or set it again; if it is right, a proxy on the way may \
         have changed the method, and the client may have signed another realm";
    BeyondCopies: Rejected(WrongCredentials), "beyond-copies",
        "the digest is right for none of the compared users with this name, and more lists have \
         the name than are compared",
        "remove the name from the lists that do not need it";
    GuessLimit: Rejected(TooManyGuesses), "guess-limit",
        "the name from this source has used up its wrong digests, so the digest was not verified",
        "correct the password in the client, then wait; the policy sets the rate (`guesses`)";
    GuessLimitOfSource: Rejected(TooManyGuesses), "guess-limit-of-source",
        "the source has used up its wrong digests of all names, so the digest was not verified",
        "find the clients behind the source that send wrong passwords; the policy sets the rate \
         (`guesses`)";
    GuessLimitOfName: Rejected(TooManyGuesses), "guess-limit-of-name",
        "the name has used up its wrong digests of all sources, so the digest was not verified",
        "find the sources that guess the password; the policy sets the rate (`guesses`)";

    // Challenges without `stale`. Of several, the last one in this order is named.
    NoCredentials: Asked, "no-credentials",
        "the request has no credentials header",
        "nothing: a client answers the first challenge. If it never does, give it a user name and a \
         password";
    NotDigest: Asked, "not-digest",
        "no credentials use the scheme Digest",
        "set the client to digest authentication";
    OtherRealm: Asked, "other-realm",
        "no credentials are for the realm, or they break before their realm",
        "compare the realm in the log. If the credentials are for another proxy, do nothing; else leave \
         the realm in the client empty, or enter the realm of the domain's lists";
    UnreadableCredentials: Asked, "unreadable-credentials",
        "the credentials for the realm break the grammar of the header",
        "report the header to the maker of the client";
    IncompleteCredentials: Asked, "incomplete-credentials",
        "the credentials for the realm have no nonce or no response",
        "nothing: some clients send this before their first challenge";
    StaleLimit: Asked, "stale-limit",
        "the flow had too many answers with `stale=true`, because its nonces are never live",
        "see whether a load balancer spreads the requests of one client over several edges";

    // Challenges with `stale=true`. Of several nonces that are not live, the last one in this order is
    // named.
    NonceMalformed: Stale, "nonce-malformed",
        "the nonce does not have the form of nonces of this program",
        "see whether another server with the same realm challenges this client too";
    NonceOfOtherProcess: Stale, "nonce-of-other-process",
        "the nonce was issued by another process or before a restart, or it is made up",
        "nothing after a restart. In a fleet, route the retry to the edge that challenged, by source \
         address or Call-ID";
    NonceOfOtherBinding: Stale, "nonce-of-other-binding",
        "this process issued the nonce for another source address, host, realm or offer, or it \
         is made up",
        "nothing if the policy changed or the client moved. If its address changes with each \
         request, switch `bind_source` off";
    NonceExpired: Stale, "nonce-expired",
        "the nonce is older than its lifetime",
        "nothing: the client answers the new nonce. If it happens often, raise `nonce_lifetime`";
    NonceCountUsed: Stale, "nonce-count-used",
        "the digest is right, and the nonce count was used before",
        "nothing if it is rare. Else see whether the client counts its uses of a nonce, or whether \
         the request was recorded and sent again";
    NonceForgotten: Stale, "nonce-forgotten",
        "the digest is right, and the table of used nonces was too small to keep this nonce",
        "raise the number of used nonces that are kept (`--nonces`)";

    // Rejections, in the order of the steps.
    OtherProcess: Rejected(OtherProcess), "other-process",
        "the process that decides did not create the authorizer, but was forked from the one that did",
        "create the `Authorizer` in each process after the fork, and after daemonizing";
    SnapshotStale: Rejected(SnapshotStale), "snapshot-stale",
        "the snapshot has not been confirmed within the program's limit",
        "restore the connection of the edge to its store";
    UnsupportedScheme: Rejected(UnsupportedScheme), "unsupported-scheme",
        "the Request-URI is neither `sip:` nor `sips:`",
        "set the client to dial SIP URIs";
    HostlessUri: Rejected(UnsupportedScheme), "hostless-uri",
        "the Request-URI is `tel:` or `urn:service:`, and no host that decides in its place names a \
         domain or trunk",
        "name a default domain (`--default-domain`), or set the client to dial SIP URIs";
    UriWithoutScheme: Rejected(BadRequestUri), "request-uri-scheme",
        "the Request-URI has no scheme before a colon",
        "correct the dial plan of the client";
    UriTooLong: Rejected(BadRequestUri), "request-uri-too-long",
        "the Request-URI is too long",
        "shorten the number or the parameters that the client adds";
    UriCharacter: Rejected(BadRequestUri), "request-uri-character",
        "the Request-URI has a character that is not allowed at its place",
        "correct the dial plan of the client; such characters must be escaped";
    UriUser: Rejected(BadRequestUri), "request-uri-user",
        "the user of the Request-URI is empty",
        "correct the dial plan of the client";
    UriHost: Rejected(BadRequestUri), "request-uri-host",
        "the host of the Request-URI is missing or malformed",
        "set the client to call the name of the domain";
    UriPort: Rejected(BadRequestUri), "request-uri-port",
        "the port of the Request-URI is not a number from 1 to 65535",
        "correct the port in the client";
    BadRequestUri: Rejected(BadRequestUri), "bad-request-uri",
        "the Request-URI is not a SIP URI",
        "correct the dial plan of the client";
    UnknownHost: Rejected(UnknownHost), "unknown-host",
        "no domain or trunk has the host name",
        "correct the host in the client, or create the domain; the whole name is compared. For \
         calls to the edge's own address name a default domain (`--default-domain`)";
    AccountSuspended: Rejected(AccountInactive), "account-suspended",
        "the account of the domain or trunk is suspended",
        "set the account active again, unless it was suspended on purpose";
    AccountClosed: Rejected(AccountInactive), "account-closed",
        "the account of the domain or trunk is closed",
        "create the domain in an active account; a closed account cannot be opened again";
    AccountMissing: Rejected(AccountInactive), "account-missing",
        "the account of the domain or trunk does not exist",
        "load the snapshot again; a store does not delete an account that owns something";
    TargetNeedsTls: Rejected(NotSecure), "target-needs-tls",
        "the domain or trunk is `secure`, and the transport is not",
        "set the client to TLS, or switch `secure` off";
    UriNeedsTls: Rejected(NotSecure), "uri-needs-tls",
        "the Request-URI is `sips:`, and the transport is not secure",
        "set the client to TLS, or to `sip:`";
    NothingMapped: Rejected(NothingMapped), "nothing-mapped",
        "no list is mapped to the domain or trunk",
        "map an access list or a credential list";
    OnlyRegistrationsMapped: Rejected(NothingMapped), "only-registrations-mapped",
        "lists are mapped for registrations, and none for calls",
        "map an access list or a credential list for calls";
    SourceUnknown: Rejected(AddressNotListed), "source-unknown",
        "access lists are mapped, and the trusted proxy did not name the source",
        "set the proxy to name the source of its requests";
    AddressNotListed: Rejected(AddressNotListed), "address-not-listed",
        "the source address is in no mapped access list",
        "add the caller's address to a list of the domain. If it is that of your own proxy or \
         load balancer, do not list it, which would admit every caller behind it: let it name \
         its callers (`--trusted-proxy`)";
    MethodNotAllowed: Rejected(MethodNotAllowed), "method-not-allowed",
        "the domain or trunk does not admit the method",
        "add the method to `methods` of the policy, in the same case; BYE and PRACK are never \
         admitted outside a call";
    RegistrationAtTrunk: Rejected(RegistrationNotAllowed), "registration-at-trunk",
        "a REGISTER for a trunk, which takes no registrations",
        "let the client register at a domain";
    RegistrationsOff: Rejected(RegistrationNotAllowed), "registrations-off",
        "a REGISTER for a domain whose registrations are switched off",
        "switch registrations on (`SipRegistration`)";
    NoRegistrationList: Rejected(RegistrationNotAllowed), "no-registration-list",
        "a REGISTER for a domain without a list that is mapped for registrations",
        "map a credential list for registrations";
    TooManyHeaders: Rejected(TooManyCredentials), "too-many-credentials-headers",
        "the request has more than sixteen credentials headers",
        "see which proxies on the way add credentials";
    TooManyCredentials: Rejected(TooManyCredentials), "too-many-credentials",
        "the request has more than eight credentials for the realm",
        "see whether the client keeps the credentials of earlier challenges";
    TooManyBodyHashes: Rejected(TooManyCredentials), "too-many-body-hashes",
        "several credentials for the realm, one with `auth-int`, and a body of more than 4,096 bytes",
        "let the client answer one algorithm only, or use `auth`";
    MalformedCredentials: Rejected(MALFORMED), "malformed-credentials",
        "the nonce is live and the header is malformed; the field `defect` of the logs says how",
        "report the header to the maker of the client; for `body-too-long` use `auth` in place \
         of `auth-int`";
    QopMissing: Rejected(QopMissing), "qop-missing",
        "the answer has no qop, which the policy does not allow",
        "update the client, or set `allow_rfc2069` in the policy";
    QopMissingForAlgorithm: Rejected(QopMissing), "qop-missing-for-algorithm",
        "the answer has no qop, which the policy allows for MD5 only, and has another algorithm",
        "update the client, or offer MD5 only";
    UriUnreadable: Rejected(UriMismatch), "digest-uri-unreadable",
        "the digest-uri is not a SIP URI and not the text of the Request-URI",
        "report the header to the maker of the client, or switch `uri_check` off";
    UriOfOtherHost: Rejected(UriMismatch), "digest-uri-of-other-host",
        "the digest-uri has another host than the Request-URI",
        "see whether a proxy on the way changed the Request-URI; or relax `uri_check`";
    UriOfOtherUser: Rejected(UriMismatch), "digest-uri-of-other-user",
        "the digest-uri has another user than the Request-URI",
        "see whether a proxy on the way changed the Request-URI; or set `uri_check` to \
         `same-host`";
    UriDiffers: Rejected(UriMismatch), "digest-uri-differs",
        "the digest-uri differs from the Request-URI in its scheme, port or parameters",
        "see whether a proxy on the way changed the Request-URI; or relax `uri_check`";
    FromUnreadable: Rejected(FromMismatch), "from-unreadable",
        "the From header is absent or has no SIP URI, and the policy compares it with the user",
        "correct the caller's address in the client";
    FromAnonymous: Rejected(FromMismatch), "from-anonymous",
        "the From header is anonymous, which the policy does not admit",
        "let the client send its user in From, or set `from_must_match` to `or-anonymous`";
    FromOfOtherUser: Rejected(FromMismatch), "from-of-other-user",
        "the From header has another user than the credentials",
        "set the user of From in the client to its user name";
    ToUnreadable: Rejected(ToMismatch), "to-unreadable",
        "To of the REGISTER is absent, malformed, no SIP URI, or has a password",
        "correct the address-of-record in the client";
    ToOfOtherDomain: Rejected(ToMismatch), "to-of-other-domain",
        "To of the REGISTER names another host than the domain",
        "set the domain of the address-of-record in the client to the domain's name";
    ToOfOtherUser: Rejected(ToMismatch), "to-of-other-user",
        "To of the REGISTER names another user than the credentials",
        "set the user of the address-of-record to the user name, or change `register_as`";
}

impl Cause {
    /// The causes of wrong credentials, which a policy answers with a rejection or a challenge.
    pub(crate) const WRONG: usize = Self::GuessLimitOfName as usize + 1;

    /// The causes that depend on the claimed user, by how near the user came: a decision computes the
    /// place without a branch.
    pub(crate) const USER: [Self; 4] =
        [Self::UserUnknown, Self::UserDisabled, Self::HashMissing, Self::WrongPassword];

    /// Index of this cause in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a challenge for this cause has `stale=true`.
    pub(crate) const fn is_stale(self) -> bool {
        matches!(self.answer(), Stale)
    }

    /// The reason of a rejection for this cause; `None` if it always challenges. A reason with a
    /// payload is an example.
    pub(crate) const fn reason(self) -> Option<Reason> {
        match self.answer() {
            Rejected(reason) => Some(reason),
            Asked | Stale => None,
        }
    }

    /// The general cause of a reason, where the maker of a rejection gives no finer one.
    pub(crate) const fn of(reason: Reason) -> Self {
        match reason {
            Reason::UnsupportedScheme => Self::UnsupportedScheme,
            Reason::BadRequestUri => Self::BadRequestUri,
            Reason::UnknownHost => Self::UnknownHost,
            Reason::AccountInactive => Self::AccountSuspended,
            Reason::NotSecure => Self::TargetNeedsTls,
            Reason::NothingMapped => Self::NothingMapped,
            Reason::AddressNotListed => Self::AddressNotListed,
            Reason::MethodNotAllowed => Self::MethodNotAllowed,
            Reason::RegistrationNotAllowed => Self::RegistrationsOff,
            Reason::WrongCredentials => Self::WrongPassword,
            Reason::TooManyGuesses => Self::GuessLimit,
            Reason::FromMismatch => Self::FromOfOtherUser,
            Reason::ToMismatch => Self::ToOfOtherUser,
            Reason::MalformedCredentials(_) => Self::MalformedCredentials,
            Reason::QopMissing => Self::QopMissing,
            Reason::UriMismatch => Self::UriDiffers,
            Reason::TooManyCredentials => Self::TooManyCredentials,
            Reason::SnapshotStale => Self::SnapshotStale,
            Reason::OtherProcess => Self::OtherProcess,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_index_and_no_two_texts_are_equal() {
        let indices: Vec<_> = Cause::ALL.iter().map(|cause| cause.index()).collect();
        assert_eq!(indices, Vec::from_iter(0..Cause::ALL.len()));
        for text in [Cause::as_str, Cause::meaning] {
            let texts: BTreeSet<_> = Cause::ALL.iter().map(|cause| text(*cause)).collect();
            assert_eq!(texts.len(), Cause::ALL.len());
        }
        for cause in Cause::ALL {
            for text in [cause.meaning(), cause.advice()] {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('|'), "{text}");
            }
            assert!(cause.as_str().bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()));
        }
    }

    #[test]
    fn each_reason_has_a_cause_and_each_cause_of_a_rejection_its_reason() {
        for reason in Reason::ALL {
            let cause = Cause::of(*reason);
            assert_eq!(cause.reason().map(Reason::index), Some(reason.index()), "{cause}");
        }
        for cause in Cause::ALL {
            let reason = cause.reason();
            assert!(!(cause.is_stale() && reason.is_some()));
            let wrong = [Some(WrongCredentials), Some(TooManyGuesses)];
            assert_eq!(cause.index() < Cause::WRONG, wrong.contains(&reason), "{cause}");
        }
    }

    #[test]
    fn the_causes_of_users_are_neighbours() {
        let first = Cause::USER[0].index();
        assert!(Cause::USER.iter().map(|cause| cause.index()).eq(first..first + 4));
        assert!(Cause::USER.contains(&Cause::WrongPassword));
    }
}
