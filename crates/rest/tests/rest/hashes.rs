//! Hashes instead of a password, in documents and forms, for each hash function.

use serde_json::json;
use sip_authz::digest::HashFunction;
use sip_authz_rest::bulk::Document;

use super::*;

fn document(ha1: &str) -> String {
    format!(
        r#"{{"format":"sip-authz/1","credentials":[{{"sid":"CR{DIGITS}","credential_list_sid":"CL{DIGITS}","username":"bob","ha1":{ha1}}}]}}"#
    )
}

#[test]
fn a_document_holds_a_hash_of_each_function() {
    let mut ha1 = serde_json::Map::new();
    for function in HashFunction::ALL {
        ha1.insert(function.key().to_owned(), "ab".repeat(function.output_len()).into());
    }
    let ha1 = Value::from(ha1);
    let read: Document = serde_json::from_str(&document(&ha1.to_string())).unwrap();
    let hashes = read.credentials[0].ha1.as_ref().unwrap();
    assert!(hashes.iter().map(|(function, _)| function).eq(HashFunction::ALL));
    assert_eq!(serde_json::to_value(&read).unwrap()["credentials"][0]["ha1"], ha1);
    assert!(!format!("{read:?}").contains("abab"));
}

#[test]
fn a_document_with_other_hashes_is_refused_without_showing_one() {
    for (ha1, expected) in [
        (r#"{"md4":"hunter22"}"#, "unknown field `md4`, expected one of `md5`, `sha-256`, "),
        (r#"{"md5":"hunter22","md5":"hunter22"}"#, "duplicate field `md5`"),
        (r#"{"md5":["hunter22"]}"#, "invalid type: sequence, expected a string"),
        (r#""hunter22""#, "expected a map under names of hash functions, such as `md5`"),
        (r#"12345678"#, "expected a map under names of hash functions, such as `md5`"),
        (r#"["hunter22"]"#, "invalid type: sequence, expected a map under names"),
    ] {
        let error = serde_json::from_str::<Document>(&document(ha1)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{ha1}: {error}");
        assert!(!error.contains("hunter22") && !error.contains("12345678"), "{error}");
    }
}

#[tokio::test]
async fn a_form_takes_a_hash_of_each_function() {
    let site = Site::new().await;
    let list = site.make(&sip("CredentialLists"), "FriendlyName=x").await;
    let users = sip(&format!("CredentialLists/{list}/Credentials"));
    let mut exported = Vec::new();
    for function in HashFunction::ALL {
        let name = function.name().replace('-', "").to_lowercase();
        let parameter = format!("Ha1{}{}", name[..1].to_uppercase(), &name[1..]);
        let digits = "cd".repeat(function.output_len());
        let form = format!("Username={name}&{parameter}={digits}");
        let made = site.call("POST", &users, &form).await;
        assert_eq!(made.status, 201, "{form}: {}", made.text);
        let short = format!("Username=b{name}&{parameter}={}", &digits[2..]);
        refused(&site, "POST", &users, &short, 400, 21243).await;
        exported.push(json!({ function.key(): digits }));
    }
    let all = site.call_as(&site.admin, "GET", "/admin/export?secrets=true", "").await.json();
    let all = all["credentials"].as_array().unwrap();
    for ha1 in exported {
        assert!(all.iter().any(|user| user["ha1"] == ha1), "{ha1}");
    }
}
