//! Records of each kind.

use super::{account, domain, list, name, named, role};
use sip_authz::digest::{Algorithm, GuessRate, HashFunction};
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Callback, ChallengeKind, Credential, CredentialList,
    Dates, Domain, DomainSettings, GuessPolicy, Ha1Set, HttpMethod, IpAccessControlList, IpAddress,
    Mapping, MappingRecord, MethodSet, Password, Policy, PolicyRecord, QopOffer, Record,
    RegisterAs, Role, RoleKind, TokenHash, TransferCallerId, TransferMode, Trunk, TrunkSettings,
    UriCheck, WrongAnswer,
};
use sip_authz::{
    ByocTrunkSid, CredentialSid, IpAccessControlListSid, IpAddressSid, PhoneNumberSid, ServiceSid,
    TrunkSid,
};

/// A record of each kind without default values, and others with all fields set. Together they keep the
/// rules, with a vocabulary that has the permission `callInternational`.
#[must_use]
pub fn full_records() -> Vec<Record> {
    let dates = Dates { created: 1_700_000_000, updated: 1_700_000_001 };
    let realm = "Größe 1".parse().unwrap();
    let friendly_name = "Zoë's \"phones\" % _ ' \\ 東京".to_owned();
    let callback = |path: &str, method| Callback {
        url: Some(format!("https://example.com/{path}?a=b&c=ü")),
        method: Some(method),
    };
    let password = || Password::new("Correct-Horse-7".to_owned());
    let all_hashes = Ha1Set::from_password(&name("al\\ice"), &realm, password()).unwrap();
    let sha = [(HashFunction::Sha512_256, "ab".repeat(32))];
    let one_hash = sha.iter().map(|(function, text)| (*function, text.as_str()));
    let one_hash = Ha1Set::from_hex(&name("bob"), &realm, one_hash).unwrap();
    let rate =
        |n: u32| GuessRate { burst: n.try_into().unwrap(), refill_ms: (n + 1).try_into().unwrap() };
    let policy = Policy::default()
        .with_algorithms(AlgorithmOffer::new(Algorithm::ALL).unwrap())
        .with_qop(QopOffer::Both)
        .with_allow_rfc2069(true)
        .with_uri_check(UriCheck::SameUserAndHost)
        .with_nonce_lifetime(86_400)
        .with_bind_source(false)
        .with_wrong_answer(WrongAnswer::Challenge)
        .with_from_must_match(true)
        .with_userhash(true)
        .with_challenge(ChallengeKind::Server)
        .with_methods(MethodSet::new(["INVITE", "MESSAGE", "x-1.!%*_+`'~"]).unwrap())
        .with_register_as(RegisterAs::new(["{user}", "+4930123{user}", "*#!~{user}_.-"]).unwrap())
        .with_guesses(
            GuessPolicy::default()
                .with_source(rate(1))
                .with_pair(rate(3))
                .with_name(Some(rate(3_599_999)))
                .with_any_name(Some(rate(7))),
        );
    let access_list = IpAccessControlListSid::from_bytes([6; 16]);
    let trunk = TrunkSid::from_bytes([0xff; 16]);
    let prefix = |n: u8, text: &str| {
        let sid = IpAddressSid::from_bytes([n; 16]);
        let address = IpAddress::new(sid, access_list, text.parse().unwrap());
        Record::from(IpAddress { friendly_name: friendly_name.clone(), dates, ..address })
    };
    let mapping = |mapping, role, since| MappingRecord { mapping, role, since, dates }.into();
    vec![
        Account {
            secondary_token: Some(TokenHash([9; 32])),
            friendly_name: friendly_name.clone(),
            status: AccountStatus::Suspended,
            token: Some(TokenHash(std::array::from_fn(|n| u8::try_from(n * 8).unwrap()))),
            dates,
            ..Account::new(account(1))
        }
        .into(),
        Account { status: AccountStatus::Closed, ..Account::new(account(2)) }.into(),
        Account::new(account(3)).into(),
        Domain {
            friendly_name: friendly_name.clone(),
            secure: true,
            on_accept: Some("redirect:sip:{user}@gw.example.net;q=0.5,b.example".parse().unwrap()),
            settings: DomainSettings {
                voice: callback("voice", HttpMethod::Get),
                voice_fallback: callback("fallback", HttpMethod::Post),
                voice_status_callback: Callback { url: None, method: Some(HttpMethod::Get) },
                sip_registration: true,
                emergency_calling_enabled: true,
                byoc_trunk: Some(ByocTrunkSid::from_bytes([7; 16])),
                emergency_caller: Some(PhoneNumberSid::from_bytes([8; 16])),
            },
            dates,
            ..named(1, "[2001:db8::1]")
        }
        .into(),
        named(2, "sip.example.com").into(),
        Trunk {
            name: Some("trunk.example.com".parse().unwrap()),
            friendly_name: friendly_name.clone(),
            secure: true,
            on_accept: Some(
                "forward:pbx.example.net;weight=2,sips:[2001:db8::1]:5071;priority=1"
                    .parse()
                    .unwrap(),
            ),
            settings: TrunkSettings {
                disaster_recovery: callback("recovery", HttpMethod::Get),
                transfer_mode: TransferMode::SipOnly,
                transfer_caller_id: TransferCallerId::FromTransferor,
                cnam_lookup_enabled: true,
            },
            dates,
            ..Trunk::new(trunk, account(1), None)
        }
        .into(),
        Trunk::new(TrunkSid::from_bytes([0; 16]), account(1), None).into(),
        PolicyRecord { dates, ..PolicyRecord::new(trunk, policy) }.into(),
        PolicyRecord::new(domain(1), Policy::default()).into(),
        IpAccessControlList {
            friendly_name: friendly_name.clone(),
            dates,
            ..IpAccessControlList::new(access_list, account(1))
        }
        .into(),
        prefix(1, "192.0.2.7"),
        prefix(2, "0.0.0.0/0"),
        prefix(3, "2001:db8::/33"),
        CredentialList {
            friendly_name: friendly_name.clone(),
            dates,
            ..CredentialList::new(list(1), account(1), realm)
        }
        .into(),
        Credential {
            disabled: true,
            role: Some(role(1)),
            dates,
            ..Credential::new(
                CredentialSid::from_bytes([1; 16]),
                list(1),
                name("al\\ice"),
                all_hashes,
            )
        }
        .into(),
        Credential::new(CredentialSid::from_bytes([2; 16]), list(1), name("bob"), one_hash).into(),
        Role {
            sid: role(1),
            account: account(1),
            service: ServiceSid::from_bytes([9; 16]),
            friendly_name: friendly_name.clone(),
            kind: RoleKind::Deployment,
            permissions: vec!["joinChannel".to_owned(), "callInternational".to_owned()],
            dates,
        }
        .into(),
        Role {
            sid: role(2),
            account: account(1),
            service: ServiceSid::from_bytes([9; 16]),
            friendly_name: String::new(),
            kind: RoleKind::Channel,
            permissions: vec!["sendMessage".to_owned()],
            dates: Dates::default(),
        }
        .into(),
        mapping(Mapping::CredentialList(trunk.into(), list(1)), Some(role(2)), u64::MAX >> 1),
        mapping(Mapping::IpAccessControlList(domain(1).into(), access_list), None, 3),
        mapping(Mapping::CredentialList(domain(1).into(), list(1)), None, 2),
        mapping(Mapping::Registration(domain(1), list(1)), None, 1),
    ]
}
