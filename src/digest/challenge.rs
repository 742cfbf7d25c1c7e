//! The value of a Proxy-Authenticate or WWW-Authenticate header (RFC 7616 §3.3, RFC 8760 §2.4).

use super::Algorithm;

/// The fields of a challenge, except the algorithm.
pub(crate) struct ChallengeText<'a> {
    /// Contains no character that needs escaping.
    pub(crate) realm: &'a str,
    pub(crate) nonce: &'a str,
    /// The value of the `qop` parameter.
    pub(crate) qop: &'static str,
    /// Set if the digest was right and the nonce was not: the client retries without asking the
    /// user.
    pub(crate) stale: bool,
    /// Whether hashed user names are accepted (RFC 7616 §3.4.4).
    pub(crate) userhash: bool,
}

impl ChallengeText<'_> {
    /// The header value that offers `algorithm`.
    pub(crate) fn value(&self, algorithm: Algorithm) -> String {
        let mut value = String::with_capacity(128 + self.realm.len());
        for part in [
            "Digest realm=\"",
            self.realm,
            "\", nonce=\"",
            self.nonce,
            "\", algorithm=",
            algorithm.name(),
            ", qop=\"",
            self.qop,
            "\"",
            if self.stale { ", stale=true" } else { "" },
            if self.userhash { ", userhash=true" } else { "" },
        ] {
            value.push_str(part);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_challenge() {
        let mut text = ChallengeText {
            realm: "example.com",
            nonce: "N",
            qop: "auth",
            stale: false,
            userhash: false,
        };
        assert_eq!(
            text.value(Algorithm::Md5),
            r#"Digest realm="example.com", nonce="N", algorithm=MD5, qop="auth""#
        );
        text.qop = "auth,auth-int";
        text.stale = true;
        text.userhash = true;
        assert_eq!(
            text.value(Algorithm::Sha512_256Sess),
            concat!(
                r#"Digest realm="example.com", nonce="N", algorithm=SHA-512-256-sess, "#,
                r#"qop="auth,auth-int", stale=true, userhash=true"#
            )
        );
    }
}
