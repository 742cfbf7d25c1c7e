//! The snapshot of the fuzz targets: a domain or trunk for each outcome of a decision.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Instant;

use sip_authz::Snapshot;
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Credential, CredentialList, Domain, GuessPolicy,
    Ha1Set, IpAccessControlList, IpAddress, Mapping, MethodSet, Password, Policy, QopOffer, Trunk,
    UriCheck,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    TrunkSid,
};
use sip_authz::{Authorizer, Capacity};

/// The realm of the fuzz targets.
pub const FUZZ_REALM: &str = "example.com";

/// The authorizer of the fuzz targets, and the time of its decisions. Its nonces are the same in every
/// process, so seeds can contain valid ones.
pub fn fuzz_authorizer() -> (Authorizer, Instant) {
    static SNAPSHOT: OnceLock<(Snapshot, Instant)> = OnceLock::new();
    let (snapshot, now) = SNAPSHOT.get_or_init(|| (fuzz_snapshot(), Instant::now()));
    let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
    (Authorizer::from_seed(snapshot.clone(), capacity, &[7; 32], *now), *now)
}

/// SIDs by name.
pub mod sids {
    use super::{AccountSid, CredentialListSid, DomainSid, IpAccessControlListSid, TrunkSid};

    pub fn account(name: &str) -> AccountSid {
        AccountSid::from_name(&[name])
    }

    pub fn domain(name: &str) -> DomainSid {
        DomainSid::from_name(&[name])
    }

    pub fn trunk(name: &str) -> TrunkSid {
        TrunkSid::from_name(&[name])
    }

    pub fn access_list(name: &str) -> IpAccessControlListSid {
        IpAccessControlListSid::from_name(&[name])
    }

    pub fn credential_list(name: &str) -> CredentialListSid {
        CredentialListSid::from_name(&[name])
    }
}

/// A domain or trunk for each outcome of a decision. Skips records that cannot be built; a test counts
/// the rest.
pub fn fuzz_snapshot() -> Snapshot {
    let (open, shut) = (sids::account("open"), sids::account("shut"));
    let mut builder = Snapshot::builder()
        .account(Account::new(open))
        .account(Account { status: AccountStatus::Suspended, ..Account::new(shut) })
        .ip_access_control_list(IpAccessControlList::new(sids::access_list("office"), open))
        .ip_access_control_list(IpAccessControlList::new(sids::access_list("far"), open));
    for (list, text) in
        [("office", "192.0.2.0/24"), ("office", "2001:db8::/32"), ("far", "203.0.113.9")]
    {
        if let Ok(prefix) = text.parse() {
            let sid = IpAddressSid::from_name(&[text]);
            builder = builder.ip_address(IpAddress::new(sid, sids::access_list(list), prefix));
        }
    }
    const DOMAINS: [&str; 10] =
        ["addr", "far", "secret", "plain", "both", "known", "strict", "tls", "none", "shut"];
    for name in DOMAINS {
        if let Ok(host) = format!("{name}.example.com").parse() {
            let account = if name == "shut" { shut } else { open };
            let secure = name == "tls";
            let mut domain = Domain { secure, ..Domain::new(sids::domain(name), account, host) };
            // not `plain`, which has a list for registrations all the same
            domain.settings.sip_registration =
                ["known", "strict", "secret", "none"].contains(&name);
            builder = builder.domain(domain);
        }
    }
    let name = "trunk.example.com".parse().ok();
    builder = builder.trunk(Trunk::new(sids::trunk("trunk"), open, name));

    for list in ["hidden", "known"] {
        let sid = sids::credential_list(list);
        let Ok(realm) = FUZZ_REALM.parse() else { continue };
        for user in ["alice", r"corp\bob", "carol"] {
            let Ok(username) = user.parse() else { continue };
            let password = Password::new(format!("the {list} one"));
            let Ok(ha1) = Ha1Set::from_password(&username, &realm, password) else { continue };
            let credential = CredentialSid::from_name(&[list, user]);
            let credential = Credential::new(credential, sid, username, ha1);
            builder = builder.credential(Credential { disabled: user == "carol", ..credential });
        }
        builder = builder.credential_list(CredentialList::new(sid, open, realm));
    }

    let listed = |target, list| Mapping::IpAccessControlList(target, sids::access_list(list));
    let asked = |name, list| {
        Mapping::CredentialList(sids::domain(name).into(), sids::credential_list(list))
    };
    for mapping in [
        listed(sids::domain("addr").into(), "office"),
        listed(sids::domain("both").into(), "office"),
        listed(sids::domain("far").into(), "far"),
        listed(sids::trunk("trunk").into(), "office"),
        asked("secret", "hidden"),
        asked("plain", "hidden"),
        asked("both", "hidden"),
        asked("strict", "known"),
        asked("tls", "hidden"),
        asked("known", "known"),
        Mapping::Registration(sids::domain("known"), sids::credential_list("known")),
        Mapping::Registration(sids::domain("strict"), sids::credential_list("known")),
        Mapping::Registration(sids::domain("secret"), sids::credential_list("hidden")),
        Mapping::Registration(sids::domain("plain"), sids::credential_list("hidden")),
    ] {
        builder = builder.mapping(mapping);
    }

    let once = GuessRate { burst: NonZeroU32::MIN, refill_ms: NonZeroU32::MIN };
    let usual = GuessPolicy::DEFAULT;
    let wide = Policy::DEFAULT
        .with_algorithms(AlgorithmOffer::new(Algorithm::ALL).unwrap_or(AlgorithmOffer::MD5_FIRST))
        .with_qop(QopOffer::Both)
        .with_allow_rfc2069(true)
        .with_userhash(true)
        .with_guesses(usual.with_name(Some(usual.pair)).with_any_name(Some(usual.source)));
    let strict = wide
        .clone()
        .with_uri_check(UriCheck::Equivalent)
        .with_from_must_match(true)
        .with_guesses(usual.with_source(once).with_pair(once));
    let with_message = MethodSet::new(["INVITE", "OPTIONS", "MESSAGE"]).unwrap_or_default();
    let with_message = wide.clone().with_methods(with_message);
    builder
        .policy(sids::domain("secret"), wide.clone().with_uri_check(UriCheck::SameHost))
        .policy(sids::domain("known"), with_message)
        .policy(sids::domain("strict"), strict)
        .build()
        .unwrap_or_default()
}
