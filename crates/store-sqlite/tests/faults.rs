//! Failures of a process that serves a folder: it is killed, the disk is full, a sync fails, the folder
//! is not writable. The test has no harness, because it runs this program again as a child process.
//!
//! `SIP_AUTHZ_KILLS` is the number of kills (default: 10, with optimisations 200).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sip_authz_store::{CommitOutcome, Store as _, StoreError, StoreSnapshot};
use sip_authz_store_sqlite::SqliteStore;
use sip_authz_testing::commits::{LARGE_EVERY, Plain};
use sip_authz_testing::folder::Folder;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--child", "write", folder] => write(Path::new(folder)),
        ["--child", "fill", folder] => fill(Path::new(folder)),
        ["--child", "sync", folder] => fail_to_sync(Path::new(folder)),
        ["--child", "open", folder] => open(Path::new(folder)),
        _ => {
            killed_at_random();
            a_full_disk("a limit on the size of files", limited_folder);
            a_full_disk("a small file system", small_file_system);
            a_failed_sync();
            a_folder_that_cannot_be_written();
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// This program as a child process that runs one part of the test.
fn child(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--child", part]).arg(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Commits the next commit of `plain` on the head of the store.
async fn commit_next(store: &SqliteStore, plain: &Plain) -> Result<CommitOutcome, StoreError> {
    store.commit(store.head().await?, plain.next()).await
}

/// Makes sequential commits, and prints the number of each after it returns.
fn write(folder: &Path) {
    let store = SqliteStore::open(folder).unwrap();
    block_on(async {
        let head = store.head().await.unwrap();
        let mut plain = Plain::at(head.number);
        println!("begun {}", head.number);
        loop {
            let outcome = commit_next(&store, &plain).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
            plain.advance();
            println!("{}", plain.number);
        }
    });
}

/// Whether the log ends within a commit.
fn log_ends_in_part(folder: &Path) -> bool {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4_096;
    let log = fs::read(folder.join("sip-authz.db-wal")).unwrap();
    let Some((header, frames)) = log.split_at_checked(HEADER) else { return false };
    // older frames with another salt remain in a log that was restarted
    let is_current = |frame: &&[u8]| frame.get(8..16) == Some(&header[16..24]);
    // the last frame of a commit holds the size of the database, other frames hold 0
    let last = frames.chunks(FRAME).take_while(is_current).last();
    last.is_some_and(|last| last.len() < FRAME || last[4..8] == [0; 4])
}

/// After each kill every answered commit is present, and every commit is complete. The load checks the
/// count and checksum.
fn killed_at_random() {
    let rounds = std::env::var("SIP_AUTHZ_KILLS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(if cfg!(debug_assertions) { 10 } else { 200 });
    let folder = Folder::new();
    let mut plain = Plain::default();
    let (mut answered_in_all, mut behind, mut random) = (0, 0, 7_u64);
    let (mut with_log, mut in_part) = (0, 0);
    for round in 0..rounds {
        let mut running = child("write", &folder).spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert_eq!(first, format!("begun {}", plain.number), "round {round}");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let mut answered = plain.number;
        let mut spread = 0x3_ffff;
        if round % 2 == 1 {
            // every second kill hits a large commit, or comes shortly after it
            let mut numbers =
                lines.by_ref().map_while(Result::ok).filter_map(|line| line.parse().ok());
            let before = |number: &u64| (number + 1).is_multiple_of(LARGE_EVERY);
            answered = numbers.find(before).unwrap();
            spread = 0xffff;
        }
        std::thread::sleep(Duration::from_micros(random >> 33 & spread));
        running.kill().unwrap();
        running.wait().unwrap();
        let last = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).last();
        let answered = last.unwrap_or(answered);
        with_log += u32::from(folder.join("sip-authz.db-wal").exists());
        in_part += u32::from(log_ends_in_part(&folder));
        let store = SqliteStore::open(&*folder).unwrap();
        let StoreSnapshot { head, records } = block_on(store.load()).unwrap();
        let one_more = head.number == answered + 1;
        assert!(head.number == answered || one_more, "{answered} answered, {} found", head.number);
        behind += u32::from(one_more);
        answered_in_all += answered - plain.number;
        while plain.number < head.number {
            plain.advance();
        }
        assert!(records.iter().eq(plain.records.values()), "round {round}");
    }
    println!(
        "killed {rounds} times in {answered_in_all} answered commits, {in_part} times within a \
          write, {behind} times between a commit and its answer: no commit lost, none partial"
    );
    assert_eq!(with_log, rounds, "a kill leaves a log behind");
}

/// Commits until the disk is full. The failed commit changes nothing and reads keep working; once space
/// is free, commits work again.
fn fill(folder: &Path) {
    let store = SqliteStore::open(folder).unwrap();
    block_on(async {
        let mut plain = Plain::default();
        let mut failures = 0;
        let started = Instant::now();
        while failures < 3 {
            assert!(started.elapsed() < Duration::from_secs(120), "the disk is never full");
            match commit_next(&store, &plain).await {
                Ok(outcome) => {
                    assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
                    plain.advance();
                }
                Err(error) => {
                    // SQLite reports a limit on the file size as an I/O error
                    let full = matches!(error, StoreError::NoSpace(_) | StoreError::Unreachable(_));
                    assert!(full, "{error:?}");
                    println!("{}", error.reason());
                    failures += 1;
                    // a full disk can get space again, so the store stays healthy
                    assert_eq!(store.health().await, Ok(()));
                    let StoreSnapshot { head, records } = store.load().await.unwrap();
                    assert_eq!((head.number, store.head().await.unwrap()), (plain.number, head));
                    assert!(records.iter().eq(plain.records.values()));
                    let some = plain.records.keys().next().copied().unwrap();
                    assert_eq!(store.get(some).await.unwrap().as_ref(), plain.records.get(&some));
                }
            }
        }
        let ballast = folder.with_file_name("ballast");
        if ballast.exists() {
            fs::remove_file(ballast).unwrap();
            for _ in 0..20 {
                let outcome = commit_next(&store, &plain).await.unwrap();
                assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1));
                plain.advance();
            }
            println!("continued");
        }
        println!("{}", plain.number);
    });
}

