//! Passwords in plain text.

use std::fmt;

use zeroize::Zeroizing;

/// A password before it is hashed. Dropping it wipes it, and `Debug` hides it.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the string without copying it, so its buffer is the one that is wiped.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// Whether the password is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The password itself, for checks of its strength.
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

/// Reads a string. Errors never quote the value, even if it is not a string.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, Visitor};

        struct Text;

        macro_rules! refuse {
            ($($method:ident $kind:ty,)*) => {$(
                // the default method would quote the value
                fn $method<E: Error>(self, _: $kind) -> Result<Password, E> {
                    Err(E::custom("expected a string"))
                }
            )*};
        }

        impl Visitor<'_> for Text {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Password, E> {
                Ok(Password::new(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Password, E> {
                Ok(Password::new(text))
            }

            refuse! {
                visit_bool bool, visit_i64 i64, visit_i128 i128, visit_u64 u64, visit_u128 u128,
                visit_f64 f64,
            }
        }

        // with `deserialize_string`, serde_json would quote a number in its error
        deserializer.deserialize_any(Text)
    }
}
