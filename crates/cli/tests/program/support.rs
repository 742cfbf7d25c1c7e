//! A running program, and a caller that uses another implementation of digest authentication.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

pub(crate) use crate::lines::{Lines, PATIENCE};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sip-authz");

/// A credential list of the account `one`, with the user of these tests.
pub(crate) const STAFF: &str = r#"
[[credential_lists]]
name = "staff"
account = "one"
realm = "example"
credentials = [{ username = "alice", password = "correct horse" }]
"#;

/// The admin token of all servers in these tests.
pub(crate) const ADMIN_TOKEN: &str = "admin token of the tests";

pub(crate) fn run(args: &[&str]) -> Output {
    run_as(ADMIN_TOKEN, args)
}

/// Runs the program with this admin token.
pub(crate) fn run_as(token: &str, args: &[&str]) -> Output {
    let mut command = client(args);
    command.env("SIP_AUTHZ_ADMIN_TOKEN", token).stdin(Stdio::null()).output().unwrap()
}

/// A command of the program that reads no settings of the user that runs the tests.
pub(crate) fn client(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    let nowhere = sip_authz_testing::folder::temporary().join("no-configuration");
    command.args(args).env("XDG_CONFIG_HOME", nowhere);
    for name in ["API", "ADMIN_TOKEN", "ACCOUNT_SID", "AUTH_TOKEN"] {
        command.env_remove(format!("SIP_AUTHZ_{name}"));
    }
    command
}

/// Exit code, stdout, stderr.
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Creates a file in a new folder, readable only by its owner.
pub(crate) fn file(name: &str, content: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = sip_authz_testing::folder::temporary()
        .join(format!("program-{}-{number}", std::process::id()));
    // that of an earlier process with this id
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    // whatever the umask is: a store refuses a folder that others can write to
    set_mode(&directory, 0o700);
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    set_mode(&path, 0o600);
    path
}

pub(crate) fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A free port for UDP and TCP, IPv4 and IPv6. It is below those that the system gives out, so that no other
/// test gets it before the program opens it.
pub(crate) fn free_port() -> u16 {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 500) as u16 * 20;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + start.wrapping_add(number) % 10_000;
        let address = format!("[::]:{port}");
        if UdpSocket::bind(&address).is_ok() && TcpListener::bind(&address).is_ok() {
            return port;
        }
    }
}

