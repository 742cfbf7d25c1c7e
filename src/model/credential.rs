//! The hashes of a password, one for each hash function. The password itself is not stored.

use std::fmt;

use zeroize::Zeroize;

use super::name::{Realm, UserName};
use super::password::Password;
use crate::digest::{ALL_OUTPUTS_LEN, Bytes, HashFunction, HashImpl, HashVisitor};

/// An error in the hashes of a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ha1Error {
    /// The password is empty, or a stored hash was made from an empty password.
    #[error("the password of a credential must not be empty")]
    EmptyPassword,
    /// There is no hash.
    #[error("a credential needs at least one hash")]
    NoHash,
    /// A stored hash has the wrong length or is not hexadecimal.
    #[error("an {function} hash is {} hexadecimal digits", function.hex_len())]
    WrongLength {
        /// The hash function.
        function: HashFunction,
    },
    /// More than one hash was given for one function.
    #[error("the {0} hash is given more than once")]
    Twice(HashFunction),
}

/// The H(A1) hashes of one credential, H(username:realm:password) (RFC 7616 §3.4.2): at least one,
/// and at most one for each hash function.
///
/// Within its realm a hash is worth as much as the password. `Debug` hides the hashes, there is no
/// `Serialize`, and dropping the set wipes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1Set {
    /// One bit for each function, by its index.
    present: u8,
    /// The hashes of all functions, one after the other; zeros where a hash is missing.
    hashes: [u8; ALL_OUTPUTS_LEN],
}

const _: () = assert!(HashFunction::COUNT <= 8, "`present` has one bit for each function");

impl Ha1Set {
    /// Hashes a password with every function. Wipes the password on return.
    ///
    /// # Errors
    ///
    /// [`Ha1Error::EmptyPassword`].
    // consumes the password, so that no copy outlives the call
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

    /// Reads existing hashes in hexadecimal, in either case.
    ///
    /// # Errors
    ///
    /// Any [`Ha1Error`]. A hash of the empty password is [`Ha1Error::EmptyPassword`].
    pub fn from_hex<'a>(
        username: &UserName,
        realm: &Realm,
        hashes: impl IntoIterator<Item = (HashFunction, &'a str)>,
    ) -> Result<Self, Ha1Error> {
        let mut set = Self::none();
        for (function, text) in hashes {
            let place = set.vacant(function)?;
            hex::decode_to_slice(text, place).map_err(|_| Ha1Error::WrongLength { function })?;
        }
        let set = set.not_empty()?;
        let empty = Self::all(username, realm, "");
        let of_empty = |function| set.get(function).is_some_and(|h| empty.get(function) == Some(h));
        if HashFunction::ALL.into_iter().any(of_empty) {
            return Err(Ha1Error::EmptyPassword);
        }
        Ok(set)
    }

    /// Reads hashes from a store. Does not test for the hash of an empty password.
    ///
    /// # Errors
    ///
    /// [`Ha1Error::NoHash`], [`Ha1Error::WrongLength`] or [`Ha1Error::Twice`].
    pub fn from_bytes<H: AsRef<[u8]>>(
        hashes: impl IntoIterator<Item = (HashFunction, H)>,
    ) -> Result<Self, Ha1Error> {
        let mut set = Self::none();
        for (function, hash) in hashes {
            let (place, hash) = (set.vacant(function)?, hash.as_ref());
            if place.len() != hash.len() {
                return Err(Ha1Error::WrongLength { function });
            }
            place.copy_from_slice(hash);
        }
        set.not_empty()
    }

    /// Whether a response made with `function` can be verified.
    #[must_use]
    pub fn has(&self, function: HashFunction) -> bool {
        self.present & bit(function) != 0
    }

    /// The hash for `function`. It is secret: do not log or return it.
    #[must_use]
    #[inline]
    pub fn get(&self, function: HashFunction) -> Option<&[u8]> {
        if self.has(function) { self.hashes.get(function.slot()) } else { None }
    }

    /// The hashes, in the order of [`HashFunction::ALL`]. They are secret, see [`Ha1Set::get`].
    pub fn iter(&self) -> impl Iterator<Item = (HashFunction, &[u8])> {
        HashFunction::ALL.into_iter().filter_map(|function| Some((function, self.get(function)?)))
    }

