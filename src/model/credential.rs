//! What is kept of a password: one hash for each algorithm, and nothing else.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use zeroize::{Zeroize, Zeroizing};

use super::name::{Realm, UserName};
use crate::digest::HashFunction;

/// A password on its way to being hashed. It is wiped when it is dropped and never printed.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the password over; the caller's buffer is the one that is wiped.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// Whether there is no password at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The password itself, for rules on its strength.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Hashes that cannot be a user's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ha1Error {
    /// An empty password, or a stored hash that was made from one.
    #[error("the password of a credential must not be empty")]
    EmptyPassword,
    /// No hash was given at all.
    #[error("a credential needs at least one hash")]
    NoHash,
    /// A stored hash of another length than the algorithm's, or not hexadecimal.
    #[error("an {function} hash is {} hexadecimal digits", function.output_len() * 2)]
    WrongLength {
        /// The algorithm that the hash was given for.
        function: HashFunction,
    },
    /// Two hashes for one algorithm.
    #[error("two {0} hashes were given")]
    Twice(HashFunction),
}

/// H(username:realm:password) of one credential for each hash function that is known
/// (RFC 7616 §3.4.2), at least one.
///
/// A hash is as good as the password within its realm: there is no `Debug` and no `Serialize` that
/// shows it, and it is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1Set {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    sha512_256: Option<[u8; 32]>,
}

impl Ha1Set {
    /// The hashes for all three functions. The password is wiped on return.
    ///
    /// # Errors
    ///
    /// [`Ha1Error::EmptyPassword`].
    // the password is consumed so that no copy outlives the call
    #[allow(clippy::needless_pass_by_value)]
    pub fn from_password(
        username: &UserName,
        realm: &Realm,
        password: Password,
    ) -> Result<Self, Ha1Error> {
        if password.is_empty() {
            return Err(Ha1Error::EmptyPassword);
        }
        Ok(Self::all(username, realm, password.expose()))
    }

    /// The hashes that an operator already has, in hexadecimal, either case.
    ///
    /// # Errors
    ///
    /// Any [`Ha1Error`]; a hash that is the hash of the empty password is refused too.
    pub fn from_hex<'a>(
        username: &UserName,
        realm: &Realm,
        hashes: impl IntoIterator<Item = (HashFunction, &'a str)>,
    ) -> Result<Self, Ha1Error> {
        let mut set = Self { md5: None, sha256: None, sha512_256: None };
        for (function, text) in hashes {
            if set.get(function).is_some() {
                return Err(Ha1Error::Twice(function));
            }
            let wrong = |_| Ha1Error::WrongLength { function };
            match function {
                HashFunction::Md5 => {
                    hex::decode_to_slice(text, set.md5.insert([0; 16])).map_err(wrong)?;
                }
                HashFunction::Sha256 => {
                    hex::decode_to_slice(text, set.sha256.insert([0; 32])).map_err(wrong)?;
                }
                HashFunction::Sha512_256 => {
                    hex::decode_to_slice(text, set.sha512_256.insert([0; 32])).map_err(wrong)?;
                }
            }
        }
        if HashFunction::ALL.into_iter().all(|function| set.get(function).is_none()) {
            return Err(Ha1Error::NoHash);
        }
        let empty = Self::all(username, realm, "");
        let of_empty = |function| set.get(function).is_some_and(|h| empty.get(function) == Some(h));
        if HashFunction::ALL.into_iter().any(of_empty) {
            return Err(Ha1Error::EmptyPassword);
        }
        Ok(set)
    }

    /// The hashes that a store has kept: they were checked when they came in.
    ///
    /// # Errors
    ///
    /// [`Ha1Error::NoHash`] if all are `None`.
    pub fn from_bytes(
        md5: Option<[u8; 16]>,
        sha256: Option<[u8; 32]>,
        sha512_256: Option<[u8; 32]>,
    ) -> Result<Self, Ha1Error> {
        let set = Self { md5, sha256, sha512_256 };
        let any = HashFunction::ALL.into_iter().any(|function| set.has(function));
        if any { Ok(set) } else { Err(Ha1Error::NoHash) }
    }