/// A running `sip-authz serve` on a free port of the loopback.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The address of the API.
    pub(crate) api: SocketAddr,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Server {
    pub(crate) fn demo() -> Self {
        Self::start(&["--demo"])
    }

    /// Serves a configuration, with `--on-accept ok`.
    pub(crate) fn config(text: &str) -> Self {
        let path = file("edge.toml", text);
        Self::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"])
    }

    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(ADMIN_TOKEN, args)
    }

    /// Starts a server with this admin token.
    pub(crate) fn start_as(token: &str, args: &[&str]) -> Self {
        Self::start_at(Some("127.0.0.1:0"), token, args)
    }

    /// Starts a server with this admin token. The address of the API is in `api` or in `args`.
    pub(crate) fn start_at(api: Option<&str>, token: &str, args: &[&str]) -> Self {
        Self::start_by(Command::new(PROGRAM), api, token, args)
    }

    /// Starts a server with a file size limit of 1 MiB, to simulate a full disk.
    pub(crate) fn start_with_little_room(args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"", PROGRAM]);
        Self::start_by(command, Some("127.0.0.1:0"), ADMIN_TOKEN, args)
    }

    /// Starts a server with a soft limit of open files, which it may raise.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_with_files(files: u32, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -S -n {files}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, PROGRAM]);
        Self::start_by(command, Some("127.0.0.1:0"), ADMIN_TOKEN, args)
    }

    /// Starts a server that reports to a service manager at this socket.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_notifying(socket: &std::path::Path, args: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.env("NOTIFY_SOCKET", socket);
        Self::start_by(command, Some("127.0.0.1:0"), ADMIN_TOKEN, args)
    }

    fn start_by(mut command: Command, api: Option<&str>, token: &str, args: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--sip", "127.0.0.1:0"])
            .args(api.map(|api| ["--api", api]).into_iter().flatten())
            .args(args)
            .env("SIP_AUTHZ_ADMIN_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let line = stdout.wait_for("listening for SIP on ");
        let address = line.split(' ').nth(4).unwrap().parse().unwrap();
        let line = stdout.wait_for("listening for HTTP on http");
        let api = line.rsplit('/').next().unwrap().parse().unwrap();
        Self { child, address, api, stdout, stderr }
    }

    /// The resident memory of the server in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time that the server has used, in ticks of 10 ms (proc(5), `stat`).
    #[cfg(target_os = "linux")]
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit(") ").next().unwrap().split(' ');
        fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }

    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Stops all threads of the server until it gets SIGCONT.
    #[cfg(target_os = "linux")]
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        // the state of a thread follows its name in parentheses (proc(5), `stat`)
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let start = Instant::now();
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            assert!(start.elapsed() < PATIENCE, "a thread does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the program with a signal, and returns its line of totals.
    pub(crate) fn end(self, signal: &str) -> String {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the end of the program, and returns its line of totals.
    pub(crate) fn ended(mut self) -> String {
        let totals = self.stdout.wait_for("totals: ");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        totals
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A UDP socket that speaks to a server.
pub(crate) struct Caller {
    socket: UdpSocket,
}

impl Caller {
    pub(crate) fn new(server: &Server) -> Self {
        Self::from("127.0.0.1", server)
    }

    pub(crate) fn from(source: &str, server: &Server) -> Self {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(server.address).unwrap();
        // the program can answer hundreds of requests before one answer is read
        socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
        Self { socket }
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    pub(crate) fn send(&self, message: &[u8]) {
        self.socket.send(message).unwrap();
    }

    pub(crate) fn receive(&self) -> Option<String> {
        self.receive_within(PATIENCE)
    }

    pub(crate) fn receive_within(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; 65_535];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    pub(crate) fn ask(&self, message: &str) -> String {
        self.send(message.as_bytes());
        self.receive().expect("an answer")
    }

    /// Sends a message that must get no answer, and checks that the server answers the next one.
    pub(crate) fn send_unanswered(&self, message: &[u8]) {
        self.send(message);
        let answer = self.ask(&Request::new("OPTIONS", "sip:still@there").call_id("still").text());
        assert!(answer.contains("\r\nCall-ID: still\r\n"), "{answer} to {message:?}");
        // several threads answer, so an answer might still be on its way
        let more = self.receive_within(Duration::from_millis(20));
        assert_eq!(more, None, "{:?}", String::from_utf8_lossy(message));
    }
}

/// A SIP request under construction.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    uri: String,
    via: String,
    to: String,
    call_id: String,
    cseq: u32,
    headers: String,
    body: String,
}

impl Request {
    pub(crate) fn new(method: &'static str, uri: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            method,
            uri: uri.to_owned(),
            via: format!("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{number};rport"),
            to: format!("<{uri}>"),
            call_id: format!("call-{number}"),
            cseq: 1,
            headers: String::new(),
            body: String::new(),
        }
    }

    pub(crate) fn invite(uri: &str) -> Self {
        Self::new("INVITE", uri)
    }

    pub(crate) fn via(mut self, via: &str) -> Self {
        self.via = via.to_owned();
        self
    }

    pub(crate) fn to(mut self, to: &str) -> Self {
        self.to = to.to_owned();
        self
    }

    pub(crate) fn call_id(mut self, call_id: &str) -> Self {
        self.call_id = call_id.to_owned();
        self
    }

    pub(crate) fn cseq(mut self, cseq: u32) -> Self {
        self.cseq = cseq;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: &str) -> Self {
        self.body = body.to_owned();
        self.header("Content-Type", content_type)
    }

    /// The next request after a challenge, with credentials.
    pub(crate) fn authorized(&self, challenge: &str, user: &str, password: &str) -> Self {
        let (name, prompt) = [
            ("Proxy-Authorization", header(challenge, "Proxy-Authenticate")),
            ("Authorization", header(challenge, "WWW-Authenticate")),
        ]
        .into_iter()
        .find_map(|(name, prompt)| Some((name, prompt?)))
        .unwrap_or_else(|| panic!("no challenge in {challenge}"));
        let method = digest_auth::HttpMethod::from(self.method);
        let body = Some(self.body.as_bytes());
        let context =
            digest_auth::AuthContext::new_with_method(user, password, &self.uri, body, method);
        let answer = digest_auth::parse(&prompt).unwrap().respond(&context).unwrap();
        let mut next = self.clone();
        next.cseq += 1;
        next.via = self.via.replace("branch=z9hG4bK", "branch=z9hG4bKa");
        next.header(name, &answer.to_header_string())
    }

    pub(crate) fn text(&self) -> String {
        let Self { method, uri, via, to, call_id, cseq, headers, body } = self;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nFrom: <sip:caller@host.example>;tag=f\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             {headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// The value of the first header of a response with this name.
pub(crate) fn header(response: &str, name: &str) -> Option<String> {
    let head = response.split("\r\n\r\n").next()?;
    let field = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))?;
    Some(field.to_owned())
}

pub(crate) fn status(response: &str) -> u16 {
    response.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap()
}

/// The status and the X-Authz-Error header.
pub(crate) fn verdict(response: &str) -> (u16, Option<String>) {
    (status(response), header(response, "X-Authz-Error"))
}

/// The SIDs of two accounts, see [`account`].
pub(crate) const ONE: &str = "AC11111111111111111111111111111111";
pub(crate) const TWO: &str = "AC22222222222222222222222222222222";

/// An account in a configuration file, whose token is `token of` and the SID.
pub(crate) fn account(name: &str, sid: &str) -> String {
    let hash = hex::encode(Sha256::digest(format!("token of {sid}")));
    format!("[[accounts]]\nname = \"{name}\"\nsid = \"{sid}\"\ntoken_sha256 = \"{hash}\"\n")
}
