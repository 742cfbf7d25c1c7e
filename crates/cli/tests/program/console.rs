//! The console beside the REST API: its paths, its sessions over a reload, its event stream at the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::ending::GAVE_UP;
use crate::support::{ADMIN_TOKEN, Caller, PATIENCE, Request, Server, file, outcome, run, status};

const FILE: &str = "[[ip_access_control_lists]]\nname = 'office'\naddresses = ['127.0.0.1']\n\
                    [[domains]]\nname = 'one.example'\nip_access_control_lists = ['office']\n";

/// Sends a request and returns the response. The server closes the connection.
fn ask(server: &Server, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, length) = (server.api, body.len());
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers = headers.replace('\n', "\r\n");
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}

/// Logs in as the admin. Returns the header with the cookie.
fn log_in(server: &Server) -> String {
    let form = ask(server, "GET /console/login", "");
    assert!(form.contains("\r\ncontent-security-policy: default-src 'none'; "), "{form}");
    let cookie = between(&form, "set-cookie: ", ";");
    let csrf = between(&form, "name=\"csrf\" value=\"", "\"");
    let head = format!(
        "POST /console/login\nCookie: {cookie}\nOrigin: http://{}\n\
         Content-Type: application/x-www-form-urlencoded\n",
        server.api
    );
    let answer = ask(server, &head, &format!("csrf={csrf}&user=admin&token={ADMIN_TOKEN}"));
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    format!("Cookie: {}\n", between(&answer, "set-cookie: ", ";"))
}

#[test]
fn the_console_is_served_if_asked_for_and_beside_the_api() {
    let server = Server::start(&["--on-accept", "ok"]);
    assert!(ask(&server, "GET /console/", "").starts_with("HTTP/1.1 404 "));
    assert!(ask(&server, "GET /console/login", "").starts_with("HTTP/1.1 404 "));

    let origin = "https://pages.example.com";
    let server = Server::start(&["--on-accept", "ok", "--console", "--cors-origin", origin]);
    server.stdout.wait_for(&format!("the console is at http://{}/console/", server.api));
    let answer = ask(&server, "GET /console/", "");
    assert!(
        answer.starts_with("HTTP/1.1 303 ") && answer.contains("\r\nlocation: login"),
        "{answer}"
    );
    // neither a challenge nor permission for other origins
    let cookie = log_in(&server);
    for path in ["/console/", "/console/state", "/console/nothing", "/console/static/console.js"] {
        let answer = ask(&server, &format!("GET {path}\nOrigin: {origin}\n{cookie}"), "");
        assert!(!answer.contains("\r\nwww-authenticate"), "{answer}");
        assert!(!answer.contains("\r\naccess-control-"), "{answer}");
        assert!(answer.contains("\r\ncontent-security-policy: "), "{answer}");
    }
    // the API as before
    let answer = ask(&server, &format!("GET /v1/Trunks\nOrigin: {origin}\n"), "");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nwww-authenticate") && answer.contains("\r\naccess-control-"));
    let answer = ask(&server, &format!("GET /nothing\n{cookie}"), "");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("application/json"), "{answer}");
    // the cookie is no login for the API
    assert!(ask(&server, &format!("GET /v1/Trunks\n{cookie}"), "").starts_with("HTTP/1.1 401 "));
}

#[test]
fn a_session_outlives_a_reload_and_the_file_stays_as_it_is() {
    let path = file("edge.toml", FILE);
    let config = path.to_str().unwrap();
    let server = Server::start(&["--config", config, "--on-accept", "ok", "--console"]);
    let cookie = log_in(&server);
    server.signal("HUP");
    server.stderr.wait_for("snapshot 2: nothing changed");
    let answer = ask(&server, &format!("GET /console/lists\n{cookie}"), "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("Read-only"), "{answer}");
    let answer = ask(&server, &format!("GET /console/state\n{cookie}"), "");
    assert!(answer.contains("<dt>configuration</dt>") && answer.contains("loaded 20"), "{answer}");
}

#[test]
fn a_decision_appears_in_the_stream_which_ends_with_the_program() {
    let path = file("edge.toml", FILE);
    let config = path.to_str().unwrap();
    let server = Server::start(&["--config", config, "--on-accept", "ok", "--console"]);
    let cookie = log_in(&server);
    let mut stream = TcpStream::connect(server.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, cookie) = (server.api, cookie.trim_end());
    write!(stream, "GET /console/stream HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut read_until = |part: &str| {
        let mut buffer = [0; 4_096];
        while !text.contains(part) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "ended without {part}: {text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    };
    read_until("retry: ");
    let caller = Caller::new(&server);
    assert_eq!(status(&caller.ask(&Request::invite("sip:1@one.example").text())), 200);
    read_until("event: row\ndata: ");
    read_until("one.example");
    let stderr = server.stderr.clone();
    server.end("TERM");
    assert!(!stderr.all().concat().contains(GAVE_UP), "{:?}", stderr.all());
}

#[test]
fn the_console_needs_the_api() {
    let (code, _, stderr) = outcome(&run(&["serve", "--demo", "--console", "--api", "off"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--console: expected --api with an address, got `off`"), "{stderr}");
}

#[test]
fn without_recent_decisions_the_pages_name_the_option() {
    let server = Server::start(&["--on-accept", "ok", "--console", "--recent", "0"]);
    let cookie = log_in(&server);
    for path in ["/console/", "/console/limits"] {
        let answer = ask(&server, &format!("GET {path}\n{cookie}"), "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("<code>--recent 0</code>"), "{answer}");
        assert!(!answer.contains("No call has been decided"), "{answer}");
    }
}

#[test]
fn a_message_without_a_decision_has_its_cause_and_advice() {
    let path = file("edge.toml", FILE);
    let config = path.to_str().unwrap();
    let server = Server::start(&["--config", config, "--on-accept", "ok", "--console"]);
    let cookie = log_in(&server);
    let caller = Caller::new(&server);
    let subscribe = Request::new("SUBSCRIBE", "sip:1@one.example").text();
    assert_eq!(status(&caller.ask(&subscribe)), 405);
    crate::recent::wait(&crate::http::Http::admin(&server), "", |rows| rows.len() == 1);
    let answer = ask(&server, &format!("GET /console/?outcome=refused\n{cookie}"), "");
    assert!(answer.contains("the edge does not serve the method here"), "{answer}");
    let sid = between(&answer, "data-sid=\"", "\"");
    let answer = ask(&server, &format!("GET /console/decisions/{sid}\n{cookie}"), "");
    assert!(answer.contains("nothing if the client can do without"), "{answer}");
    assert!(answer.contains("<b>Answer:</b> 405 Method Not Allowed"), "{answer}");
}
