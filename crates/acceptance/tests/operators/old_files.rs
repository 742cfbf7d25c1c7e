//! Files that release 0.1 wrote. `written-by-0.1` holds the database of `serve --data`, its records as
//! text, and the output of `export --with-secrets`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use sip_authz::model::Vocabulary;
use sip_authz_directory::Directory;
use sip_authz_rest::bulk::Document;
use sip_authz_store::encoding::{decode, decode_key, encode, key};
use sip_authz_store::{MemoryStore, Store};
use sip_authz_store_sqlite::SqliteStore;
use sip_authz_testing::folder::Folder;
use sip_authz_testing::site::settings;

const SUM: &str = "761bd15e0fcb1d3c983a1a3ed2410e2f1076fab80792b11449551e9800b9b197";

fn old_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/written-by-0.1").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(old_file(name)).unwrap()
}

#[tokio::test]
async fn an_old_database_opens_and_every_record_keeps_its_bytes() {
    let folder = Folder::new();
    // whatever the umask of the checkout was: a store refuses a file that others can write to
    let file = folder.join("sip-authz.db");
    fs::copy(old_file("sip-authz.db"), &file).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let store = SqliteStore::open(&*folder).unwrap();
    // the load checks the count and checksum of the head
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.head.number, loaded.head.records), (17, 37));
    assert_eq!(loaded.head.sum.to_string(), SUM);
    let mut written = String::new();
    for record in &loaded.records {
        let value = encode(record).unwrap();
        writeln!(written, "{} {}", key(record.key()), value.as_text()).unwrap();
    }
    assert_eq!(written, read("records.txt"));
}

#[test]
fn old_records_are_encoded_unchanged() {
    for line in read("records.txt").lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let record = decode(decode_key(key).unwrap(), value.as_bytes()).unwrap();
        assert_eq!(encode(&record).unwrap().as_text(), value, "{key}");
    }
}

#[tokio::test]
async fn an_old_export_is_imported_and_exported_unchanged() {
    let document: Document = serde_json::from_str(&read("export.json")).unwrap();
    let mut settings = settings();
    settings.vocabulary = Vocabulary::with(["callInternational"]).unwrap();
    let store = MemoryStore::new();
    let directory = Directory::new(store.clone(), settings, None);
    let incoming = document.into_incoming().unwrap();
    let merged = directory.merge(incoming, false).await.unwrap();
    assert_eq!((merged.new, merged.changed, merged.unchanged), (37, 0, 0));
    let loaded = store.load().await.unwrap();
    let exported = serde_json::to_value(Document::of(&loaded.records, true)).unwrap();
    keeps("", &serde_json::from_str(&read("export.json")).unwrap(), &exported);
}

/// A newer export may have more keys, but every old key and value must remain.
fn keeps(path: &str, old: &Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let path = format!("{path}.{key}");
                keeps(&path, value, new.get(key).unwrap_or_else(|| panic!("{path} is missing")));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{path}");
            for (nth, (old, new)) in old.iter().zip(new).enumerate() {
                keeps(&format!("{path}[{nth}]"), old, new);
            }
        }
        _ => assert_eq!(old, new, "{path}"),
    }
}
