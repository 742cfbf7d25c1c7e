//! Reports to the service manager, read from the socket that systemd would open.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::http::Http;
use crate::support::{Caller, PATIENCE, Request, Server, file, status};

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        // the path of a socket has at most 107 bytes
        let path = std::env::temp_dir().join(format!("notify-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The lines of the next report.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

const RECORDS: &str = "[[domains]]\nname = 'one.example'\n";

fn of_file(path: &Path) -> [String; 2] {
    ["READY=1".to_owned(), format!("STATUS=serving the records in {}", path.display())]
}

#[test]
fn it_is_ready_once_the_records_are_loaded_and_reports_its_end() {
    let manager = Manager::new("end");
    let path = file("edge.toml", RECORDS);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start_notifying(&manager.path, &args);
    assert_eq!(manager.next(), of_file(&path));
    // the domain of the file is known, and HTTP is answered
    let invite = Request::invite("sip:1@one.example").text();
    assert_eq!(status(&Caller::new(&server).ask(&invite)), 403);
    assert_eq!(Http::admin(&server).get("/health").0, 200);

    server.end("TERM");
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=answering the open HTTP requests"]);
}

#[test]
fn a_reload_is_reported_with_its_time_and_its_end_even_if_the_file_is_invalid() {
    let manager = Manager::new("reload");
    let path = file("edge.toml", RECORDS);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start_notifying(&manager.path, &args);
    assert_eq!(manager.next(), of_file(&path));
    for (text, line) in [(RECORDS, "reloaded "), ("[[domains", "the old state stays in use")] {
        std::fs::write(&path, text).unwrap();
        server.signal("HUP");
        let [reloading, time] = <[String; 2]>::try_from(manager.next()).unwrap();
        assert_eq!(reloading, "RELOADING=1");
        let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{time}");
        assert_eq!(manager.next(), ["READY=1"]);
        server.stderr.wait_for(line);
    }
}

#[test]
fn records_in_memory_and_in_a_folder_are_named_in_the_status() {
    let manager = Manager::new("memory");
    let server = Server::start_notifying(&manager.path, &["--on-accept", "ok"]);
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving records in memory"]);
    drop(server);
    // a line break in a name is no further message
    let folder = file("unused", "").with_file_name("data\nSTOPPING=1");
    let args = ["--data", folder.to_str().unwrap(), "--on-accept", "ok"];
    let _server = Server::start_notifying(&manager.path, &args);
    let lines = manager.next();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("STATUS=serving the records in /"), "{lines:?}");
}

#[test]
fn a_manager_that_cannot_be_reached_is_a_warning() {
    let server = Server::start_notifying(Path::new("/nowhere/notify"), &["--on-accept", "ok"]);
    server.stderr.wait_for("cannot report to the service manager");
    let invite = Request::invite("sip:1@nowhere.example").text();
    assert_eq!(status(&Caller::new(&server).ask(&invite)), 404);
}