    /// Whether a response made with `function` can be verified.
    #[must_use]
    pub fn has(&self, function: HashFunction) -> bool {
        self.get(function).is_some()
    }

    /// The bytes of the hash for `function`. Secret: whoever asks for it must not let it out.
    #[must_use]
    pub fn get(&self, function: HashFunction) -> Option<&[u8]> {
        match function {
            HashFunction::Md5 => self.md5.as_ref().map(<[u8; 16]>::as_slice),
            HashFunction::Sha256 => self.sha256.as_ref().map(<[u8; 32]>::as_slice),
            HashFunction::Sha512_256 => self.sha512_256.as_ref().map(<[u8; 32]>::as_slice),
        }
    }

    fn all(username: &UserName, realm: &Realm, password: &str) -> Self {
        fn ha1<D: Digest>(username: &UserName, realm: &Realm, password: &str) -> D {
            let mut hash = D::new();
            for part in [username.as_str(), ":", realm.as_str(), ":", password] {
                hash.update(part);
            }
            hash
        }
        Self {
            md5: Some(ha1::<Md5>(username, realm, password).finalize().into()),
            sha256: Some(ha1::<Sha256>(username, realm, password).finalize().into()),
            sha512_256: Some(ha1::<Sha512_256>(username, realm, password).finalize().into()),
        }
    }
}

impl Ha1Set {
    /// Leaves none, and zeros where they stood.
    pub(crate) fn wipe(&mut self) {
        self.md5.zeroize();
        self.sha256.zeroize();
        self.sha512_256.zeroize();
    }
}

impl Drop for Ha1Set {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Ha1Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1Set(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (UserName, Realm) {
        ("Mufasa".parse().unwrap(), "testrealm@host.com".parse().unwrap())
    }

    #[test]
    fn the_vector_of_rfc_2617() {
        let (user, realm) = names();
        let password = Password::new("Circle Of Life".to_owned());
        let set = Ha1Set::from_password(&user, &realm, password).unwrap();
        let md5 = hex::encode(set.get(HashFunction::Md5).unwrap());
        assert_eq!(md5, "939e7578ed9e3c518a452acee763bce9");
        assert!(HashFunction::ALL.into_iter().all(|function| set.has(function)));
        assert_eq!(format!("{set:?}"), "Ha1Set(..)");
    }

    #[test]
    fn what_cannot_be_a_users_hash_is_refused() {
        let (user, realm) = names();
        let empty = Ha1Set::from_password(&user, &realm, Password::new(String::new()));
        assert_eq!(empty.unwrap_err(), Ha1Error::EmptyPassword);

        let given = |hashes: &[(HashFunction, &str)]| {
            Ha1Set::from_hex(&user, &realm, hashes.iter().copied()).map(|_| ())
        };
        let md5 = "939E7578ed9e3c518a452acee763bce9";
        assert_eq!(given(&[(HashFunction::Md5, md5)]), Ok(()));
        assert_eq!(given(&[]), Err(Ha1Error::NoHash));
        for text in ["", "93", &md5[1..], "939e7578ed9e3c518a452acee763bceg", &md5.repeat(2)] {
            let error = given(&[(HashFunction::Md5, text)]).unwrap_err();
            assert_eq!(error.to_string(), "an MD5 hash is 32 hexadecimal digits");
        }
        let twice = given(&[(HashFunction::Md5, md5), (HashFunction::Md5, md5)]);
        assert_eq!(twice, Err(Ha1Error::Twice(HashFunction::Md5)));
        let of_empty = hex::encode(Md5::digest("Mufasa:testrealm@host.com:"));
        assert_eq!(given(&[(HashFunction::Md5, &of_empty)]), Err(Ha1Error::EmptyPassword));
    }
}
