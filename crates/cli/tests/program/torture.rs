//! Sends the torture messages of RFC 4475 and RFC 5118 to a running program.

use crate::support::{Caller, Server, header, status};
use sip_authz_testing::torture::{CASES, HOSTS};

#[test]
fn each_is_answered_as_the_table_says() {
    let mut config = "realm = \"example\"\n[[ip_access_control_lists]]\nname = \"inside\"\n\
        addresses = [\"127.0.0.1\"]\n"
        .to_owned();
    for host in HOSTS {
        config +=
            &format!("[[domains]]\nname = \"{host}\"\nip_access_control_lists = [\"inside\"]\n");
    }
    let server = Server::config(&config);
    for case in &CASES {
        let caller = Caller::new(&server);
        let Some(expected) = case.status else {
            caller.send_unanswered(&case.bytes());
            continue;
        };
        caller.send(&case.bytes());
        let answer = caller.receive().unwrap_or_else(|| panic!("{}: no answer", case.file));
        assert_eq!(status(&answer), expected, "{}: {answer}", case.file);
        assert!(header(&answer, "Via").is_some(), "{}: {answer}", case.file);
        let again = caller.receive_within(std::time::Duration::from_millis(1));
        assert_eq!(again, None, "{}: a second answer", case.file);
    }
    // the program is still running
    let totals = server.end("TERM");
    assert!(totals.starts_with("totals: "), "{totals}");
}
