//! The output for invalid configuration files. `sip-authz-config` tests the errors themselves.

use crate::support::{file, outcome, run};

/// The lines that `serve` and `check` print for `text` in a file `edge.toml`.
fn errors(text: &str) -> Vec<String> {
    let path = file("edge.toml", text);
    let path = path.to_str().unwrap();
    let output = run(&["serve", "--sip", "127.0.0.1:0", "--config", path, "--on-accept", "ok"]);
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{text}\n{stderr}");

    let invite = file("invite", "");
    let output =
        run(&["check", "--config", path, "--source", "192.0.2.1", invite.to_str().unwrap()]);
    let (code, stdout, checked) = outcome(&output);
    assert_eq!((code, stdout.as_str(), checked), (Some(2), "", stderr.clone()), "{text}");
    let (code, _, alone) = outcome(&run(&["check", "--config", path]));
    assert_eq!((code, &alone), (Some(2), &stderr), "{text}");
    let line = |line: &str| {
        line.replace(path, "edge.toml").strip_prefix("sip-authz: ").unwrap().to_owned()
    };
    stderr.lines().map(line).collect()
}

#[test]
fn each_error_names_file_line_and_key() {
    assert_eq!(
        errors("[[domains]]\nname = 'a.example'\nsecure = 'yes'\n"),
        ["edge.toml:3:10: domains[0].secure: expected a boolean, found a string"]
    );
    assert_eq!(
        errors(
            "relam = 'r'\n[[domains]]\nname = 'a b'\n[[trunks]]\nname = 't\n[[trunks]]\n\
             name = 'u'\nsecure = 1\n"
        ),
        [
            "edge.toml:1:1: relam: unknown key `relam`, did you mean `realm`?",
            "edge.toml:3:8: domains[0].name: `a b` is not a host name",
            "edge.toml:5:10: trunks[0].name: unclosed string, expected `'`",
            "edge.toml:8:10: trunks[1].secure: expected a boolean, found an integer",
            "4 errors in edge.toml",
        ]
    );
}

#[test]
fn at_most_a_hundred_errors_are_printed() {
    let trunks = |count: usize| "[[trunks]]\n".repeat(count);
    let lines = errors(&trunks(100));
    assert_eq!(lines.len(), 101, "{lines:?}");
    assert_eq!(lines[99], "edge.toml:100:1: trunks[99]: missing key `name`");
    assert_eq!(lines[100], "100 errors in edge.toml");
    let lines = errors(&trunks(103));
    assert_eq!(lines.len(), 102, "{lines:?}");
    assert_eq!(lines[100..], ["and 3 more", "103 errors in edge.toml"]);
}

#[test]
fn files_that_cannot_be_read() {
    let error = |path: &str| {
        let (code, _, stderr) = outcome(&run(&["serve", "--config", path, "--on-accept", "ok"]));
        assert_eq!(code, Some(2));
        stderr
    };
    assert_eq!(error("no/such.toml"), "sip-authz: no/such.toml: no such file\n");
    assert_eq!(error("/"), "sip-authz: /: expected a file, found a directory\n");
    let path = file("edge.toml", "");
    std::fs::write(&path, b"realm = 'r'\nx = '\xff'\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(error(path), format!("sip-authz: {path}:2:6: expected UTF-8\n"));
}
