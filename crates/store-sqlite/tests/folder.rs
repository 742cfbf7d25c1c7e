//! Folders and files of a store that another user of the machine could replace or change are refused.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use sip_authz::AccountSid;
use sip_authz::model::{Account, Commit};
use sip_authz_store::{CommitOutcome, Head, Store, StoreError};
use sip_authz_store_sqlite::{SqliteStore, backup, read};
use sip_authz_testing::folder::Folder;

fn file(folder: &Path) -> PathBuf {
    folder.join("sip-authz.db")
}

fn error(opened: Result<SqliteStore, StoreError>) -> String {
    match opened {
        Ok(_) => panic!("was opened"),
        Err(error) => error.reason().to_owned(),
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes a file that only this user can change, whatever the umask is.
fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_refused() {
    let folder = Folder::new();
    drop(SqliteStore::open(&*folder).unwrap());
    // the sticky bit does not prevent new files
    for mode in [0o770, 0o720, 0o702, 0o777, 0o1_777, 0o2_770] {
        set_mode(&folder, mode);
        let why = error(SqliteStore::open(&*folder));
        let expected = format!(
            "`{}`: other users can write to the folder (mode {mode:04o}) and could replace its \
             files; check its content, then remove the permission (chmod go-w)",
            folder.display()
        );
        assert_eq!(why, expected);
    }
    for mode in [0o700, 0o750, 0o755, 0o1_700] {
        set_mode(&folder, mode);
        drop(SqliteStore::open(&*folder).unwrap());
    }
    // a folder that all users can replace is no better; they cannot replace it if the bit is set
    let outer = folder.join("outer");
    let inner = outer.join("inner");
    drop(SqliteStore::open(&inner).unwrap());
    set_mode(&outer, 0o777);
    let why = error(SqliteStore::open(&inner));
    let expected = "could replace the folder; remove the permission (chmod o-w)";
    assert!(
        why.starts_with(&format!("`{}`: ", inner.display())) && why.ends_with(expected),
        "{why}"
    );
    assert!(why.contains("/outer` (mode 0777)"), "{why}");
    set_mode(&outer, 0o1_777);
    drop(SqliteStore::open(&inner).unwrap());
}

#[tokio::test]
async fn a_folder_is_read_while_it_is_served_and_a_linked_file_is_refused() {
    let folder = Folder::new();
    let missing = read(&folder).map(|_| ()).unwrap_err();
    assert!(missing.reason().ends_with("sip-authz.db`: no such file"), "{missing}");
    let store = SqliteStore::open(&*folder).unwrap();
    let mut commit = Commit::new();
    commit.put(Account::new(AccountSid::from_name(&["one"])).into());
    let outcome = store.commit(Head::default(), commit).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(1));
    let found = read(&folder).unwrap();
    assert_eq!((found.head.number, found.records.len()), (1, 1));
    assert!(error(SqliteStore::open(&*folder)).contains("is in use by process"), "still locked");
    drop(store);
    assert_eq!(read(&folder).unwrap().head.number, 1);
    let elsewhere = folder.join("elsewhere");
    fs::rename(file(&folder), &elsewhere).unwrap();
    symlink(&elsewhere, file(&folder)).unwrap();
    assert!(read(&folder).is_err(), "a symbolic link");
}

#[tokio::test]
async fn a_folder_below_one_of_another_user_is_refused() {
    let outer = Folder::new();
    let way = outer.join("others");
    let folder = way.join("data");
    drop(SqliteStore::open(&folder).unwrap());
    let safe = outer.join("safe");
    drop(SqliteStore::open(&safe).unwrap());
    let aliases = ["absolute", "relative", "upwards"].map(|name| way.join(name));
    symlink(safe.canonicalize().unwrap(), &aliases[0]).unwrap();
    symlink("../safe", &aliases[1]).unwrap();
    symlink("data/../../safe/.", &aliases[2]).unwrap();
    for alias in &aliases {
        drop(SqliteStore::open(alias).unwrap());
    }
    let looped = outer.join("loop");
    symlink("loop", &looped).unwrap();
    assert!(SqliteStore::open(looped.join("data")).is_err());
    // all users can make a link in a folder with the sticky bit, but not replace those of others
    set_mode(&way, 0o1_777);
    for path in aliases.iter().chain([&folder]) {
        drop(SqliteStore::open(path).unwrap());
    }
    // only root can give a folder away
    if chown(&way, Some(12_345), None).is_ok() {
        for mode in [0o700, 0o1_777] {
            set_mode(&way, mode);
            for path in aliases.iter().chain([&folder]) {
                let why = error(SqliteStore::open(path));
                assert!(why.contains("/others` belongs to user 12345, who could"), "{why}");
            }
        }
        chown(&way, Some(0), None).unwrap();
        lchown(&aliases[1], Some(12_345), None).unwrap();
        let why = error(SqliteStore::open(&aliases[1]));
        assert!(why.contains("/relative` belongs to user 12345, who could"), "{why}");
        drop(SqliteStore::open(&aliases[0]).unwrap());
    }
}

#[tokio::test]
async fn files_that_another_user_can_change_are_refused() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    drop(SqliteStore::open(&*folder).unwrap());
    let link = "is a hard link to another file; replace it by a copy";
    let refused = |name: &str, why: &str| {
        let expected = format!("`{}` {why}", folder.join(name).display());
        let error = error(SqliteStore::open(&*folder));
        assert!(error.starts_with(&expected), "{error}");
    };
    for name in
        ["lock", "sip-authz.db", "sip-authz.db-wal", "sip-authz.db-shm", "sip-authz.db-journal"]
    {
        let path = folder.join(name);
        let is_new = !path.exists();
        if is_new {
            write_private(&path, b"");
        }
        let other = elsewhere.join(name);
        fs::hard_link(&path, &other).unwrap();
        refused(name, link);
        fs::remove_file(&other).unwrap();
        for mode in [0o620, 0o602, 0o666] {
            set_mode(&path, mode);
            refused(name, &format!("can be changed by other users (mode {mode:04o}); "));
        }
        set_mode(&path, 0o600);
        // only root can give a file away
        if chown(&path, Some(12_345), None).is_ok() {
            refused(name, "belongs to user 12345, who could change it; ");
        }
        fs::remove_file(&path).unwrap();
        drop(SqliteStore::open(&*folder).unwrap());
    }
    // a backup does not read such a database either
    fs::hard_link(file(&folder), elsewhere.join("linked")).unwrap();
    let why = backup(&folder, &elsewhere.join("copy"), |_, _| ()).unwrap_err();
    assert_eq!(why.reason(), format!("`{}` {link}", file(&folder).display()));
}

