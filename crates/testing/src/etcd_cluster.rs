//! An etcd cluster on loopback, each node with its own folder, started and stopped by the test.
//! Dropping it kills the nodes and removes their folders.
#![allow(clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::loopback::unused_addresses;

/// The parent of the nodes' folders. Not a memory disk, which would hide the cost of syncs.
fn scratch() -> PathBuf {
    crate::folder::temporary()
}

pub struct Cluster {
    nodes: Vec<Node>,
    folder: PathBuf,
}

struct Node {
    arguments: Vec<String>,
    client: SocketAddr,
    child: Mutex<Option<Child>>,
}

impl Cluster {
    /// Starts this many nodes and waits until they have a leader.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// Like [`Self::start`], with more arguments for each node.
    pub fn start_with(count: usize, more: &[&str]) -> Self {
        let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok(), "these tests need etcd (Debian: etcd-server)");
        let name = format!("etcd-{}-{:x}", std::process::id(), unique());
        let folder = scratch().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // a node that restarts has its address again
        let addresses = unused_addresses(u16::try_from(count * 2).unwrap());
        let (clients, peers) = addresses.split_at(count);
        let url = |address: &SocketAddr| format!("http://{address}");
        let members: Vec<_> =
            peers.iter().enumerate().map(|(n, peer)| format!("n{n}={}", url(peer))).collect();
        let nodes = (0..count)
            .map(|n| {
                let (client, peer) = (url(&clients[n]), url(&peers[n]));
                let data = folder.join(format!("n{n}")).display().to_string();
                let arguments = [
                    ["--name", &format!("n{n}")],
                    ["--data-dir", &data],
                    ["--listen-client-urls", &client],
                    ["--advertise-client-urls", &client],
                    ["--listen-peer-urls", &peer],
                    ["--initial-advertise-peer-urls", &peer],
                    ["--initial-cluster", &members.join(",")],
                    ["--initial-cluster-state", "new"],
                    ["--initial-cluster-token", &folder.display().to_string()],
                    ["--log-level", "error"],
                    ["--logger", "zap"],
                ];
                let mut arguments: Vec<_> =
                    arguments.concat().iter().map(|s| (*s).to_owned()).collect();
                arguments.extend(more.iter().map(|s| (*s).to_owned()));
                Node { arguments, client: clients[n], child: Mutex::new(None) }
            })
            .collect();
        let cluster = Self { nodes, folder };
        for n in 0..count {
            cluster.restart(n);
        }
        cluster.leader();
        cluster
    }

    /// The URLs of the nodes, for clients.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.client)).collect()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Starts a stopped node with the contents of its folder.
    pub fn restart(&self, n: usize) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("n{n}.log")))
            .unwrap();
        let child = Command::new("etcd")
            .args(&self.nodes[n].arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let before = self.nodes[n].child.lock().unwrap().replace(child);
        assert!(before.is_none(), "node {n} is already running");
    }

    /// Kills a node.
    pub fn kill(&self, n: usize) {
        let mut child = self.nodes[n].child.lock().unwrap().take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Saves the contents of the first node to a file.
    pub fn save(&self, to: &Path) {
        let url = &self.urls()[0];
        let to = to.display().to_string();
        ctl("60s", &["--endpoints", url, "snapshot", "save", &to]).expect("a snapshot");
    }

    /// Restores a cluster of one node from such a file, as the same cluster or as another one.
    pub fn restore(&self, from: &Path, is_other: bool) {
        assert_eq!(self.len(), 1);
        self.kill(0);
        let folder = self.folder.join("n0");
        std::fs::remove_dir_all(&folder).unwrap();
        let value = |name: &str| {
            let at = self.nodes[0].arguments.iter().position(|argument| argument == name).unwrap();
            self.nodes[0].arguments[at + 1].clone()
        };
        let mut token = value("--initial-cluster-token");
        if is_other {
            token.push_str(" restored");
        }
        let arguments = [
            "snapshot",
            "restore",
            &from.display().to_string(),
            "--name",
            &value("--name"),
            "--data-dir",
            &folder.display().to_string(),
            "--initial-cluster",
            &value("--initial-cluster"),
            "--initial-advertise-peer-urls",
            &value("--initial-advertise-peer-urls"),
            "--initial-cluster-token",
            &token,
        ];
        ctl("60s", &arguments).expect("a restored snapshot");
        self.restart(0);
        self.leader();
    }

    /// Freezes a node, which looks cut off to the others.
    pub fn freeze(&self, n: usize) {
        self.signal(n, "-STOP");
    }

    /// The memory in use by a node, in bytes.
    pub fn memory(&self, n: usize) -> u64 {
        let child = self.nodes[n].child.lock().unwrap();
        let path = format!("/proc/{}/statm", child.as_ref().expect("it runs").id());
        let statm = std::fs::read_to_string(path).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
    }

    /// The processor time that all nodes have used.
    pub fn processor_time(&self) -> Duration {
        let of = |node: &Node| {
            let child = node.child.lock().unwrap();
            let path = format!("/proc/{}/stat", child.as_ref().expect("it runs").id());
            let stat = std::fs::read_to_string(path).unwrap();
            // after the name, which ends with a parenthesis: the 12th and 13th field, in hundredths of a second
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            let ticks = fields.split(' ').skip(11).take(2);
            ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum::<u64>()
        };
        Duration::from_millis(self.nodes.iter().map(of).sum())
    }

    /// The revision of the store: the number of transactions that have written.
    pub fn revision(&self) -> u64 {
        let answer = self.ctl(&["--endpoints", &self.urls()[0], "get", "-w", "json", "none"]);
        let answer: serde_json::Value = serde_json::from_str(&answer.expect("it answers")).unwrap();
        answer["header"]["revision"].as_u64().unwrap()
    }

    /// Continues a frozen node.
    pub fn thaw(&self, n: usize) {
        self.signal(n, "-CONT");
    }

    fn signal(&self, n: usize, signal: &str) {
        let child = self.nodes[n].child.lock().unwrap();
        let id = child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// The index of the leader, once a majority of the nodes follows it.
    pub fn leader(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            // a successful write proves that there is a leader with a majority
            for (n, url) in self.urls().iter().enumerate() {
                if let Some(true) = self.leads(n, url) {
                    return n;
                }
            }
            assert!(Instant::now() < deadline, "no leader");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn leads(&self, n: usize, url: &str) -> Option<bool> {
        self.nodes[n].child.lock().unwrap().as_ref()?;
        // the caller asks again
        let status = ctl("2s", &["--endpoints", url, "endpoint", "status", "-w", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        let status = status.get(0)?.get("Status")?;
        Some(status.get("leader")? == status.get("header")?.get("member_id")?)
    }

    /// The output of `etcdctl`, if it succeeds within a minute.
    pub fn ctl(&self, arguments: &[&str]) -> Option<String> {
        ctl("60s", arguments)
    }
}

/// The output of `etcdctl`, if it succeeds within this time.
fn ctl(time: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args([format!("--command-timeout={time}"), format!("--dial-timeout={time}")])
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .expect("etcdctl (Debian: etcd-client)");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(mut child) = node.child.lock().unwrap().take() {
                // SIGKILL also ends a stopped process
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn unique() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos() % 0xffff_ffff).unwrap()
}
