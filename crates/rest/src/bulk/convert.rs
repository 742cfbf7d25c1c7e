//! From records to the entries of a document and back.

use super::document::{
    AccessListEntry, AccountEntry, AddressEntry, CallbackEntry, CredentialEntry,
    CredentialListEntry, DatesEntry, Document, DomainEntry, GuessesEntry, Ha1Entry, MappingEntry,
    PolicyEntry, Purpose, RoleEntry, TrunkEntry,
};
use super::value::{ListSid, Secret, Stamp, TargetSid};
use sip_authz::digest::{Algorithm, HashFunction};
use sip_authz::model::{
    Account, AlgorithmOffer, Callback, CredentialList, Dates, Domain, DomainSettings, GuessPolicy,
    Ha1Set, IpAccessControlList, IpAddress, Mapping, MappingRecord, Password, Policy, PolicyRecord,
    Record, Role, Target, TokenHash, Trunk, TrunkSettings,
};
use sip_authz_directory::{Incoming, IncomingCredential, IncomingRecord};

/// An entry that cannot become a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct DocumentError {
    /// Which entry, such as `credentials[3].ha1`.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

impl Document {
    /// The records, with hashes of passwords and tokens only if `secrets` are wanted.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>, secrets: bool) -> Self {
        let mut document = Self::default();
        for record in records {
            document.push(record, secrets);
        }
        document
    }

    /// Adds a record, as [`Self::of`].
    pub fn push(&mut self, record: &Record, secrets: bool) {
        match record {
            Record::Account(account) => self.accounts.push(AccountEntry {
                sid: account.sid,
                friendly_name: account.friendly_name.clone(),
                status: account.status,
                token_sha256: account
                    .token
                    .filter(|_| secrets)
                    .map(|TokenHash(hash)| Secret::new(hex::encode(hash))),
                dates: dates_entry(account.dates),
            }),
            Record::IpAccessControlList(list) => {
                self.ip_access_control_lists.push(AccessListEntry {
                    sid: list.sid,
                    account_sid: list.account,
                    friendly_name: list.friendly_name.clone(),
                    dates: dates_entry(list.dates),
                });
            }
            Record::CredentialList(list) => self.credential_lists.push(CredentialListEntry {
                sid: list.sid,
                account_sid: list.account,
                realm: list.realm.clone(),
                friendly_name: list.friendly_name.clone(),
                dates: dates_entry(list.dates),
            }),
            Record::IpAddress(address) => self.ip_addresses.push(AddressEntry {
                sid: address.sid,
                ip_access_control_list_sid: address.list,
                address: address.prefix,
                allow_all: address.prefix.is_whole_internet(),
                friendly_name: address.friendly_name.clone(),
                dates: dates_entry(address.dates),
            }),
            Record::Credential(user) => self.credentials.push(CredentialEntry {
                sid: user.sid,
                credential_list_sid: user.list,
                username: user.username.clone(),
                password: None,
                ha1: secrets.then(|| ha1_entry(&user.ha1)),
                disabled: user.disabled.then_some(true),
                role_sid: user.role,
                dates: dates_entry(user.dates),
            }),
            Record::Domain(domain) => self.domains.push(domain_entry(domain)),
            Record::Trunk(trunk) => self.trunks.push(trunk_entry(trunk)),
            Record::Policy(record) => self.policies.push(policy_entry(record)),
            Record::Mapping(record) => self.mappings.push(mapping_entry(record)),
            Record::Role(role) => self.roles.push(RoleEntry {
                sid: role.sid,
                account_sid: role.account,
                service_sid: role.service,
                friendly_name: role.friendly_name.clone(),
                kind: role.kind,
                permissions: role.permissions.clone(),
                dates: dates_entry(role.dates),
            }),
        }
    }

    /// What the entries say, in the order in which they may refer to each other.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] for the first entry that is wrong by itself.
    pub fn into_incoming(self) -> Result<Vec<Incoming>, DocumentError> {
        let mut all = Vec::with_capacity(self.len());
        for (at, entry) in self.accounts.into_iter().enumerate() {
            let token = entry.token_sha256.as_ref().map(|hash| token(hash, at)).transpose()?;
            let AccountEntry { sid, friendly_name, status, dates, .. } = entry;
            let account = Account { friendly_name, status, token, ..Account::new(sid) };
            all.push(whole(account, dates));
        }
        for AccessListEntry { sid, account_sid, friendly_name, dates } in
            self.ip_access_control_lists
        {
            let new = IpAccessControlList::new(sid, account_sid);
            all.push(whole(IpAccessControlList { friendly_name, ..new }, dates));
        }
        for entry in self.roles {
            let RoleEntry { sid, account_sid, service_sid, friendly_name, kind, .. } = entry;
            let role = Role {
                sid,
                account: account_sid,
                service: service_sid,
                friendly_name,
                kind,
                permissions: entry.permissions,
                dates: Dates::default(),
            };
            all.push(whole(role, entry.dates));
        }
        for entry in self.credential_lists {
            let CredentialListEntry { sid, account_sid, realm, friendly_name, dates } = entry;
            let new = CredentialList::new(sid, account_sid, realm);
            all.push(whole(CredentialList { friendly_name, ..new }, dates));
        }
        for (at, entry) in self.ip_addresses.into_iter().enumerate() {
            let prefix = entry.address;
            if prefix.is_whole_internet() && !entry.allow_all {
                let message = format!(
                    "`{prefix}` admits every address; if that is meant, say \"allow_all\": true"
                );
                return Err(at_place("ip_addresses", at, ".address", message));
            }
            let new = IpAddress::new(entry.sid, entry.ip_access_control_list_sid, prefix);
            let friendly_name = entry.friendly_name;
            all.push(whole(IpAddress { friendly_name, ..new }, entry.dates));
        }
        for (at, entry) in self.credentials.into_iter().enumerate() {
            all.push(credential(entry, at)?);
        }
        for entry in self.domains {
            all.push(domain(entry));
        }
        for entry in self.trunks {
            all.push(trunk(entry));
        }
        for (at, entry) in self.policies.into_iter().enumerate() {
            let dates = entry.dates;
            all.push(whole(policy(entry, at)?, dates));
        }
        for (at, entry) in self.mappings.into_iter().enumerate() {
            all.push(mapping(&entry, at)?);
        }
        Ok(all)
    }
}

