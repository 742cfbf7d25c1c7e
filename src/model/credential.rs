//! What is kept of a password: one hash for each algorithm, and nothing else.

use std::fmt;

use zeroize::Zeroize;

use super::name::{Realm, UserName};
use super::password::Password;
use crate::digest::{ALL_OUTPUTS_LEN, Bytes, HashFunction, HashImpl, HashVisitor};

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
    #[error("an {function} hash is {} hexadecimal digits", function.hex_len())]
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
    /// A bit for each function, by its index.
    present: u8,
    /// A place for each function; zeros where there is no hash.
    hashes: [u8; ALL_OUTPUTS_LEN],
}

const _: () = assert!(HashFunction::COUNT <= 8, "a bit for each function");

impl Ha1Set {
    /// The hashes for all functions. The password is wiped on return.
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

    /// The hashes that a store has kept: they were checked when they came in.
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

    /// The bytes of the hash for `function`. Secret: whoever asks for it must not let it out.
    #[must_use]
    #[inline]
    pub fn get(&self, function: HashFunction) -> Option<&[u8]> {
        if self.has(function) { self.hashes.get(function.slot()) } else { None }
    }

    /// The hashes, in the order of [`HashFunction::ALL`]. Secret, as [`Ha1Set::get`].
    pub fn iter(&self) -> impl Iterator<Item = (HashFunction, &[u8])> {
        HashFunction::ALL.into_iter().filter_map(|function| Some((function, self.get(function)?)))
    }

    const fn none() -> Self {
        Self { present: 0, hashes: [0; ALL_OUTPUTS_LEN] }
    }

    /// The place of a hash that is put in now.
    fn vacant(&mut self, function: HashFunction) -> Result<&mut [u8], Ha1Error> {
        if self.has(function) {
            return Err(Ha1Error::Twice(function));
        }
        self.present |= bit(function);
        // every function has a place
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
    /// Leaves none, and zeros where they stood.
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
    fn the_vector_of_rfc_2617() {
        let (user, realm) = names();
        let password = Password::new("Circle Of Life".to_owned());
        let set = Ha1Set::from_password(&user, &realm, password).unwrap();
        let md5 = hex::encode(set.get(HashFunction::Md5).unwrap());
        assert_eq!(md5, "939e7578ed9e3c518a452acee763bce9");
        assert!(HashFunction::ALL.into_iter().all(|function| set.has(function)));
        assert_eq!(format!("{set:?}"), "Ha1Set(..)");
    }

    /// Ten millions of them are kept: a byte beside the hashes.
    #[test]
    fn a_set_is_small() {
        assert_eq!(size_of::<Ha1Set>(), ALL_OUTPUTS_LEN + 1);
    }

    #[test]
    fn bytes_come_back_as_they_were() {
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
        let of_empty = hex::encode(sip_authz_arch::md5(b"Mufasa:testrealm@host.com:"));
        assert_eq!(given(&[(HashFunction::Md5, &of_empty)]), Err(Ha1Error::EmptyPassword));
    }
}
