//! The store in an SQLite file conforms, keeps its commits, and rejects damaged and foreign files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz_testing::many_records;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sip_authz::AccountSid;
use sip_authz::model::{Account, Commit, Key, Record, Write};
use sip_authz_store::conformance::{conforms, full_records, rises};
use sip_authz_store::{
    CommitOutcome, Format, Head, Lookup, Store, StoreError, StoreSnapshot, collections, lookup,
};
use sip_authz_store_sqlite::SqliteStore;
use sip_authz_store_sqlite::backup;
use sip_authz_testing::commits::Plain;
use sip_authz_testing::folder::Folder;

/// A store in a folder that the process deletes at its end.
fn open_new() -> SqliteStore {
    static FOLDERS: std::sync::Mutex<Vec<Folder>> = std::sync::Mutex::new(Vec::new());
    let folder = Folder::new();
    let store = SqliteStore::open(&*folder).unwrap();
    FOLDERS.lock().unwrap().push(folder);
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_several_threads() {
    conforms(async || open_new()).await;
}

#[tokio::test]
async fn it_conforms_on_one_thread() {
    conforms(async || open_new()).await;
}

/// A file of a release without formats keeps its version until its format is raised.
#[tokio::test]
async fn the_format_of_an_older_file_rises() {
    let folder = Folder::new();
    let first = |n| {
        let mut commit = Commit::new();
        commit.put(Account::new(AccountSid::from_bytes([n; 16])).into());
        commit
    };
    let store = SqliteStore::open(&*folder).unwrap();
    let committed = store.commit(Head::default(), first(1)).await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed(1));
    drop(store);
    let raw = || Connection::open(file(&folder)).unwrap();
    let version =
        || raw().pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!(version(), Format::NEWEST.number());
    raw().pragma_update(None, "user_version", 1).unwrap();
    let store = SqliteStore::open(&*folder).unwrap();
    let head = store.head().await.unwrap();
    assert_eq!(store.commit(head, first(2)).await.unwrap(), CommitOutcome::Committed(2));
    assert_eq!(version(), 1);
    rises(store.clone()).await;
    assert_eq!(version(), Format::NEWEST.number());
    let before = store.load().await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(&*folder).unwrap().load().await.unwrap(), before);
}

fn full_commit() -> Commit {
    let mut commit = Commit::new();
    for record in full_records() {
        commit.put(record);
    }
    commit
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("sip-authz.db")
}

fn error(opened: Result<SqliteStore, StoreError>) -> String {
    opened.err().expect("refused").reason().to_owned()
}

#[tokio::test]
async fn answered_commits_survive_a_restart() {
    let folder = Folder::new();
    let mut plain = Plain::default();
    for round in 0..4 {
        let store = SqliteStore::open(&*folder).unwrap();
        let StoreSnapshot { head, records } = store.load().await.unwrap();
        assert_eq!((head.number, store.load_progress()), (plain.number, records.len() as u64));
        assert!(records.iter().eq(plain.records.values()), "round {round}");
        assert_eq!(store.head().await.unwrap(), head);
        for _ in 0..60 {
            let head = store.head().await.unwrap();
            let outcome = store.commit(head, plain.next()).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
            plain.advance();
        }
    }
}