fn at_place(kind: &str, at: usize, field: &str, message: impl ToString) -> DocumentError {
    DocumentError { place: format!("{kind}[{at}]{field}"), message: message.to_string() }
}

fn whole(record: impl Into<Record>, dates: Option<DatesEntry>) -> Incoming {
    Incoming { record: IncomingRecord::Whole(record.into()), dates: dates.map(dates_of) }
}

fn dates_entry(dates: Dates) -> Option<DatesEntry> {
    let stamp = |unix: u64| (unix > 0).then_some(Stamp(unix));
    Some(DatesEntry { created: stamp(dates.created), updated: stamp(dates.updated) })
}

fn dates_of(entry: DatesEntry) -> Dates {
    let unix = |stamp: Option<Stamp>| stamp.map_or(0, |Stamp(unix)| unix);
    Dates { created: unix(entry.created), updated: unix(entry.updated) }
}

fn token(hash: &Secret, at: usize) -> Result<TokenHash, DocumentError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash.expose(), &mut bytes).map_err(|_| {
        at_place("accounts", at, ".token_sha256", "a SHA-256 is 64 hexadecimal digits")
    })?;
    Ok(TokenHash(bytes))
}

fn ha1_entry(ha1: &Ha1Set) -> Ha1Entry {
    let hash = |function| ha1.get(function).map(|hash| Secret::new(hex::encode(hash)));
    Ha1Entry {
        md5: hash(HashFunction::Md5),
        sha256: hash(HashFunction::Sha256),
        sha512_256: hash(HashFunction::Sha512_256),
    }
}

