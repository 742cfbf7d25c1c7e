//! `sip-authz import` of large files: progress, parts, lost connections and tokens.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::import::{account, done, empty, export, import};
use crate::support::{file, outcome, run};

#[test]
fn ten_thousand_users_at_once() {
    let server = empty();
    let sid = account(&server);
    let ha1 = "939e7578ed9e3c518a452acee763bce9";
    let mut table = "username,domain,ha1\n".to_owned();
    for number in 0..10_000 {
        table.push_str(&format!("user{number},d{}.example,{ha1}\n", number % 10));
    }
    let owned = ["--account", sid.as_str()];
    for expected in [done(10_010, 0, 0), done(0, 0, 10_010)] {
        let (code, stdout, stderr) = import(&server, "s.csv", &table, &owned);
        // on a slow machine there are also lines of progress
        let others = stderr.lines().filter(|line| !is_progress(line));
        assert_eq!((code, stdout, others.collect()), expected);
    }
}

/// Whether this is a line of progress such as `sip-authz: reading: 40%`.
fn is_progress(line: &str) -> bool {
    let percent = line.strip_prefix("sip-authz: reading: ").and_then(|rest| rest.strip_suffix('%'));
    percent.is_some_and(|percent| percent.parse().is_ok_and(|percent: u8| percent <= 100))
        || line.starts_with("sip-authz: sent ")
}

/// A document of more records than one commit has.
fn large_document(owner: &str, users: usize) -> String {
    let list = format!("CL{}", "5".repeat(32));
    let users: Vec<_> = (0..users)
        .map(|n| {
            let md5 = "939e7578ed9e3c518a452acee763bce9";
            format!(
                "{{\"sid\":\"CR{n:032x}\",\"credential_list_sid\":\"{list}\",\"username\":\"u{n}\",\"ha1\":{{\"md5\":\"{md5}\"}}}}"
            )
        })
        .collect();
    format!(
        "{{\"format\":\"sip-authz/1\",\"credential_lists\":[{{\"sid\":\"{list}\",\"account_sid\":\"{owner}\",\"realm\":\"r\"}}],\n\"credentials\":[\n{}]}}",
        users.join(",\n")
    )
}

/// A proxy that ends its first connection after the first progress of the server.
fn breaking_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut to_client, mut from_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut server));
            std::thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(count @ 1..) = from_server.read(&mut buffer) {
                    let part = &buffer[..count];
                    if to_client.write_all(part).is_err()
                        || number == 0 && part.windows(8).any(|word| word == b"progress")
                    {
                        break;
                    }
                }
                let _ = to_client.shutdown(Shutdown::Both);
                let _ = from_server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn an_import_goes_on_after_a_lost_connection() {
    const USERS: usize = 20_000;
    let server = empty();
    let sid = account(&server);
    let path = file("large.json", &large_document(&sid, USERS));
    let api = format!("http://{}", breaking_proxy(server.api));
    let (code, stdout, stderr) = outcome(&run(&["import", path.to_str().unwrap(), "--api", &api]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr.matches("; going on after ").count(), 1, "{stderr}");
    // records that were applied after the last progress are found unchanged
    let all = format!("imported {} records: ", USERS + 1);
    assert!(stdout.starts_with(&all) && stdout.contains(" 0 changed, "), "{stdout}");
    assert_eq!(export(&server)["credentials"].as_array().unwrap().len(), USERS);
}

#[test]
fn a_corrected_file_goes_on_with_the_token_of_the_error() {
    const USERS: usize = 12_000;
    let server = empty();
    let sid = account(&server);
    let right = large_document(&sid, USERS);
    let last = format!("\"CR{:032x}\",\"credential_list_sid\":\"CL5", USERS - 1);
    assert!(right.contains(&last));
    let wrong = right.replace(&last, &last.replace("CL5", "CL6"));
    let (code, _, stderr) = import(&server, "large.json", &wrong, &[]);
    assert_eq!(code, 1, "{stderr}");
    let error = stderr.lines().last().unwrap();
    assert!(error.contains(": credential CR") && error.contains(" not found"), "{error}");
    let (_, token) =
        error.rsplit_once("after a correction of the rest, go on with --resume ").unwrap();
    let applied: usize = token.split_once('-').unwrap().0.parse().unwrap();
    assert!((USERS - 2_100..USERS).contains(&applied), "{token}");
    assert_eq!(export(&server)["credentials"].as_array().unwrap().len(), applied - 1);

    let other = right.replace("\"u7\"", "\"u-7\"");
    let (code, _, stderr) = import(&server, "large.json", &other, &["--resume", token]);
    assert_eq!((code, stderr.contains("does not begin with the")), (1, true), "{stderr}");
    let (code, stdout, stderr) = import(&server, "large.json", &right, &["--resume", token]);
    assert_eq!((code, stdout), (0, done(USERS + 1 - applied, 0, 0).1), "{stderr}");
    assert_eq!(export(&server)["credentials"].as_array().unwrap().len(), USERS);
}