#[tokio::test]
async fn one_program_at_a_time_serves_a_folder() {
    let folder = Folder::new();
    let store = SqliteStore::open(&*folder).unwrap();
    let expected = format!("`{}` is in use by process {}", folder.display(), std::process::id());
    assert_eq!(error(SqliteStore::open(&*folder)), expected);
    let clone = store.clone();
    drop(store);
    assert_eq!(error(SqliteStore::open(&*folder)), expected);
    // a commit whose future is dropped completes before the folder is released
    let mut commit = Commit::new();
    commit.put(Account::new(AccountSid::from_bytes([1; 16])).into());
    {
        let mut commit = std::pin::pin!(clone.commit(Head::default(), commit));
        let poll = std::future::poll_fn(|context| {
            std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
        });
        let _ = poll.await;
    }
    drop(clone);
    let store = SqliteStore::open(&*folder).unwrap();
    assert_eq!(store.head().await.unwrap().number, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = Folder::new();
    let folder = outer.join("new/data");
    let store = SqliteStore::open(&folder).unwrap();
    assert_eq!(
        store.commit(Head::default(), full_commit()).await.unwrap(),
        CommitOutcome::Committed(1)
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 4, "the file, its log, the log's index, the lock");
    backup(&folder, &outer.join("copy"), |_, _| ()).unwrap();
    assert_eq!(mode(&outer.join("copy")), 0o600);
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn deleted_data_is_overwritten() {
    let folder = Folder::new();
    let name = |n: usize| format!("account-{n:04}-{n:04}-{n:04}");
    let account = |n: usize| {
        let sid = AccountSid::from_name(&[&name(n)]);
        Account { friendly_name: name(n), ..Account::new(sid) }
    };
    let store = SqliteStore::open(&*folder).unwrap();
    let mut made = Commit::new();
    for n in 0..2_000 {
        made.put(account(n).into());
    }
    assert_eq!(store.commit(Head::default(), made).await.unwrap(), CommitOutcome::Committed(1));
    // closing the store moves the log into the file
    drop(store);
    let names = || {
        let bytes = fs::read(file(&folder)).unwrap();
        let length = name(0).len();
        let all = bytes.windows(length).filter(|part| part.starts_with(b"account-"));
        all.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect::<HashSet<_>>()
    };
    assert_eq!(names(), (0..2_000).map(name).collect());

    // single records, and many neighbours that fill whole pages
    let gone = |n: usize| n % 100 == 7 || (1_000..1_500).contains(&n);
    let store = SqliteStore::open(&*folder).unwrap();
    let mut deleted = Commit::new();
    for n in (0..2_000).filter(|n| gone(*n)) {
        deleted.delete(Key::Account(account(n).sid));
    }
    let head = store.head().await.unwrap();
    assert_eq!(store.commit(head, deleted).await.unwrap(), CommitOutcome::Committed(2));
    drop(store);
    assert_eq!(names(), (0..2_000).filter(|n| !gone(*n)).map(name).collect());
}

/// Every view shows its records, and no view shows a hash.
#[tokio::test]
async fn operators_can_query_the_views() {
    let folder = Folder::new();
    let store = SqliteStore::open(&*folder).unwrap();
    assert_eq!(
        store.commit(Head::default(), full_commit()).await.unwrap(),
        CommitOutcome::Committed(1)
    );
    // while the store is open
    let shell = Connection::open(file(&folder)).unwrap();
    let mut names = shell.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'").unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap();
    let views: Vec<String> = names.map(Result::unwrap).collect();
    assert_eq!(views.len(), 10);
    let mut rows_of_all = 0;
    for view in &views {
        let mut query = shell.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let columns = query.column_count();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            rows_of_all += 1;
            for column in 0..columns {
                if let Ok(text) = row.get::<_, String>(column) {
                    let hash = [32, 64].contains(&text.len())
                        && text.bytes().all(|b| b.is_ascii_hexdigit());
                    assert!(!hash, "{view}: {text}");
                }
            }
        }
    }
    assert_eq!(rows_of_all, full_records().len());
    let one = |query: &str| shell.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("SELECT name FROM domains WHERE secure = 0"), "sip.example.com");
    assert_eq!(one("SELECT username FROM credentials WHERE disabled = 1"), "al\\ice");
    let list = "CL01010101010101010101010101010101";
    assert_eq!(one("SELECT list FROM mappings WHERE kind = 'registrations'"), list);
    assert_eq!(
        one("SELECT target FROM mappings WHERE kind = 'addresses'"),
        format!("SD{}", "01".repeat(16))
    );
    assert_eq!(one("SELECT created FROM roles WHERE kind = 'deployment'"), "2023-11-14 22:13:20");
    assert_eq!(one("SELECT prefix FROM ip_addresses WHERE prefix LIKE '2001%'"), "2001:db8::/33");
}

