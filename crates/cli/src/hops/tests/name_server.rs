//! A dnsmasq for one test.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use sip_authz_testing::loopback::unused_addresses;

use super::*;

/// A dnsmasq that ends with this.
pub(in crate::hops) struct NameServer {
    child: Child,
    hosts: PathBuf,
    address: SocketAddr,
    pub(in crate::hops) resolver: Resolver,
}

impl NameServer {
    pub(in crate::hops) fn start(name: &str, more: &[&str]) -> Self {
        let path = format!("sip-authz-{name}-{}", std::process::id());
        let hosts = std::env::temp_dir().join(path);
        std::fs::write(&hosts, "").unwrap();
        let address = unused_addresses(1)[0];
        let child = run(address, &hosts, more);
        let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        (udp.port, tcp.port) = (address.port(), address.port());
        let server = NameServerConfig::new(address.ip(), true, vec![udp, tcp]);
        let resolver = Resolver::at(ResolverConfig::from_name_servers(vec![server]));
        Self { child, hosts, address, resolver }
    }

    /// Looks a name up, again while the server starts or reads its file.
    pub(in crate::hops) async fn look_up(
        &self,
        host: &str,
        until: impl Fn(&Found) -> bool,
    ) -> Found {
        let begun = std::time::Instant::now();
        loop {
            let found = self.resolver.look_up(host).await;
            if until(&found) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{found:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the server answers.
    pub(in crate::hops) async fn ready(&self) {
        self.look_up("ready.example", |found| !found.has_failed()).await;
    }

    pub(in crate::hops) fn set(&self, lines: &str) {
        std::fs::File::create(&self.hosts).unwrap().write_all(lines.as_bytes()).unwrap();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// Ends the server: it answers nothing.
    pub(in crate::hops) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again with other records.
    pub(in crate::hops) async fn restart(&mut self, more: &[&str]) {
        self.stop();
        self.child = run(self.address, &self.hosts, more);
        self.ready().await;
    }
}

fn run(address: SocketAddr, hosts: &std::path::Path, more: &[&str]) -> Child {
    Command::new("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
        .args(["--bind-interfaces", "--pid-file=", &format!("--listen-address={}", address.ip())])
        .args([format!("--port={}", address.port()), format!("--addn-hosts={}", hosts.display())])
        // others are asked nothing: a name of this domain is there or not
        .args(["--local=/example/", "--user=root"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dnsmasq")
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_file(&self.hosts);
    }
}