fn credential(entry: CredentialEntry, at: usize) -> Result<Incoming, DocumentError> {
    let secret = match (entry.password, entry.ha1) {
        (None, None) => None,
        (Some(password), None) => {
            Some(sip_authz_directory::Secret::Password(Password::new(password.expose().to_owned())))
        }
        (None, Some(Ha1Entry { md5, sha256, sha512_256 })) => {
            let given = HashFunction::ALL.into_iter().zip([md5, sha256, sha512_256]);
            let given = given.filter_map(|(function, hash)| {
                hash.map(|hash| (function, hash.expose().to_owned()))
            });
            Some(sip_authz_directory::Secret::Ha1(given.collect()))
        }
        (Some(_), Some(_)) => {
            let message = "a credential has either a password or ha1, not both";
            return Err(at_place("credentials", at, "", message));
        }
    };
    let user = IncomingCredential {
        sid: entry.sid,
        list: entry.credential_list_sid,
        username: entry.username,
        secret,
        disabled: entry.disabled,
        role: entry.role_sid,
    };
    let dates = entry.dates.map(dates_of);
    Ok(Incoming { record: IncomingRecord::Credential(user), dates })
}

fn callback_entry(callback: &Callback) -> CallbackEntry {
    CallbackEntry { url: callback.url.clone(), method: callback.method }
}

fn callback(entry: CallbackEntry) -> Callback {
    Callback { url: entry.url, method: entry.method }
}

fn domain_entry(domain: &Domain) -> DomainEntry {
    let settings = &domain.settings;
    DomainEntry {
        sid: domain.sid,
        account_sid: domain.account,
        domain_name: domain.name.clone(),
        friendly_name: domain.friendly_name.clone(),
        secure: domain.secure,
        voice: callback_entry(&settings.voice),
        voice_fallback: callback_entry(&settings.voice_fallback),
        voice_status_callback: callback_entry(&settings.voice_status_callback),
        sip_registration: settings.sip_registration,
        emergency_calling_enabled: settings.emergency_calling_enabled,
        byoc_trunk_sid: settings.byoc_trunk,
        emergency_caller_sid: settings.emergency_caller,
        dates: dates_entry(domain.dates),
    }
}

fn domain(entry: DomainEntry) -> Incoming {
    let settings = DomainSettings {
        voice: callback(entry.voice),
        voice_fallback: callback(entry.voice_fallback),
        voice_status_callback: callback(entry.voice_status_callback),
        sip_registration: entry.sip_registration,
        emergency_calling_enabled: entry.emergency_calling_enabled,
        byoc_trunk: entry.byoc_trunk_sid,
        emergency_caller: entry.emergency_caller_sid,
    };
    let domain = Domain {
        friendly_name: entry.friendly_name,
        secure: entry.secure,
        settings,
        ..Domain::new(entry.sid, entry.account_sid, entry.domain_name)
    };
    whole(domain, entry.dates)
}

fn trunk_entry(trunk: &Trunk) -> TrunkEntry {
    let settings = &trunk.settings;
    TrunkEntry {
        sid: trunk.sid,
        account_sid: trunk.account,
        domain_name: trunk.name.clone(),
        friendly_name: trunk.friendly_name.clone(),
        secure: trunk.secure,
        disaster_recovery: callback_entry(&settings.disaster_recovery),
        transfer_mode: settings.transfer_mode,
        transfer_caller_id: settings.transfer_caller_id,
        cnam_lookup_enabled: settings.cnam_lookup_enabled,
        dates: dates_entry(trunk.dates),
    }
}

fn trunk(entry: TrunkEntry) -> Incoming {
    let settings = TrunkSettings {
        disaster_recovery: callback(entry.disaster_recovery),
        transfer_mode: entry.transfer_mode,
        transfer_caller_id: entry.transfer_caller_id,
        cnam_lookup_enabled: entry.cnam_lookup_enabled,
    };
    let trunk = Trunk {
        friendly_name: entry.friendly_name,
        secure: entry.secure,
        settings,
        ..Trunk::new(entry.sid, entry.account_sid, entry.domain_name)
    };
    whole(trunk, entry.dates)
}