#[tokio::test]
async fn a_file_of_a_newer_release_stays_unchanged() {
    let folder = Folder::new();
    {
        let store = SqliteStore::open(&*folder).unwrap();
        assert_eq!(
            store.commit(Head::default(), full_commit()).await.unwrap(),
            CommitOutcome::Committed(1)
        );
    }
    let set = |name: &str, value: i64| {
        let connection = Connection::open(file(&folder)).unwrap();
        connection.pragma_update(None, name, value).unwrap();
    };
    set("user_version", 3);
    let before = fs::read(file(&folder)).unwrap();
    let newer = error(SqliteStore::open(&*folder));
    let message = "written by a newer release (format 3; this release supports up to 2)";
    assert!(newer.contains(message), "{newer}");
    let copied = backup(&folder, &folder.join("copy"), |_, _| ()).unwrap_err();
    assert!(copied.reason().contains(message), "{copied}");
    assert!(!folder.join("copy").exists());
    assert!(fs::read(file(&folder)).unwrap() == before, "the file was changed");
    set("user_version", 1);
    assert_eq!(SqliteStore::open(&*folder).unwrap().head().await.unwrap().number, 1);
}

/// Writes a file that only this user can change, whatever the umask is.
fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    set_mode(path, 0o600);
}

#[tokio::test]
async fn foreign_files_stay_unchanged() {
    for make in [
        |path: &Path| write_private(path, b"these are not the records"),
        |path: &Path| write_private(path, &[0; 8_192]),
        |path: &Path| Connection::open(path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap(),
        |path: &Path| {
            let other = Connection::open(path).unwrap();
            other.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7").unwrap();
        },
    ] {
        let folder = Folder::new();
        make(&file(&folder));
        let before = fs::read(file(&folder)).unwrap();
        let message = error(SqliteStore::open(&*folder));
        assert!(message.contains("sip-authz.db`"), "{message}");
        assert!(fs::read(file(&folder)).unwrap() == before, "{message}");
    }
    // the store completes an empty file that an interrupted start left
    let folder = Folder::new();
    write_private(&file(&folder), b"");
    assert_eq!(SqliteStore::open(&*folder).unwrap().head().await.unwrap().number, 0);
}

#[tokio::test]
async fn manual_changes_are_not_loaded() {
    let folder = Folder::new();
    for change in [
        "UPDATE records SET value = json_set(value, '$.disabled', json('false')) WHERE key = (SELECT key FROM records WHERE key > '5/' LIMIT 1)",
        "DELETE FROM records WHERE key LIKE '8/%'",
        "INSERT INTO records VALUES ('1/AC77777777777777777777777777777777', '{\"v\":1,\"status\":\"active\"}')",
        "UPDATE head SET sum = zeroblob(32)",
        "UPDATE head SET records = records + 1",
        "DELETE FROM members WHERE collection = 'accounts'",
        "DELETE FROM names WHERE name = 'host/sip.example.com'",
        "UPDATE names SET name = 'host/other.example.com' WHERE name = 'host/sip.example.com'",
        "UPDATE counts SET members = members - 1 WHERE collection = 'accounts'",
        "DELETE FROM counts",
    ] {
        let _ = fs::remove_file(file(&folder));
        let store = SqliteStore::open(&*folder).unwrap();
        assert_eq!(
            store.commit(Head::default(), full_commit()).await.unwrap(),
            CommitOutcome::Committed(1)
        );
        let shell = Connection::open(file(&folder)).unwrap();
        assert!(shell.execute(change, []).unwrap() > 0, "{change}");
        let error = store.load().await.unwrap_err();
        println!("{error}");
        // a commit on top of a foreign head is rejected
        let mut more = Commit::new();
        more.put(Account::new(AccountSid::from_bytes([9; 16])).into());
        assert_eq!(store.health().await, Ok(()));
        if change.contains("head") {
            for _ in 0..2 {
                let head = store.head().await.unwrap();
                let error = store.commit(head, more.clone()).await.unwrap_err();
                assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
                assert!(error.reason().contains("another program has written"), "{error}");
                assert!(error.reason().contains("commits are rejected until"), "{error}");
                assert_eq!(store.health().await, Err(error));
            }
        }
    }
}

/// With many records several connections read at once. They read one head while commits continue, and
/// check the index tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_records_are_loaded_by_several_connections() {
    let folder = Folder::new();
    let store = SqliteStore::open(&*folder).unwrap();
    let commit = many_records::commit(0..2_500);
    let mut expected: Vec<_> = commit
        .writes()
        .iter()
        .filter_map(|write| match write {
            Write::Put(record) => Some(record.clone()),
            Write::Delete(_) => None,
        })
        .collect();
    expected.sort_unstable_by_key(Record::key);
    assert_eq!(store.commit(Head::default(), commit).await.unwrap(), CommitOutcome::Committed(1));
    let loaded = store.load().await.unwrap();
    assert!(loaded.records == expected);
    assert_eq!(store.load_progress(), expected.len() as u64);

    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, stop) = (store.clone(), std::sync::Arc::clone(&stop));
        async move {
            let mut number = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut commit = Commit::new();
                let sid = AccountSid::from_name(&[&number.to_string()]);
                commit.put(Account::new(sid).into());
                number += 1;
                let head = store.head().await.unwrap();
                let outcome = store.commit(head, commit).await.unwrap();
                assert_eq!(outcome, CommitOutcome::Committed(number));
            }
            number
        }
    });
    let mut last = 1;
    for _ in 0..10 {
        let StoreSnapshot { head, records } = store.load().await.unwrap();
        assert!(head.number >= last);
        assert_eq!(records.len() as u64, expected.len() as u64 + head.number - 1);
        assert!(records.is_sorted_by_key(Record::key));
        last = head.number;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writing.await.unwrap() > 1);

    let shell = Connection::open(file(&folder)).unwrap();
    shell.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    for (change, back) in [
        (
            "UPDATE names SET name = 'host/z.example' WHERE name = 'host/d7.sip.example.com'",
            "UPDATE names SET name = 'host/d7.sip.example.com' WHERE name = 'host/z.example'",
        ),
        (
            "UPDATE members SET collection = 'accountt' WHERE collection = 'accounts' AND key = '1/AC01010101010101010101010101010101'",
            "UPDATE members SET collection = 'accounts' WHERE collection = 'accountt'",
        ),
        (
            "UPDATE counts SET members = members + 1 WHERE collection = 'accounts'",
            "UPDATE counts SET members = members - 1 WHERE collection = 'accounts'",
        ),
        (
            "UPDATE records SET value = replace(value, '\"v\":1', '\"v\":2') WHERE key LIKE '3/%'",
            "UPDATE records SET value = replace(value, '\"v\":2', '\"v\":1') WHERE key LIKE '3/%'",
        ),
    ] {
        assert!(shell.execute(change, []).unwrap() > 0, "{change}");
        let error = store.load().await.unwrap_err();
        println!("{error}");
        assert!(shell.execute(back, []).unwrap() > 0, "{back}");
        store.load().await.unwrap();
    }
}

