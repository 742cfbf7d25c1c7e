//! The files that packages install beside the program.

use crate::support::{file, outcome, run};

#[test]
fn each_shell_has_a_completion_script_that_knows_the_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, errors) = outcome(&run(&["completions", shell]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        for word in ["serve", "on-accept", "rotate-token", "completions"] {
            assert!(script.contains(word), "no {word} for {shell}");
        }
    }
    let (code, script, errors) = outcome(&run(&["completions", "cmd"]));
    assert_eq!((code, script.as_str()), (Some(2), ""));
    assert!(errors.contains("bash"), "{errors}");
}

#[test]
fn the_program_and_each_command_have_a_manual_page() {
    let folder = file("unused", "").with_file_name("man1");
    std::fs::create_dir(&folder).unwrap();
    let (code, printed, errors) = outcome(&run(&["man", folder.to_str().unwrap()]));
    assert_eq!((code, printed.as_str(), errors.as_str()), (Some(0), "", ""));
    for (page, words) in [
        ("sip-authz", ["check", "backup"]),
        ("sip-authz-serve", ["SIP_AUTHZ_ADMIN_TOKEN", "SIGHUP"]),
        ("sip-authz-account-rotate-token", ["SID", "auth token"]),
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH "), "{page}");
        for word in words {
            assert!(text.contains(word), "no {word} in {page}");
        }
    }
    let (code, _, errors) = outcome(&run(&["man", "/nowhere"]));
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("sip-authz: /nowhere: "), "{errors}");
}
