//! The encoding of keys and records: every kind decodes to the same record, and the decoder rejects all
//! other input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, Credential, Dates, Domain, FromCheck, Ha1Set, Key, Mapping, MethodSet, Password,
    Policy, PolicyRecord, Record, RegisterAs, Target, Trunk,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    RoleSid, TrunkSid,
};
use sip_authz_store::conformance::full_records;
use sip_authz_store::encoding::{decode, decode_key, encode, key};
use sip_authz_store::{Format, StoreError, Sum};
use sip_authz_testing::fuzzing::fuzz_store_record;

/// Operators and other programs read this format, so it must not change without a new version.
#[test]
fn the_format_is_stable() {
    let records = full_records();
    let written = |key_text: &str| {
        let record = records.iter().find(|record| key(record.key()) == key_text).expect(key_text);
        encode(record).unwrap().as_text().to_owned()
    };
    assert_eq!(written("1/AC03030303030303030303030303030303"), r#"{"v":1,"status":"active"}"#);
    assert_eq!(
        written("5/CR02020202020202020202020202020202"),
        format!(
            r#"{{"v":1,"list":"CL{}","username":"bob","sha512_256":"{}"}}"#,
            "01".repeat(16),
            "ab".repeat(32)
        )
    );
    assert_eq!(
        written("7/SD01010101010101010101010101010101"),
        concat!(
            r#"{"v":1,"algorithms":["MD5"],"qop":"auth","allow_rfc2069":false,"uri_check":"off","#,
            r#""nonce_lifetime":60,"bind_source":true,"wrong_answer":"reject","#,
            r#""from_must_match":false,"userhash":false,"challenge":"proxy","#,
            r#""guesses_by_source":{"burst":20,"refill_ms":2000},"#,
            r#""guesses_by_pair":{"burst":10,"refill_ms":6000},"guesses_by_name":null}"#,
        )
    );
    let mapping = "8/3/SD01010101010101010101010101010101/CL01010101010101010101010101010101";
    assert_eq!(written(mapping), r#"{"v":1,"since":1,"created":1700000000,"updated":1700000001}"#);
}

/// Stores of earlier versions have no `on_accept`. Records without it keep their bytes, and so the sum
/// of the head.
#[test]
fn records_without_an_answer_to_accepted_calls_keep_their_format() {
    let (account, domain) = (AccountSid::from_bytes([1; 16]), DomainSid::from_bytes([2; 16]));
    let trunk = TrunkSid::from_bytes([3; 16]);
    let sid = "AC01010101010101010101010101010101";
    for (record, text) in [
        (
            Record::from(Domain::new(domain, account, "sip.example.com".parse().unwrap())),
            format!(r#"{{"v":1,"account":"{sid}","name":"sip.example.com"}}"#),
        ),
        (
            Trunk::new(trunk, account, None).into(),
            format!(
                r#"{{"v":1,"account":"{sid}","transfer_mode":"disable-all","transfer_caller_id":"from-transferee"}}"#
            ),
        ),
    ] {
        assert_eq!(encode(&record).unwrap().as_text(), text);
        assert_eq!(decode(record.key(), text.as_bytes()).unwrap(), record);
    }
    let new = Domain::new(domain, account, "sip.example.com".parse().unwrap());
    let on_accept = Some("redirect:sip:{user}@gw.example.net".parse().unwrap());
    let record = Record::from(Domain { on_accept, ..new });
    let text = encode(&record).unwrap().as_text().to_owned();
    assert!(text.contains(r#""on_accept":"redirect:sip:{user}@gw.example.net""#), "{text}");
    assert_eq!(decode(record.key(), text.as_bytes()).unwrap(), record);
    let wrong = text.replace("{user}", "{number}");
    assert!(decode(record.key(), wrong.as_bytes()).is_err());
    let forward = text.replace("redirect:sip:{user}@", "forward:sip:");
    let Record::Domain(read) = decode(record.key(), forward.as_bytes()).unwrap() else { panic!() };
    assert_eq!(read.on_accept.as_ref().unwrap().to_string(), "forward:sip:gw.example.net");
    assert_eq!(encode(&read.into()).unwrap().as_text(), forward);
    let wrong = forward.replace(".net", ".net;maddr=192.0.2.1");
    assert!(decode(record.key(), wrong.as_bytes()).is_err());
}

#[test]
fn a_check_of_from_is_stored_as_a_boolean_where_one_suffices() {
    let target = DomainSid::from_bytes([1; 16]);
    let record = |check: FromCheck| {
        Record::from(PolicyRecord::new(target, Policy::default().with_from_must_match(check)))
    };
    let text = |check| encode(&record(check)).unwrap().as_text().to_owned();
    for (check, value) in [
        (FromCheck::Off, "false"),
        (FromCheck::User, "true"),
        (FromCheck::UserOrAnonymous, "\"or-anonymous\""),
    ] {
        let stored = text(check);
        assert!(stored.contains(&format!("\"from_must_match\":{value},")), "{stored}");
        assert!(decode(record(check).key(), stored.as_bytes()).unwrap() == record(check));
    }
    let stored = text(FromCheck::Off);
    for value in ["\"true\"", "\"false\"", "\"Or-Anonymous\"", "\"\"", "1", "null", "[true]", "{}"]
    {
        let other =
            stored.replace("\"from_must_match\":false", &format!("\"from_must_match\":{value}"));
        let error = decode(record(FromCheck::Off).key(), other.as_bytes()).map(drop).unwrap_err();
        assert!(error.to_string().contains("invalid value at column"), "{value}: {error}");
    }
}

/// Stores of earlier versions have no `register_as`. A policy with `{user}` alone keeps its bytes.
#[test]
fn the_default_of_register_as_is_not_stored() {
    let target = DomainSid::from_bytes([1; 16]);
    let record = |templates: &[&str]| {
        let templates = RegisterAs::new(templates).unwrap();
        Record::from(PolicyRecord::new(target, Policy::default().with_register_as(templates)))
    };
    let default = record(&["{user}"]);
    let text = encode(&default).unwrap().as_text().to_owned();
    assert!(!text.contains("register_as"), "{text}");
    assert!(decode(default.key(), text.as_bytes()).unwrap() == default);
    for (templates, stored) in [
        (&["+49{user}"][..], r#"["+49{user}"]"#),
        (&["{user}", "1{user}2"], r#"["{user}","1{user}2"]"#),
    ] {
        let record = record(templates);
        let text = encode(&record).unwrap().as_text().to_owned();
        assert!(text.contains(&format!(r#","register_as":{stored}"#)), "{text}");
        assert!(decode(record.key(), text.as_bytes()).unwrap() == record);
        for value in
            ["[]", "null", "\"{user}\"", "[\"{user}\",\"{user}\"]", "[\"user\"]", "[1]", "{}"]
        {
            let other = text.replace(stored, value);
            assert!(decode(record.key(), other.as_bytes()).is_err(), "{value}");
        }
    }
}

/// Stores of earlier versions have no `methods`. A policy with INVITE and OPTIONS keeps its bytes, and so
/// the sum of the head.
#[test]
fn the_default_methods_are_not_stored() {
    let target = DomainSid::from_bytes([1; 16]);
    let record = |methods: &[&str]| {
        let methods = MethodSet::new(methods).unwrap();
        Record::from(PolicyRecord::new(target, Policy::default().with_methods(methods)))
    };
    let default = record(&["OPTIONS", "INVITE"]);
    let text = encode(&default).unwrap().as_text().to_owned();
    assert!(!text.contains("methods"), "{text}");
    assert!(decode(default.key(), text.as_bytes()).unwrap() == default);
    for (methods, stored) in [
        (&["INVITE"][..], r#"["INVITE"]"#),
        (&["SUBSCRIBE", "INVITE", "MESSAGE"], r#"["INVITE","MESSAGE","SUBSCRIBE"]"#),
        (&["invite", "OPTIONS"], r#"["OPTIONS","invite"]"#),
    ] {
        let record = record(methods);
        let text = encode(&record).unwrap().as_text().to_owned();
        assert!(text.contains(&format!(r#","methods":{stored}"#)), "{text}");
        assert!(decode(record.key(), text.as_bytes()).unwrap() == record);
        for value in [
            "[]",
            "null",
            "\"INVITE\"",
            "[\"INVITE\",\"INVITE\"]",
            "[\"BYE\"]",
            "[\"A B\"]",
            "[1]",
            "{}",
        ] {
            let other = text.replace(stored, value);
            assert!(decode(record.key(), other.as_bytes()).is_err(), "{value}");
        }
    }
}

#[test]
fn every_kind_decodes_to_the_same_record() {
    let mut kinds = BTreeSet::new();
    let mut fields = BTreeSet::new();
    for record in full_records() {
        let (text, value) = (key(record.key()), encode(&record).unwrap());
        assert_eq!(decode_key(&text).unwrap(), record.key());
        assert!(decode(record.key(), value.as_bytes()).unwrap() == record, "{text}");
        assert_eq!(Sum::of(&record).unwrap(), Sum::of_encoded(&text, value.as_bytes()));
        kinds.insert(text[..3].to_owned());
        let value: serde_json::Value = serde_json::from_str(value.as_text()).unwrap();
        fields.extend(
            value.as_object().unwrap().keys().map(|field| format!("{} {field}", &text[..3])),
        );
    }
    assert_eq!(kinds.len(), 13, "{kinds:?}");
    assert_eq!(fields.len(), 115, "all fields: {fields:#?}");
}

/// A changed value is rejected, or decodes to another record with another checksum.
#[test]
fn changed_fields_are_rejected_or_change_the_record() {
    for record in full_records() {
        let (text, written) = (key(record.key()), encode(&record).unwrap());
        let value: serde_json::Value = serde_json::from_str(written.as_text()).unwrap();
        let object = value.as_object().unwrap();
        let refused = |value: &serde_json::Map<String, serde_json::Value>| {
            let error = decode(record.key(), serde_json::to_string(value).unwrap().as_bytes());
            let error = error.map(drop).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{}`: ", record.key())), "{error}");
            error
        };
        let mut more = object.clone();
        more.insert("later".to_owned(), true.into());
        assert!(refused(&more).contains("unknown field `later`"), "{text}");
        let mut newer = object.clone();
        newer.insert("v".to_owned(), 2.into());
        assert!(refused(&newer).contains("unsupported version 2"), "{text}");
        for (field, value) in object {
            let mut less = object.clone();
            less.remove(field);
            let less = serde_json::to_string(&less).unwrap();
            if let Ok(other) = decode(record.key(), less.as_bytes()) {
                assert!(other != record, "removing {field} of {text} changes nothing");
            }
            let mut other = object.clone();
            let odd = if value.is_number() { "x".into() } else { 77.into() };
            other.insert(field.clone(), odd);
            refused(&other);
        }
        for len in 0..written.as_bytes().len() {
            assert!(decode(record.key(), &written.as_bytes()[..len]).is_err(), "{len} of {text}");
        }
    }
}

#[test]
fn a_hash_of_each_function_is_a_field() {
    let (list, sid) = (CredentialListSid::from_bytes([1; 16]), CredentialSid::from_bytes([1; 16]));
    let hashes = HashFunction::ALL.map(|function| (function, "ab".repeat(function.output_len())));
    let fields = |hashes: &[(HashFunction, String)]| -> String {
        let field = |(function, hash): &(HashFunction, String)| {
            format!(r#","{}":"{hash}""#, function.stored_name())
        };
        hashes.iter().map(field).collect()
    };
    let value = |fields: &str| format!(r#"{{"v":1,"list":"{list}","username":"bob"{fields}}}"#);
    let read = |fields: &str| decode(Key::Credential(sid), value(fields).as_bytes());
    for chosen in hashes.each_ref().map(std::slice::from_ref).into_iter().chain([&hashes[..]]) {
        let record = read(&fields(chosen)).unwrap();
        assert_eq!(encode(&record).unwrap().as_text(), value(&fields(chosen)));
        let Record::Credential(user) = &record else { panic!("no credential") };
        let kept: Vec<_> = user.ha1.iter().map(|(f, hash)| (f, hex::encode(hash))).collect();
        assert_eq!(kept, chosen);

        // the order of the fields does not matter; a duplicate is an error
        let mut turned = chosen.to_vec();
        turned.reverse();
        assert!(read(&fields(&turned)).unwrap() == record);
        let twice = [chosen, &chosen[..1]].concat();
        let error = read(&fields(&twice)).map(drop).unwrap_err().to_string();
        let name = chosen[0].0.stored_name();
        assert!(error.contains(&format!("duplicate field `{name}`")), "{error}");
        let longer = fields(chosen).replacen("ab", "abab", 1);
        assert!(read(&longer).is_err() && read(&longer.replacen("abab", "", 1)).is_err());
    }
    let error = read("").map(drop).unwrap_err().to_string();
    assert!(error.ends_with("a credential needs at least one hash"), "{error}");
    for field in [r#","md4":"ab""#, r#","sha-256":"ab""#, r#","MD5":"ab""#] {
        let error = read(&(fields(&hashes) + field)).map(drop).unwrap_err().to_string();
        assert!(error.contains("unknown field") && !error.contains("abab"), "{error}");
    }
}

#[test]
fn errors_contain_no_secret() {
    let alice: (_, _) = ("alice".parse().unwrap(), "example.com".parse().unwrap());
    let ha1 = Ha1Set::from_password(&alice.0, &alice.1, Password::new("secret".to_owned()));
    let list = CredentialListSid::from_bytes([1; 16]);
    let sid = CredentialSid::from_bytes([1; 16]);
    let record = Record::from(Credential::new(sid, list, alice.0, ha1.unwrap()));
    let value: serde_json::Value =
        serde_json::from_str(encode(&record).unwrap().as_text()).unwrap();
    let object = value.as_object().unwrap();
    for field in object.keys().chain([&"disabled".to_owned(), &"role".to_owned()]) {
        for hash in ["md5", "sha256", "sha512_256"] {
            let mut wrong = object.clone();
            let text = object[hash].as_str().unwrap();
            for text in [text.to_owned(), format!("{text}0")] {
                wrong.insert(field.clone(), text.into());
                let wrong = serde_json::to_string(&wrong).unwrap();
                if let Err(error) = decode(record.key(), wrong.as_bytes()) {
                    let error = format!("{error} {error:?}");
                    let part = &object[hash].as_str().unwrap()[..8];
                    assert!(!error.contains(part), "{field}, {hash}: {error}");
                }
            }
        }
    }
    let error = decode(record.key(), b"{\"v\":1,\"list\":7}").map(drop).unwrap_err();
    let expected = format!("`credential {sid}`: invalid value at column 15");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn other_texts_are_invalid_keys() {
    let sid = "01".repeat(16);
    for text in [
        "",
        "/",
        "1",
        "1/",
        "1/AC",
        "0/AC01",
        &format!("1/CL{sid}"),
        &format!("1/AC{sid}/"),
        &format!("1/AC{}", "AB".repeat(16)),
        &format!("6/AL{sid}"),
        &format!("8/SD{sid}/AL{sid}"),
        &format!("8/1/SD{sid}/CL{sid}"),
        &format!("8/4/SD{sid}/CL{sid}"),
        &format!("8/3/TK{sid}/CL{sid}"),
        &format!("8/2/TK{sid}/CL{sid}/"),
    ] {
        let error = decode_key(text).unwrap_err();
        assert_eq!(error.to_string(), format!("`{text}`: invalid key"));
    }
    assert!(decode_key(&"x".repeat(10_000)).unwrap_err().to_string().len() < 200);
}

/// A later version may know what this one does not. The reader then needs an upgrade; the store is not damaged.
#[test]
fn unknown_kinds_versions_and_fields_are_those_of_later_versions() {
    let sid = "01".repeat(16);
    for (text, is_newer) in [
        (format!("10/AC{sid}"), true),
        (format!("11/{}", "x".repeat(10_000)), true),
        (format!("0/AC{sid}"), false),
        (format!("x/AC{sid}"), false),
        (format!("1/CL{sid}"), false),
    ] {
        let error = decode_key(&text).unwrap_err();
        assert_eq!(error.is_newer(), is_newer, "{error}");
        assert!(error.to_string().len() < 200);
        assert_eq!(matches!(StoreError::from(error), StoreError::Newer(_)), is_newer);
    }
    let key = Account::new(AccountSid::from_bytes([1; 16]));
    let key = Record::from(key).key();
    for (value, is_newer) in [
        (r#"{"v":1,"status":"active","later":1}"#, true),
        (r#"{"v":2,"status":"active"}"#, true),
        (r#"{"v":1,"status":"dormant"}"#, false),
        (r#"{"v":1}"#, false),
        (r#"{"v":1,"status":"active","status":"active"}"#, false),
        (r#"{"v":1,"status":"#, false),
    ] {
        let error = decode(key, value.as_bytes()).unwrap_err();
        assert_eq!(error.is_newer(), is_newer, "{error}");
    }
}

/// A later version can add fields that this one may ignore.
#[test]
fn every_kind_can_have_fields_that_a_reader_ignores() {
    for record in full_records() {
        let (text, written) = (key(record.key()), encode(&record).unwrap());
        let with = |ignorable: &str| {
            let start = written.as_text().strip_suffix('}').unwrap();
            let value = format!(r#"{start},"ignorable":{ignorable}}}"#);
            (decode(record.key(), value.as_bytes()), Sum::of_encoded(&text, value.as_bytes()))
        };
        for ignorable in ["{}", r#"{"note":"x","list":[{"v":3}],"ha1":null}"#] {
            let (decoded, sum) = with(ignorable);
            assert!(decoded.unwrap() == record, "{text}");
            // the checksum covers them
            assert_ne!(sum, Sum::of(&record).unwrap());
        }
        for not_an_object in ["7", "null", r#""x""#] {
            assert!(with(not_an_object).0.is_err(), "{text}: {not_an_object}");
        }
        assert!(!written.as_text().contains("ignorable"));
    }
}

/// The records of the first format keep their bytes; those of a later one say so.
#[test]
fn the_format_of_a_record_is_the_first_that_can_have_it() {
    for record in full_records() {
        let needed = Format::of(&record);
        let is_gated = encode(&record).unwrap().as_text().contains("secondary_token_sha256");
        assert_eq!(needed.number(), if is_gated { 2 } else { 1 }, "{}", record.key());
    }
    assert!(Format::new(0).is_none());
}

fn any_key() -> impl Strategy<Value = Key> {
    // few SIDs, so that many keys differ in one part only
    let sid = || prop_oneof![Just([0; 16]), Just([0xff; 16]), any::<[u8; 16]>()];
    let target = || {
        (any::<bool>(), sid()).prop_map(|(domain, sid)| match domain {
            true => Target::Domain(DomainSid::from_bytes(sid)),
            false => Target::Trunk(TrunkSid::from_bytes(sid)),
        })
    };
    prop_oneof![
        sid().prop_map(|sid| Key::Account(AccountSid::from_bytes(sid))),
        sid().prop_map(|sid| Key::IpAccessControlList(IpAccessControlListSid::from_bytes(sid))),
        sid().prop_map(|sid| Key::CredentialList(CredentialListSid::from_bytes(sid))),
        sid().prop_map(|sid| Key::IpAddress(IpAddressSid::from_bytes(sid))),
        sid().prop_map(|sid| Key::Credential(CredentialSid::from_bytes(sid))),
        target().prop_map(Key::Target),
        target().prop_map(Key::Policy),
        (target(), sid()).prop_map(|(target, list)| {
            let list = IpAccessControlListSid::from_bytes(list);
            Key::Mapping(Mapping::IpAccessControlList(target, list))
        }),
        (target(), sid()).prop_map(|(target, list)| {
            Key::Mapping(Mapping::CredentialList(target, CredentialListSid::from_bytes(list)))
        }),
        (sid(), sid()).prop_map(|(domain, list)| {
            let (domain, list) =
                (DomainSid::from_bytes(domain), CredentialListSid::from_bytes(list));
            Key::Mapping(Mapping::Registration(domain, list))
        }),
        sid().prop_map(|sid| Key::Role(RoleSid::from_bytes(sid))),
    ]
}

proptest! {
    #[test]
    fn keys_sort_like_their_encodings(one in any_key(), two in any_key()) {
        prop_assert_eq!(key(one).cmp(&key(two)), one.cmp(&two));
        prop_assert_eq!(decode_key(&key(one)), Ok(one));
    }

    #[test]
    fn any_text_and_number_survives_encoding(friendly_name: String, created: u64, updated: u64) {
        let account = Account::new(AccountSid::from_bytes([1; 16]));
        let dates = Dates { created, updated };
        let record = Record::from(Account { friendly_name, dates, ..account });
        let value = encode(&record).unwrap();
        prop_assert_eq!(decode(record.key(), value.as_bytes()), Ok(record));
    }

    #[test]
    fn damaged_values_are_rejected_or_change_the_checksum(
        nth in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let records = full_records();
        let record = nth.get(&records);
        let (text, value) = (key(record.key()), encode(record).unwrap());
        let mut bytes = [text.as_bytes(), b"\n", value.as_bytes()].concat();
        let place = place.index(bytes.len());
        let damaged = bytes[place] != byte;
        bytes[place] = byte;
        let read = fuzz_store_record(&bytes);
        prop_assert!(read || damaged);
        if damaged && place > text.len() {
            // the checksum of the head detects this
            let sum = Sum::of_encoded(&text, &bytes[text.len() + 1..]);
            prop_assert_ne!(sum, Sum::of(record).unwrap());
        }
    }
}

/// The seeds of the fuzz target are the records of the conformance test.
#[test]
fn the_fuzz_seeds_are_the_full_records() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/store_record");
    let mut missing = Vec::new();
    for record in full_records() {
        let text = key(record.key());
        let file = folder.join(format!("record.{}", text.replace('/', "-")));
        let bytes = [text.as_bytes(), b"\n", encode(&record).unwrap().as_bytes()].concat();
        if fs::read(&file).ok().as_deref() != Some(&bytes) {
            if std::env::var_os("WRITE_SEEDS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&file, bytes).unwrap();
            }
            missing.push(file);
        }
    }
    assert_eq!(
        missing,
        Vec::<std::path::PathBuf>::new(),
        "run with WRITE_SEEDS=1 to write the missing seeds"
    );
}
