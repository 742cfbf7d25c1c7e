//! What holds of the sources as a whole. The arrows between the library's modules point one way: each names
//! only those below it; unsafe code is in one place; SECURITY.md names tests that exist.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every module of the library and what it may name, from the bottom up. Above them all stand the
/// root, `testing`, which names what the root exports, and `guide`, which is text only.
const ARROWS: [(&str, &[&str]); 15] = [
    ("sid", &[]),
    ("message", &[]),
    ("uri", &["message"]),
    ("acl", &[]),
    ("digest", &[]),
    ("model", &["sid", "uri", "acl", "digest"]),
    ("invite", &["message"]),
    ("decision", &["sid", "digest", "model", "invite"]),
    ("snapshot", &["sid", "acl", "digest", "model"]),
    ("authorizer", &["sid", "uri", "acl", "digest", "model", "invite", "decision", "snapshot"]),
    ("store", &["sid", "acl", "digest", "model"]),
    ("follower", &["model", "snapshot", "authorizer", "store"]),
    ("metrics", &["authorizer", "follower"]),
    ("directory", &["sid", "acl", "digest", "model", "snapshot", "store", "follower"]),
    ("rest", &["sid", "acl", "digest", "model", "store", "directory"]),
];

#[test]
fn modules_name_only_what_is_below_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(&source).unwrap().to_owned();
            let module = inside.iter().next().unwrap().to_str().unwrap();
            let module = module.trim_end_matches(".rs").to_owned();
            if path.is_dir() {
                folders.extend((module != "bin").then_some(path));
            } else if !["lib", "testing", "guide"].contains(&module.as_str()) {
                names.entry(module).or_default().extend(named(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let known: Vec<_> = arrows.keys().copied().collect();
    assert_eq!(
        names.keys().map(String::as_str).collect::<Vec<_>>(),
        known,
        "the modules there are"
    );
    for (module, named) in names {
        let allowed = arrows.get(module.as_str()).copied().unwrap_or_default();
        for name in named {
            let fine = name == module || allowed.contains(&name.as_str());
            assert!(fine, "{module} names {name}, which is not below it");
        }
    }
}

/// What the manifest denies is allowed in one file, which holds nothing but calls of functions that
/// were compiled for instructions the processor was seen to have.
#[test]
fn one_module_has_unsafe_code() {
    const ALLOWED: &str = "src/digest/hash/dispatch.rs";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let mut words = code.flat_map(|line| line.split(|c| !is_word(c)));
            if words.any(|word| ["unsafe", "unsafe_code"].contains(&word)) {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found, [ALLOWED.to_owned()].into(), "the files with unsafe code");

    // each unsafe call has its reason on the lines before it
    let text = fs::read_to_string(root.join(ALLOWED)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
        let before = lines.iter().take(number).rev().take(3);
        let reasoned = before.into_iter().any(|line| line.trim_start().starts_with("// SAFETY:"));
        assert!(reasoned, "{ALLOWED}:{}: {line}", number + 1);
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"));
}

/// The modules that a text names by `crate::`, apart from comments.
fn named(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let ident = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let name = ident(rest);
        assert!(!name.is_empty(), "`crate::{{` hides what is named");
        found.push(name);
    }
    found
}

/// Every test that SECURITY.md names for a threat is there.
#[test]
fn the_tests_that_security_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let tests = all_tests(&root.join("tests"));
    let mut named = 0;
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |"));
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let last = cells.last().unwrap();
        for name in last.split('`').skip(1).step_by(2) {
            named += 1;
            let places = [
                format!("tests/{name}"),
                format!("tests/{name}.rs"),
                format!("tests/program/{name}.rs"),
                format!("tests/rest/{name}.rs"),
                format!("src/bin/sip-authz/{name}"),
                name.to_owned(),
            ];
            let exists = places.iter().any(|place| root.join(place).exists());
            assert!(exists || tests.contains(&format!("fn {name}(")), "no `{name}`: {row}");
        }
    }
    assert!(named > 50, "{named}");
}

/// The text of all files with tests.
fn all_tests(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}
