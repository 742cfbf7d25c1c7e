//! `keys`: writes and rotates the key file of forwarded calls.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::support::{file, outcome, run, set_mode};

/// A path in a new folder, without a file.
fn unused() -> PathBuf {
    file("other", "").with_file_name("keys")
}

fn keys(command: &str, path: &Path) -> (Option<i32>, String, String) {
    outcome(&run(&["keys", command, path.to_str().unwrap()]))
}

/// The keys in a file: number and digits.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The names of the files beside a path, and its own.
fn names(path: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_file_has_one_key_and_is_readable_only_by_its_owner() {
    let (one, other) = (unused(), unused());
    for path in [&one, &other] {
        let expected = format!("{}: key 1 is current\n", path.display());
        assert_eq!(keys("new", path), (Some(0), expected, String::new()));
        assert_eq!(mode(path), 0o600);
        assert_eq!(names(path), ["keys", "other"]);
    }
    let [line] = &lines(&one)[..] else { panic!("{:?}", lines(&one)) };
    let digits = line.strip_prefix("1 ").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    assert_ne!(lines(&one), lines(&other));
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let path = file("keys", "precious");
    let (code, printed, error) = keys("new", &path);
    assert_eq!((code, &*printed), (Some(1), ""));
    let expected = format!("sip-authz: {}: already exists\n", path.display());
    assert_eq!(error, expected);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    // nor the target of a link, which need not exist
    let link = path.with_file_name("link");
    symlink(path.with_file_name("target"), &link).unwrap();
    assert_eq!(keys("new", &link).0, Some(1));
    assert_eq!(names(&path), ["keys", "link"]);
    let (code, _, error) = keys("new", Path::new("/no-such-folder/keys"));
    assert_eq!((code, &*error), (Some(1), "sip-authz: /no-such-folder/keys: no such folder\n"));
}

#[test]
fn a_rotation_keeps_one_previous_key_and_replaces_the_file_as_a_whole() {
    let path = unused();
    keys("new", &path);
    let (first, before) = (lines(&path), std::fs::metadata(&path).unwrap());
    let expected = format!("{}: key 2 is current, key 1 is still accepted\n", path.display());
    assert_eq!(keys("rotate", &path), (Some(0), expected, String::new()));
    let (second, after) = (lines(&path), std::fs::metadata(&path).unwrap());
    assert!(second.len() == 2 && second[0].starts_with("2 ") && second[1] == first[0]);
    assert_ne!(before.ino(), after.ino());
    assert_eq!((before.uid(), before.gid(), mode(&path)), (after.uid(), after.gid(), 0o600));
    let expected = format!("{}: key 3 is current, key 2 is still accepted\n", path.display());
    assert_eq!(keys("rotate", &path), (Some(0), expected, String::new()));
    let third = lines(&path);
    assert!(third.len() == 2 && third[0].starts_with("3 ") && third[1] == second[0]);
    assert_eq!(names(&path), ["keys", "other"]);
}

#[test]
fn a_file_that_others_can_read_or_write_is_refused() {
    let path = unused();
    keys("new", &path);
    let before = lines(&path);
    for refused in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666, 0o777] {
        set_mode(&path, refused);
        let (code, printed, error) = keys("rotate", &path);
        assert_eq!((code, &*printed), (Some(2), ""), "{refused:o}");
        let expected = format!(
            "sip-authz: {}: other users can read or write the file (mode {refused:04o})",
            path.display()
        );
        assert!(error.starts_with(&expected) && error.contains("chmod 600"), "{error}");
        assert_eq!(lines(&path), before);
    }
    for accepted in [0o600, 0o400, 0o700] {
        set_mode(&path, accepted);
        assert_eq!(keys("rotate", &path).0, Some(0), "{accepted:o}");
        assert_eq!(mode(&path), 0o600);
    }
}

#[test]
fn a_link_a_folder_or_a_pipe_is_refused() {
    let path = unused();
    keys("new", &path);
    let before = lines(&path);
    let link = path.with_file_name("link");
    symlink(&path, &link).unwrap();
    let pipe = path.with_file_name("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let missing = path.with_file_name("missing");
    for (path, expected) in [
        (link.as_path(), "is a symbolic link; expected a regular file"),
        (path.parent().unwrap(), "expected a file, found a directory"),
        (&pipe, "is not a regular file"),
        (&missing, "no such file"),
    ] {
        let (code, _, error) = keys("rotate", path);
        let expected = format!("sip-authz: {}: {expected}\n", path.display());
        assert_eq!((code, error), (Some(2), expected));
    }
    assert_eq!(lines(&path), before);
}

#[test]
fn a_file_with_errors_stays_as_it_is() {
    let digits = "5a".repeat(32);
    for (text, place) in [
        (String::new(), ":1:1: expected a key"),
        (format!("# comment\n1 {digits}0\n"), ":2:3: expected 64 hexadecimal digits, found 65"),
        (format!("1 {digits}\n1 {digits}\n"), ":2:1: both keys have the number 1"),
        ("x".repeat(100_000), ": expected a key file, found a file of over 64 KiB"),
    ] {
        let path = file("keys", &text);
        let (code, printed, error) = keys("rotate", &path);
        assert_eq!((code, &*printed), (Some(2), ""));
        assert!(error.starts_with(&format!("sip-authz: {}{place}", path.display())), "{error}");
        assert!(!error.contains("5a5a"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(&path), ["keys"]);
    }
    let path = file("keys", "");
    std::fs::write(&path, b"1 \xff").unwrap();
    let (code, _, error) = keys("rotate", &path);
    let expected = format!("sip-authz: {}: expected text in UTF-8\n", path.display());
    assert_eq!((code, error), (Some(2), expected));
}
