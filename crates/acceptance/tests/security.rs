//! Every test that SECURITY.md or the guide names exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The paths below `folder` with their texts, without build outputs.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The names of test files (`hostile/lists`, `lists`) and of functions in them.
fn tests() -> BTreeSet<String> {
    let mut found = Vec::new();
    for folder in ["tests", "crates", "benches", "src"] {
        sources(&root().join(folder), &mut found);
    }
    let mut names = BTreeSet::new();
    for (path, text) in found {
        let parts: Vec<_> =
            path.with_extension("").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
        for length in 1..=4 {
            names.insert(parts[parts.len().saturating_sub(length)..].join("/"));
        }
        let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
        names.extend(functions.map(|(name, _)| name.to_owned()));
    }
    names
}

#[test]
fn the_tests_that_security_names_exist() {
    let (root, tests) = (root(), tests());
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (mut named, mut missing) = (0, Vec::new());
    for row in text.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |")) {
        let last = row.split(" | ").last().unwrap();
        for name in last.split('`').skip(1).step_by(2) {
            named += 1;
            let path = name.trim_end_matches(".rs");
            let folders = ["", "crates/acceptance", "crates/cli/tests", "crates/cli/src"];
            let exists = folders.iter().any(|folder| root.join(folder).join(name).exists());
            if !exists && !tests.contains(path) {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(named > 50, "{named}");
}

/// The guide names a test as ``(`tests/hostile/lists.rs`: `name`)``.
#[test]
fn the_tests_that_the_guide_names_exist() {
    let root = root();
    let questions = fs::read_to_string(root.join("docs/guide/questions.md")).unwrap();
    let mut named = 0;
    for part in questions.split("(`").skip(1) {
        let (file, rest) = part.split_once('`').unwrap();
        if !file.ends_with(".rs") {
            continue;
        }
        let source = fs::read_to_string(root.join(file)).expect(file);
        if let Some(test) = rest.strip_prefix(": `") {
            let (test, _) = test.split_once('`').unwrap();
            assert!(source.contains(&format!("fn {test}()")), "{file}: {test}");
            named += 1;
        }
    }
    assert_eq!(named, 11);
}