    const fn none() -> Self {
        Self { present: 0, hashes: [0; ALL_OUTPUTS_LEN] }
    }

    /// Marks the hash of `function` as present and returns its place, which the caller fills.
    fn vacant(&mut self, function: HashFunction) -> Result<&mut [u8], Ha1Error> {
        if self.has(function) {
            return Err(Ha1Error::Twice(function));
        }
        self.present |= bit(function);
        // `slot` is within `hashes` for every function
        self.hashes.get_mut(function.slot()).ok_or(Ha1Error::WrongLength { function })
    }

    fn not_empty(self) -> Result<Self, Ha1Error> {
        if self.present == 0 { Err(Ha1Error::NoHash) } else { Ok(self) }
    }

    fn all(username: &UserName, realm: &Realm, password: &str) -> Self {
        struct Put<'p>(&'p mut [u8], [&'p [u8]; 5]);

        impl HashVisitor for Put<'_> {
            type Out = ();

            fn visit<F: HashImpl>(self) {
                let Self(place, parts) = self;
                let mut hash = F::hash_parts(&parts);
                if let Some(place) = F::Output::prefix_mut(place) {
                    *place = hash;
                }
                hash.as_bytes_mut().zeroize();
            }
        }

        let parts = [username.as_str(), ":", realm.as_str(), ":", password].map(str::as_bytes);
        let mut set = Self::none();
        for function in HashFunction::ALL {
            if let Ok(place) = set.vacant(function) {
                function.with(Put(place, parts));
            }
        }
        set
    }
}

const fn bit(function: HashFunction) -> u8 {
    1 << function.index()
}

impl Ha1Set {
    /// Removes all hashes and overwrites their memory with zeros.
    pub(crate) fn wipe(&mut self) {
        self.present.zeroize();
        self.hashes.zeroize();
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
    fn md5_hash_matches_rfc_2617() {
        let (user, realm) = names();
        let password = Password::new("Circle Of Life".to_owned());
        let set = Ha1Set::from_password(&user, &realm, password).unwrap();
        let md5 = hex::encode(set.get(HashFunction::Md5).unwrap());
        assert_eq!(md5, "939e7578ed9e3c518a452acee763bce9");
        assert!(HashFunction::ALL.into_iter().all(|function| set.has(function)));
        assert_eq!(format!("{set:?}"), "Ha1Set(..)");
    }

    /// A deployment may hold ten million sets, so each has only one byte besides the hashes.
    #[test]
    fn a_set_is_small() {
        assert_eq!(size_of::<Ha1Set>(), ALL_OUTPUTS_LEN + 1);
    }

    #[test]
    fn bytes_round_trip() {
        let (user, realm) = names();
        let all = Ha1Set::from_password(&user, &realm, Password::new("secret".to_owned())).unwrap();
        assert!(all.iter().map(|(function, _)| function).eq(HashFunction::ALL));
        assert!(Ha1Set::from_bytes(all.iter()).unwrap() == all);
        for function in HashFunction::ALL {
            let hash = all.get(function).unwrap();
            assert_eq!(hash.len(), function.output_len());
            let one = Ha1Set::from_bytes([(function, hash)]).unwrap();
            assert!(one.iter().eq([(function, hash)]) && one != all);
            let wrong = Ha1Error::WrongLength { function };
            assert_eq!(Ha1Set::from_bytes([(function, &hash[1..])]).unwrap_err(), wrong);
            let twice = Ha1Set::from_bytes([(function, hash), (function, hash)]);
            assert_eq!(twice.unwrap_err(), Ha1Error::Twice(function));
        }
        let none: [(HashFunction, &[u8]); 0] = [];
        assert_eq!(Ha1Set::from_bytes(none).unwrap_err(), Ha1Error::NoHash);
        let mut wiped = all;
        wiped.wipe();
        assert_eq!((wiped.present, wiped.hashes), (0, [0; ALL_OUTPUTS_LEN]));
    }

    #[test]
    fn invalid_hashes_are_refused() {
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
        let of_empty = hex::encode(sip_authz_arch::md5(b"Mufasa:testrealm@host.com:"));
        assert_eq!(given(&[(HashFunction::Md5, &of_empty)]), Err(Ha1Error::EmptyPassword));
    }
}
