//! Conversions between records and the entries of a document.

use super::document::{
    AccountEntry, AddressEntry, CredentialEntry, Document, MappingEntry, Purpose, whole,
};
use super::value::{ListSid, Secret, TargetSid};
use sip_authz::digest::PerHashFunction;
use sip_authz::model::{
    Account, Dates, Ha1Set, IpAddress, Mapping, MappingRecord, Record, Target, TokenHash,
};
use sip_authz_directory::{Incoming, IncomingCredential, IncomingRecord};

/// An invalid entry of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct DocumentError {
    /// The path of the entry or field, such as `credentials[3].ha1`.
    pub place: String,
    /// The reason.
    pub message: String,
}

impl Document {
    /// The document of these records. It has hashes of passwords and tokens only if `secrets` is set.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>, secrets: bool) -> Self {
        let mut document = Self::default();
        for record in records {
            document.push(record, secrets);
        }
        document
    }

    /// Adds a record, with its hashes only if `secrets` is set.
    pub fn push(&mut self, record: &Record, secrets: bool) {
        match record {
            Record::Account(account) => self.accounts.push(AccountEntry {
                sid: account.sid,
                friendly_name: account.friendly_name.clone(),
                status: account.status,
                token_sha256: token_entry(account.token, secrets),
                secondary_token_sha256: token_entry(account.secondary_token, secrets),
                dates: Some(account.dates.into()),
            }),
            Record::IpAccessControlList(list) => self.ip_access_control_lists.push(list.into()),
            Record::CredentialList(list) => self.credential_lists.push(list.into()),
            Record::IpAddress(address) => self.ip_addresses.push(AddressEntry {
                sid: address.sid,
                ip_access_control_list_sid: address.list,
                address: address.prefix,
                allow_all: address.prefix.is_whole_internet(),
                friendly_name: address.friendly_name.clone(),
                dates: Some(address.dates.into()),
            }),
            Record::Credential(user) => self.credentials.push(CredentialEntry {
                sid: user.sid,
                credential_list_sid: user.list,
                username: user.username.clone(),
                password: None,
                ha1: secrets.then(|| ha1_entry(&user.ha1)),
                disabled: user.disabled.then_some(true),
                role_sid: user.role,
                dates: Some(user.dates.into()),
            }),
            Record::Domain(domain) => self.domains.push(domain.into()),
            Record::Trunk(trunk) => self.trunks.push(trunk.into()),
            Record::Policy(record) => self.policies.push(record.into()),
            Record::Mapping(record) => self.mappings.push(mapping_entry(record)),
            Record::Role(role) => self.roles.push(role.into()),
        }
    }

    /// Converts the entries to records, in an order in which each record refers only to earlier ones.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] for the first invalid entry. References to other records are not checked.
    pub fn into_incoming(self) -> Result<Vec<Incoming>, DocumentError> {
        let mut all = Vec::with_capacity(self.len());
        for (at, entry) in self.accounts.into_iter().enumerate() {
            let read =
                |hash: Option<&Secret>, field| hash.map(|hash| token(hash, at, field)).transpose();
            let token = read(entry.token_sha256.as_ref(), ".token_sha256")?;
            let secondary = entry.secondary_token_sha256.as_ref();
            let secondary_token = read(secondary, ".secondary_token_sha256")?;
            let AccountEntry { sid, friendly_name, status, dates, .. } = entry;
            let new = Account { token, secondary_token, ..Account::new(sid) };
            let account = Account { friendly_name, status, ..new };
            all.push(whole(account, dates));
        }
        all.extend(self.ip_access_control_lists.into_iter().map(Incoming::from));
        all.extend(self.roles.into_iter().map(Incoming::from));
        all.extend(self.credential_lists.into_iter().map(Incoming::from));
        for (at, entry) in self.ip_addresses.into_iter().enumerate() {
            let prefix = entry.address;
            if prefix.is_whole_internet() && !entry.allow_all {
                let message = format!(
                    "`{prefix}` admits every address; set \"allow_all\": true to permit it"
                );
                return Err(error_at("ip_addresses", at, ".address", message));
            }
            let new = IpAddress::new(entry.sid, entry.ip_access_control_list_sid, prefix);
            let friendly_name = entry.friendly_name;
            all.push(whole(IpAddress { friendly_name, ..new }, entry.dates));
        }
        for (at, entry) in self.credentials.into_iter().enumerate() {
            all.push(credential(entry, at)?);
        }
        all.extend(self.domains.into_iter().map(Incoming::from));
        all.extend(self.trunks.into_iter().map(Incoming::from));
        all.extend(self.policies.into_iter().map(Incoming::from));
        for (at, entry) in self.mappings.into_iter().enumerate() {
            all.push(mapping(&entry, at)?);
        }
        Ok(all)
    }
}

fn error_at(kind: &str, at: usize, field: &str, message: impl ToString) -> DocumentError {
    DocumentError { place: format!("{kind}[{at}]{field}"), message: message.to_string() }
}

fn token_entry(token: Option<TokenHash>, secrets: bool) -> Option<Secret> {
    token.filter(|_| secrets).map(|TokenHash(hash)| Secret::new(hex::encode(hash)))
}

fn token(hash: &Secret, at: usize, field: &str) -> Result<TokenHash, DocumentError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash.expose(), &mut bytes).map_err(|_| {
        error_at("accounts", at, field, "expected a SHA-256 of 64 hexadecimal digits")
    })?;
    Ok(TokenHash(bytes))
}

fn ha1_entry(ha1: &Ha1Set) -> PerHashFunction<Secret> {
    ha1.iter().map(|(function, hash)| (function, Secret::new(hex::encode(hash)))).collect()
}

fn credential(entry: CredentialEntry, at: usize) -> Result<Incoming, DocumentError> {
    let secret = match (entry.password, entry.ha1) {
        (None, None) => None,
        (Some(password), None) => {
            Some(sip_authz_directory::Secret::Password(password.into_password()))
        }
        (None, Some(ha1)) => {
            let given =
                ha1.into_pairs().map(|(function, hash)| (function, hash.expose().to_owned()));
            Some(sip_authz_directory::Secret::Ha1(given.collect()))
        }
        (Some(_), Some(_)) => {
            let message = "a credential has either a password or ha1, not both";
            return Err(error_at("credentials", at, "", message));
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
    let dates = entry.dates.map(Dates::from);
    Ok(Incoming { record: IncomingRecord::Credential(user), dates })
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
        dates: Some(record.dates.into()),
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
            let message = "registrations need a credential list and a domain";
            return Err(error_at("mappings", at, ".purpose", message));
        }
    };
    let record = MappingRecord { role: entry.role_sid, ..MappingRecord::from(mapping) };
    Ok(whole(record, entry.dates))
}