fn policy_entry(record: &PolicyRecord) -> PolicyEntry {
    let policy = &record.policy;
    let guesses = policy.guesses;
    PolicyEntry {
        target_sid: TargetSid(record.target),
        algorithms: Some(policy.algorithms.iter().map(|a| a.name().to_owned()).collect()),
        qop: Some(policy.qop),
        allow_rfc2069: Some(policy.allow_rfc2069),
        uri_check: Some(policy.uri_check),
        nonce_lifetime: Some(policy.nonce_lifetime),
        bind_source: Some(policy.bind_source),
        wrong_answer: Some(policy.wrong_answer),
        from_must_match: Some(policy.from_must_match),
        userhash: Some(policy.userhash),
        challenge: Some(policy.challenge),
        guesses: Some(GuessesEntry {
            source: Some(guesses.source),
            pair: Some(guesses.pair),
            name: guesses.name,
            any_name: guesses.any_name,
        }),
        dates: dates_entry(record.dates),
    }
}

fn policy(entry: PolicyEntry, at: usize) -> Result<PolicyRecord, DocumentError> {
    let default = Policy::DEFAULT;
    let algorithms = match entry.algorithms {
        None => default.algorithms,
        Some(names) => {
            let wrong = |message: String| at_place("policies", at, ".algorithms", message);
            let mut algorithms = Vec::with_capacity(names.len());
            for name in names {
                let known = Algorithm::from_name(name.as_bytes());
                algorithms.push(known.ok_or_else(|| {
                    let known = Algorithm::ALL.map(Algorithm::name).join(", ");
                    wrong(format!("unknown algorithm `{name}`, not one of {known}"))
                })?);
            }
            AlgorithmOffer::new(algorithms).map_err(|error| wrong(error.to_string()))?
        }
    };
    let guesses = entry.guesses.map_or(default.guesses, |guesses| {
        GuessPolicy::default()
            .with_source(guesses.source.unwrap_or(default.guesses.source))
            .with_pair(guesses.pair.unwrap_or(default.guesses.pair))
            .with_name(guesses.name)
            .with_any_name(guesses.any_name)
    });
    let policy = Policy::default()
        .with_algorithms(algorithms)
        .with_qop(entry.qop.unwrap_or(default.qop))
        .with_allow_rfc2069(entry.allow_rfc2069.unwrap_or(default.allow_rfc2069))
        .with_uri_check(entry.uri_check.unwrap_or(default.uri_check))
        .with_nonce_lifetime(entry.nonce_lifetime.unwrap_or(default.nonce_lifetime))
        .with_bind_source(entry.bind_source.unwrap_or(default.bind_source))
        .with_wrong_answer(entry.wrong_answer.unwrap_or(default.wrong_answer))
        .with_from_must_match(entry.from_must_match.unwrap_or(default.from_must_match))
        .with_userhash(entry.userhash.unwrap_or(default.userhash))
        .with_challenge(entry.challenge.unwrap_or(default.challenge))
        .with_guesses(guesses);
    Ok(PolicyRecord::new(entry.target_sid.0, policy))
}

fn mapping_entry(record: &MappingRecord) -> MappingEntry {
    let (list_sid, purpose) = match record.mapping {
        Mapping::IpAccessControlList(_, list) => (ListSid::IpAccessControl(list), Purpose::Calls),
        Mapping::CredentialList(_, list) => (ListSid::Credential(list), Purpose::Calls),
        Mapping::Registration(_, list) => (ListSid::Credential(list), Purpose::Registrations),
    };
    MappingEntry {
        target_sid: TargetSid(record.mapping.target()),
        list_sid,
        purpose,
        role_sid: record.role,
        dates: dates_entry(record.dates),
    }
}

fn mapping(entry: &MappingEntry, at: usize) -> Result<Incoming, DocumentError> {
    let TargetSid(target) = entry.target_sid;
    let mapping = match (entry.purpose, entry.list_sid, target) {
        (Purpose::Calls, ListSid::IpAccessControl(list), _) => {
            Mapping::IpAccessControlList(target, list)
        }
        (Purpose::Calls, ListSid::Credential(list), _) => Mapping::CredentialList(target, list),
        (Purpose::Registrations, ListSid::Credential(list), Target::Domain(domain)) => {
            Mapping::Registration(domain, list)
        }
        (Purpose::Registrations, ..) => {
            let message = "registrations are a credential list's on a domain";
            return Err(at_place("mappings", at, ".purpose", message));
        }
    };
    let record = MappingRecord { role: entry.role_sid, ..MappingRecord::from(mapping) };
    Ok(whole(record, entry.dates))
}
