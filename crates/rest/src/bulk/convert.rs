//! Conversions between records and the entries of a document.

use super::document::{
    AccountEntry, AddressEntry, CredentialEntry, DocumentError, MappingEntry, Purpose, whole,
};
use super::value::{ListSid, Secret, TargetSid};
use sip_authz::digest::PerHashFunction;
use sip_authz::model::{
    Account, Credential, Dates, Ha1Set, IpAddress, Mapping, MappingRecord, Target, TokenHash,
};
use sip_authz_directory::{Incoming, IncomingCredential, IncomingRecord};

pub(super) fn account_entry(account: &Account, secrets: bool) -> AccountEntry {
    AccountEntry {
        sid: account.sid,
        friendly_name: account.friendly_name.clone(),
        status: account.status,
        token_sha256: token_entry(account.token, secrets),
        secondary_token_sha256: token_entry(account.secondary_token, secrets),
        dates: Some(account.dates.into()),
    }
}

pub(super) fn account(entry: AccountEntry, at: usize) -> Result<Incoming, DocumentError> {
    let read = |hash: Option<&Secret>, field| hash.map(|hash| token(hash, at, field)).transpose();
    let token = read(entry.token_sha256.as_ref(), ".token_sha256")?;
    let secondary = entry.secondary_token_sha256.as_ref();
    let secondary_token = read(secondary, ".secondary_token_sha256")?;
    let AccountEntry { sid, friendly_name, status, dates, .. } = entry;
    let new = Account { token, secondary_token, ..Account::new(sid) };
    let account = Account { friendly_name, status, ..new };
    Ok(whole(account, dates))
}

pub(super) fn address_entry(address: &IpAddress) -> AddressEntry {
    AddressEntry {
        sid: address.sid,
        ip_access_control_list_sid: address.list,
        address: address.prefix,
        allow_all: address.prefix.is_whole_internet(),
        friendly_name: address.friendly_name.clone(),
        dates: Some(address.dates.into()),
    }
}

pub(super) fn address(entry: AddressEntry, at: usize) -> Result<Incoming, DocumentError> {
    let prefix = entry.address;
    if prefix.is_whole_internet() && !entry.allow_all {
        let message =
            format!("`{prefix}` admits every address; set \"allow_all\": true to permit it");
        return Err(error_at("ip_addresses", at, ".address", message));
    }
    let new = IpAddress::new(entry.sid, entry.ip_access_control_list_sid, prefix);
    let friendly_name = entry.friendly_name;
    Ok(whole(IpAddress { friendly_name, ..new }, entry.dates))
}

pub(super) fn credential_entry(user: &Credential, secrets: bool) -> CredentialEntry {
    CredentialEntry {
        sid: user.sid,
        credential_list_sid: user.list,
        username: user.username.clone(),
        password: None,
        ha1: secrets.then(|| ha1_entry(&user.ha1)),
        disabled: user.disabled.then_some(true),
        role_sid: user.role,
        dates: Some(user.dates.into()),
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

pub(super) fn credential(entry: CredentialEntry, at: usize) -> Result<Incoming, DocumentError> {
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

pub(super) fn mapping_entry(record: &MappingRecord) -> MappingEntry {
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

pub(super) fn mapping(entry: &MappingEntry, at: usize) -> Result<Incoming, DocumentError> {
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