#[tokio::test]
async fn links_in_place_of_files_are_refused_and_their_targets_unchanged() {
    let folder = Folder::new();
    let elsewhere = Folder::new();
    let victim = elsewhere.join("victim");
    let refused = |name: &str, why: &str| {
        let expected = format!("`{}` {why}", folder.join(name).display());
        assert_eq!(error(SqliteStore::open(&*folder)), expected);
        fs::remove_file(folder.join(name)).unwrap();
    };
    let link = "is a symbolic link; expected a regular file";
    for round in ["without a database", "with a database"] {
        for name in
            ["lock", "sip-authz.db", "sip-authz.db-wal", "sip-authz.db-shm", "sip-authz.db-journal"]
        {
            if folder.join(name).exists() {
                if name == "sip-authz.db" {
                    continue;
                }
                fs::remove_file(folder.join(name)).unwrap();
            }
            fs::write(&victim, "keep this").unwrap();
            symlink(&victim, folder.join(name)).unwrap();
            refused(name, link);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "keep this", "{round}, {name}");
            // a link that leads nowhere creates no file
            fs::remove_file(&victim).unwrap();
            symlink(&victim, folder.join(name)).unwrap();
            refused(name, link);
            assert!(!victim.exists(), "{round}, {name}");
        }
        fs::write(&victim, "keep this").unwrap();
        let _ = fs::remove_file(folder.join("lock"));
        fs::hard_link(&victim, folder.join("lock")).unwrap();
        refused("lock", "is a hard link to another file; replace it by a copy");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "keep this");
        // by a system call: a process that has just been forked holds the locks of other tests
        #[cfg(not(target_vendor = "apple"))]
        {
            use rustix::fs::{CWD, Mode, mkfifoat};
            mkfifoat(CWD, folder.join("lock"), Mode::RUSR | Mode::WUSR).unwrap();
            refused("lock", "is not a regular file");
        }
        drop(SqliteStore::open(&*folder).unwrap());
    }

    // a backup does not follow a link either
    let (database, moved) = (file(&folder), elsewhere.join("moved"));
    fs::rename(&database, &moved).unwrap();
    symlink(&moved, &database).unwrap();
    let why = backup(&folder, &elsewhere.join("copy"), |_, _| ()).unwrap_err();
    assert_eq!(why.reason(), format!("`{}` {link}", database.display()));
    fs::remove_file(&database).unwrap();
    fs::rename(&moved, &database).unwrap();

    // the path of the folder may be a link, as that of a systemd service is
    let alias = elsewhere.join("alias");
    symlink(&*folder, &alias).unwrap();
    let store = SqliteStore::open(&alias).unwrap();
    assert_eq!(store.head().await.unwrap().number, 0);
}

/// SQLite would go on with the open files, and lose every commit at the end.
#[tokio::test]
async fn a_store_whose_files_are_removed_or_replaced_takes_no_commits() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("sip-authz.db", |folder| fs::remove_file(file(folder)).unwrap()),
        ("sip-authz.db-wal", |folder| fs::remove_file(folder.join("sip-authz.db-wal")).unwrap()),
        ("sip-authz.db", |folder| {
            fs::copy(file(folder), folder.join("copy")).unwrap();
            fs::rename(folder.join("copy"), file(folder)).unwrap();
        }),
        ("sip-authz.db", |folder| fs::remove_dir_all(folder).unwrap()),
        ("sip-authz.db", |folder| fs::rename(folder, folder.with_extension("away")).unwrap()),
    ];
    for (name, harm) in harms {
        let outer = Folder::new();
        let folder = outer.join("data");
        let store = SqliteStore::open(&folder).unwrap();
        let account = |n| {
            let mut commit = Commit::new();
            commit.put(Account::new(AccountSid::from_bytes([n; 16])).into());
            commit
        };
        let outcome = store.commit(Head::default(), account(1)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(1));
        assert_eq!(store.health().await, Ok(()));
        harm(&folder);
        let ill = store.health().await.unwrap_err();
        let head = store.head().await.unwrap();
        for n in 2..4 {
            let refused = store.commit(head, account(n)).await.unwrap_err();
            assert!(matches!(refused, StoreError::ReadOnly(_)), "{refused:?}");
            for error in [&ill, &refused] {
                let why = format!("`{name}` was removed or replaced, so changes would be lost");
                assert!(error.reason().ends_with(&why), "{error}");
            }
        }
        assert_eq!(store.head().await.unwrap(), head);
        // a refused commit has not reached a file that was only moved
        let away = folder.with_extension("away");
        if away.exists() {
            fs::rename(&away, &folder).unwrap();
            assert_eq!(store.health().await, Ok(()));
            assert_eq!(read(&folder).unwrap().head, head);
            let outcome = store.commit(head, account(2)).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Committed(2));
        }
    }
}