/// The results of every read of a store, and its snapshot.
async fn all_answers(store: &SqliteStore, records: &[Record]) -> Result<StoreSnapshot, StoreError> {
    let loaded = store.load().await?;
    for record in records {
        assert!(store.get(record.key()).await?.as_ref() == Some(record));
        if let Some(name) = lookup(record) {
            assert!(store.find(name).await?.as_ref() == Some(record));
        }
        for collection in collections(record) {
            let rows = store.range(collection, None, usize::MAX).await?;
            let due =
                records.iter().filter(|record| collections(record).any(|of| of == collection));
            assert!(rows.iter().eq(due), "{collection:?}");
            assert_eq!(store.count(collection).await?, rows.len());
        }
    }
    let unknown = Lookup::Name("unknown.example".parse().unwrap());
    assert!(store.find(unknown).await?.is_none());
    Ok(loaded)
}

/// Flips bits and clears bytes all over the file. A file that opens and loads has its original
/// contents.
#[tokio::test]
async fn a_damaged_file_is_rejected_or_unchanged() {
    let folder = Folder::new();
    let mut records = full_records();
    let plain = Plain::at(25);
    records.retain(|record| !plain.records.contains_key(&record.key()));
    {
        let store = SqliteStore::open(&*folder).unwrap();
        let mut commit = Commit::new();
        records.extend(plain.records.into_values());
        records.sort_by_key(Record::key);
        for record in &records {
            commit.put(record.clone());
        }
        assert_eq!(
            store.commit(Head::default(), commit).await.unwrap(),
            CommitOutcome::Committed(1)
        );
    }
    assert!(!folder.join("sip-authz.db-wal").exists(), "the log is in the file");
    let whole = fs::read(file(&folder)).unwrap();
    let rounds = if cfg!(debug_assertions) { 150 } else { 2_000 };
    let (mut refused, mut same, mut random) = (0, 0, 1_u64);
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let mut place = usize::try_from(random >> 20).unwrap() % whole.len();
        if round % 4 == 0 {
            // the header of a page, which holds its structure
            place = place / 4_096 * 4_096 + place % 64;
        }
        let mut damaged = whole.clone();
        match round % 3 {
            0 => damaged[place] ^= 1 << (random >> 60 & 7),
            1 => damaged[place] = 0,
            _ => {
                let end = whole.len().min(place + 16);
                damaged[place..end].fill(0xff);
            }
        }
        for name in ["sip-authz.db-wal", "sip-authz.db-shm"] {
            let _ = fs::remove_file(folder.join(name));
        }
        fs::write(file(&folder), &damaged).unwrap();
        let opened = SqliteStore::open(&*folder);
        let answers = match &opened {
            Ok(store) => all_answers(store, &records).await,
            Err(error) => Err(error.clone()),
        };
        match answers {
            Ok(loaded) => {
                assert!(loaded.records == records, "round {round}, byte {place}");
                same += 1;
            }
            Err(error) => {
                assert!(error.reason().contains("sip-authz.db`"), "{error}");
                refused += 1;
            }
        }
    }
    println!("of {rounds} damaged files {refused} were rejected, {same} loaded unchanged");
    assert!(refused > rounds / 4 && same > 0);
}

