//! The questions of the commands on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::support::{ADMIN_TOKEN, PATIENCE, Server, client, run};

const PASSWORD: &str = "Correct-Horse-7";

/// A command that runs on a terminal.
struct Terminal {
    child: Child,
    master: File,
    /// Keeps the settings of the terminal readable after the end of the command.
    slave: OwnedFd,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn new(server: &Server, args: &[&str]) -> Self {
        let pair = openpty(None, None).unwrap();
        let stdio = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut command = client(args);
        command
            .env("SIP_AUTHZ_API", format!("http://{}", server.api))
            .env("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio());
        let child = command.spawn().unwrap();
        // the copies of the terminal in the command would keep its output open
        drop(command);
        let master = File::from(pair.master);
        let (shown, mut reader) = (Arc::<Mutex<String>>::default(), master.try_clone().unwrap());
        let writer = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                writer.lock().unwrap().push_str(&text);
            }
        });
        Self { child, master, slave: pair.slave, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until the terminal shows a text.
    fn wait_for(&self, part: &str) {
        let start = Instant::now();
        while !self.shown().contains(part) {
            assert!(start.elapsed() < PATIENCE, "no `{part}` in {}", self.shown());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// The exit code, and everything that the terminal shows; checks that the terminal echoes again.
    fn end(mut self, last: &str) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        self.wait_for(last);
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::ICANON));
        (code, self.shown())
    }
}

fn server() -> Server {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    for args in [
        &["account", "create", "Acme"][..],
        &["list", "create", "phones", "--credentials"],
        &["domain", "create", "a.example", "--list", "phones"],
    ] {
        let output = run(&[args, &["--api", &api]].concat());
        assert!(output.status.success(), "{output:?}");
    }
    server
}

#[test]
fn a_deletion_is_confirmed_on_the_terminal() {
    let server = server();
    let question = "Delete domain `a.example`? Its list stays; calls to it will be refused [y/N] ";
    let answer = |typed: &str, last: &str| {
        let mut terminal = Terminal::new(&server, &["domain", "delete", "a.example"]);
        terminal.wait_for(question);
        terminal.type_in(typed);
        terminal.end(last)
    };
    for no in ["\n", "n\n", "no\n", "x\n", "ye\n", "y y\n", "\u{4}"] {
        let (code, shown) = answer(no, "not confirmed; nothing is deleted");
        assert_eq!(code, 1, "{no:?}: {shown}");
    }
    let (code, shown) = answer("Y\n", "deleted domain `a.example` (SD");
    assert_eq!(code, 0, "{shown}");
    let mut terminal = Terminal::new(&server, &["list", "delete", "phones"]);
    terminal
        .wait_for("Delete credential list `phones` with its 0 users and their passwords? [y/N] ");
    terminal.type_in("yes\n");
    assert_eq!(terminal.end("deleted credential list `phones` (CL").0, 0);
}

#[test]
fn the_terminal_does_not_show_a_password() {
    let server = server();
    let add = ["user", "add", "alice", "--list", "phones"];
    let set = ["user", "set", "alice", "--password"];
    for (args, first, second, code, last) in [
        (&add[..], "Correct-Horse-7\n", "Correct-Horse-8\n", 2, "the two passwords differ"),
        (&add, "Correct-Horse-7\n", "Correct-Horse-7\n", 0, "CR"),
        (&set, "Correct-Horse-9\n", "Correct-Horse-9\n", 0, "CR"),
        // Ctrl-C, Ctrl-D and a correction of the line
        (&set, "Correct-Horse-9\n", "Correct-Ho\u{3}", 1, "interrupted; nothing is changed"),
        (&set, "Correct-Horse-9\n", "\u{4}", 2, "the two passwords differ"),
        (&set, "wrong\u{15}Correct-Horse-7\n", "Correct-Horse-77\u{7f}\n", 0, "CR"),
    ] {
        let mut terminal = Terminal::new(&server, args);
        terminal.wait_for("Password: ");
        let arguments = std::fs::read(format!("/proc/{}/cmdline", terminal.child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains("Horse"));
        terminal.type_in(first);
        terminal.wait_for("The same password again: ");
        terminal.type_in(second);
        let (found, shown) = terminal.end(last);
        assert_eq!(found, code, "{shown}");
        assert!(!shown.contains("Correct") && !shown.contains("Horse"), "{shown}");
    }
    // the last one counts
    let caller = crate::support::Caller::new(&server);
    let invite = crate::support::Request::invite("sip:100@a.example");
    let challenge = caller.ask(&invite.text());
    let answer = caller.ask(&invite.authorized(&challenge, "alice", PASSWORD).text());
    assert_eq!(crate::support::status(&answer), 200, "{answer}");

    let mut terminal = Terminal::new(&server, &set);
    terminal.wait_for("Password: ");
    terminal.type_in("\u{3}");
    assert_eq!(terminal.end("interrupted; nothing is changed").0, 1);
    let mut terminal = Terminal::new(&server, &set);
    terminal.wait_for("Password: ");
    terminal.type_in("\n");
    terminal.wait_for("again: ");
    terminal.type_in("\n");
    assert_eq!(terminal.end("expected a password, found an empty line").0, 2);
}
