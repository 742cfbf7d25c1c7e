//! Writing the values of Proxy-Authenticate and WWW-Authenticate (RFC 7616 §3.3, RFC 8760 §2.4).

use crate::model::{Policy, Realm};

/// One value for each algorithm that the policy offers, in its order, all with the same nonce.
pub(crate) fn challenge_values(
    policy: &Policy,
    realm: &Realm,
    nonce: &str,
    stale: bool,
) -> Vec<String> {
    let value = |algorithm: super::Algorithm| {
        let mut value = String::with_capacity(128 + realm.as_str().len());
        // a realm holds nothing that would have to be escaped
        value.push_str("Digest realm=\"");
        value.push_str(realm.as_str());
        value.push_str("\", nonce=\"");
        value.push_str(nonce);
        value.push_str("\", algorithm=");
        value.push_str(algorithm.name());
        value.push_str(", qop=\"");
        value.push_str(policy.qop.name());
        value.push('"');
        if stale {
            value.push_str(", stale=true");
        }
        if policy.userhash {
            value.push_str(", userhash=true");
        }
        value
    };
    policy.algorithms.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlgorithmOffer, QopOffer};

    #[test]
    fn one_value_for_each_algorithm() {
        let realm = "example.com".parse().unwrap();
        let mut policy = Policy::default();
        assert_eq!(
            challenge_values(&policy, &realm, "N", false),
            [r#"Digest realm="example.com", nonce="N", algorithm=MD5, qop="auth""#]
        );
        policy.algorithms = AlgorithmOffer::MD5_FIRST;
        policy.qop = QopOffer::Both;
        policy.userhash = true;
        let rest = r#"qop="auth,auth-int", stale=true, userhash=true"#;
        assert_eq!(
            challenge_values(&policy, &realm, "N", true),
            [
                format!(r#"Digest realm="example.com", nonce="N", algorithm=MD5, {rest}"#),
                format!(r#"Digest realm="example.com", nonce="N", algorithm=SHA-256, {rest}"#),
            ]
        );
    }
}