struct Full {
    command: Command,
    folder: std::path::PathBuf,
    /// Undoes the setup.
    end: Box<dyn FnOnce()>,
}

/// Limits files to one mebibyte.
fn limited_folder(outer: &Path) -> Option<Full> {
    let (inner, folder) = (child("fill", &outer.join("data")), outer.join("data"));
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(Full { command, folder, end: Box::new(|| ()) })
}

/// Mounts a small file system, which needs permission.
fn small_file_system(outer: &Path) -> Option<Full> {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "none"])
        .arg(outer)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return None;
    }
    fs::write(outer.join("ballast"), vec![1; 4 << 20]).unwrap();
    let at = outer.to_owned();
    let end = Box::new(move || {
        assert!(Command::new("umount").arg(at).status().unwrap().success());
    });
    let folder = outer.join("data");
    Some(Full { command: child("fill", &folder), folder, end })
}

fn a_full_disk(how: &str, make: fn(&Path) -> Option<Full>) {
    let outer = Folder::new();
    let Some(Full { mut command, folder, end }) = make(&outer) else {
        println!("{how}: skipped, not possible here");
        return;
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{how}: {text}{error}");
    let mut lines = text.lines();
    for _ in 0..3 {
        let line = lines.next().unwrap();
        let known = ["database or disk is full", "disk I/O error"];
        assert!(known.iter().any(|known| line.contains(known)), "{line}");
        assert!(line.contains("sip-authz.db`"), "{line}");
    }
    let number = lines.next_back().unwrap().parse().unwrap();
    let store = SqliteStore::open(&folder).unwrap();
    let StoreSnapshot { head, records } = block_on(store.load()).unwrap();
    assert_eq!(head.number, number);
    assert!(records.iter().eq(Plain::at(number).records.values()));
    // commits work again after a restart with free space
    let plain = Plain::at(number);
    assert_eq!(
        block_on(commit_next(&store, &plain)).unwrap(),
        CommitOutcome::Committed(number + 1)
    );
    drop(store);
    end();
    let first = text.lines().next().unwrap_or_default();
    let continued =
        if text.contains("continued") { ", commits continued with free space" } else { "" };
    println!("{how}: full after {number} commits (`{first}`){continued}");
}

/// Commits until a sync fails. Then the store rejects all commits and reports it.
fn fail_to_sync(folder: &Path) {
    let store = SqliteStore::open(folder).unwrap();
    block_on(async {
        let mut plain = Plain::default();
        let error = loop {
            assert!(plain.number < 100, "no sync fails");
            assert_eq!(store.health().await, Ok(()));
            match commit_next(&store, &plain).await {
                Ok(outcome) => assert_eq!(outcome, CommitOutcome::Committed(plain.number + 1)),
                Err(error) => break error,
            }
            plain.advance();
        };
        let why = "commits are rejected until the program restarts";
        assert!(matches!(&error, StoreError::ReadOnly(text) if text.contains(why)), "{error:?}");
        assert_eq!(commit_next(&store, &plain).await, Err(error.clone()));
        assert_eq!(store.health().await, Err(error));
        assert_eq!(store.head().await.unwrap().number, plain.number);
        println!("{}", plain.number);
    });
}

/// Needs strace, and permission to trace.
fn a_failed_sync() {
    let folder = Folder::new();
    let inner = child("sync", &folder);
    let mut command = Command::new("strace");
    // strace counts the calls of each thread; only the database thread syncs
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
    command.args(["-e", "inject=fsync,fdatasync:error=EIO:when=30+"]);
    let output = command.arg(inner.get_program()).args(inner.get_args()).output();
    let output = match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).starts_with("strace:") => output,
        _ => return println!("a failed sync: skipped, not possible here"),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let answered = text.trim().parse().unwrap();
    let store = SqliteStore::open(&*folder).unwrap();
    let StoreSnapshot { head, records } = block_on(store.load()).unwrap();
    assert!([answered, answered + 1].contains(&head.number), "{answered}: {}", head.number);
    assert!(records.iter().eq(Plain::at(head.number).records.values()));
    println!("a failed sync: no commit accepted after {answered} commits");
}