#[tokio::test]
async fn a_backup_is_consistent() {
    let folder = Folder::new();
    let store = SqliteStore::open(&*folder).unwrap();
    let mut plain = Plain::default();
    for _ in 0..100 {
        let head = store.head().await.unwrap();
        let outcome = store.commit(head, plain.next()).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
        plain.advance();
    }
    // commits continue during the backup
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (store, stop) = (store.clone(), std::sync::Arc::clone(&stop));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let head = store.head().await.unwrap();
                    let outcome = store.commit(head, plain.next()).await.unwrap();
                    assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
                    plain.advance();
                }
                plain.number
            })
        }
    });
    let mut heads = Vec::new();
    for nth in 0..5 {
        let copy = folder.join(format!("copy-{nth}"));
        let mut steps = 0;
        let head = backup(&folder, &copy, |done, of| {
            assert!(done <= of && of > 0);
            steps += 1;
        });
        heads.push(head.unwrap());
        assert!(steps > 0);
        // an existing file is not overwritten
        let again = backup(&folder, &copy, |_, _| ()).unwrap_err();
        assert!(again.reason().ends_with("copy-0`: already exists") || nth > 0, "{again}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let last = writer.join().unwrap();
    drop(store);
    for (nth, head) in heads.into_iter().enumerate() {
        let restored = folder.join(format!("restored-{nth}"));
        fs::create_dir(&restored).unwrap();
        fs::copy(folder.join(format!("copy-{nth}")), file(&restored)).unwrap();
        let loaded = SqliteStore::open(&restored).unwrap().load().await.unwrap();
        assert_eq!(loaded.head, head);
        assert!((100..=last).contains(&head.number));
        assert!(loaded.records.iter().eq(Plain::at(head.number).records.values()));
    }
    // no other file remains: five copies, five folders, the file and the lock
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 12);
    let missing = backup(&folder.join("no"), &folder.join("c"), |_, _| ()).unwrap_err();
    assert!(missing.reason().ends_with("no/sip-authz.db`: no such file"), "{missing}");
}
