//! Equal numbers of domains and credentials, for tests of stores with many records.

use sip_authz::digest::HashFunction;
use sip_authz::model::{Account, Commit, Credential, CredentialList, Domain, Ha1Set, Mapping};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, DomainSid};

/// The number of credentials in a list.
const LIST: u32 = 1_000;

/// A SID that is spread over the key space, like random SIDs.
pub fn sid(kind: u8, n: u32) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes
}

/// The domains and credentials with these numbers, and the lists that begin among them. The first
/// commit also contains the account that owns all.
pub fn commit(numbers: std::ops::Range<u32>) -> Commit {
    let account = AccountSid::from_bytes([1; 16]);
    let mut commit = Commit::new();
    if numbers.start == 0 {
        commit.put(Account::new(account).into());
    }
    for n in numbers {
        let domain = DomainSid::from_bytes(sid(2, n));
        let name = format!("d{n}.sip.example.com").parse().unwrap();
        commit.put(Domain::new(domain, account, name).into());
        let list = CredentialListSid::from_bytes(sid(3, n / LIST));
        if n.is_multiple_of(LIST) {
            let realm = "sip.example.com".parse().unwrap();
            commit.put(CredentialList::new(list, account, realm).into());
            commit.put(Mapping::CredentialList(domain.into(), list).into());
        }
        let (user, realm) = (format!("user{n}").parse().unwrap(), "sip.example.com".parse());
        let md5 = format!("{n:032x}");
        let sha256 = format!("{n:064x}");
        let hashes = [(HashFunction::Md5, md5.as_str()), (HashFunction::Sha256, sha256.as_str())];
        let ha1 = Ha1Set::from_hex(&user, &realm.unwrap(), hashes).unwrap();
        let credential = CredentialSid::from_bytes(sid(4, n));
        commit.put(Credential::new(credential, list, user, ha1).into());
    }
    commit
}