/// Opens the store and prints the result.
fn open(folder: &Path) {
    match SqliteStore::open(folder) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{}", error.reason()),
    }
}

/// Runs as an unprivileged user, since root may write to any folder.
fn a_folder_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let is_root = {
        let mut id = Command::new("id").arg("-u").stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        id.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        id.wait().unwrap();
        text.trim() == "0"
    };
    // a folder that every user can read
    let outer = std::env::temp_dir().join(format!("sip-authz-read-only-{}", std::process::id()));
    // that of an earlier process with this id
    let _ = fs::remove_dir_all(&outer);
    let folder = outer.join("data");
    {
        let store = SqliteStore::open(&folder).unwrap();
        let plain = Plain::default();
        assert_eq!(block_on(commit_next(&store, &plain)).unwrap(), CommitOutcome::Committed(1));
    }
    let program = outer.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&outer, 0o755);
    mode(&program, 0o755);
    let file = folder.join("sip-authz.db");
    let before = fs::read(&file).unwrap();
    let opened = || {
        let mut command = Command::new(&program);
        command.args(["--child", "open"]).arg(&folder).current_dir(&outer);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    // first neither the folder nor the files are writable, then only the file is not
    mode(&folder, 0o555);
    mode(&file, 0o444);
    mode(&folder.join("lock"), 0o444);
    let refused = opened();
    let expected = format!("`{}`: cannot write to the folder: Permission denied", folder.display());
    assert!(refused.starts_with(&expected), "{refused}");
    mode(&folder, 0o755);
    mode(&folder.join("lock"), 0o644);
    if is_root {
        std::os::unix::fs::chown(folder.join("lock"), Some(NOBODY), None).unwrap();
        // the folder of a third user
        std::os::unix::fs::chown(&folder, Some(NOBODY - 1), None).unwrap();
        let refused = opened();
        let expected = format!(
            "`{}`: the folder belongs to user {}, who could replace its files; it must belong to \
             user {NOBODY}",
            folder.display(),
            NOBODY - 1
        );
        assert!(refused.starts_with(&expected), "{refused}");
        std::os::unix::fs::chown(&folder, Some(NOBODY), None).unwrap();
    }
    let refused = opened();
    let expected = format!("`{}`: not writable", file.display());
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(fs::read(&file).unwrap() == before, "the file was changed");
    // a file that all users can write to is refused too
    mode(&file, 0o666);
    assert!(opened().contains("can be changed by other users (mode 0666)"));
    mode(&file, 0o600);
    if is_root {
        std::os::unix::fs::chown(&file, Some(NOBODY), None).unwrap();
    }
    assert_eq!(opened(), "opened\n");
    fs::remove_dir_all(&outer).unwrap();
    println!("a folder that is not writable: rejected and unchanged");
}
