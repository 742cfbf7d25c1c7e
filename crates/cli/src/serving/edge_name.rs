//! The name of this edge.

use crate::args::ServeArgs;

/// The name of `--edge-name`. By default the name of the machine and the port for SIP.
pub(crate) fn of(args: &ServeArgs) -> String {
    #[cfg(feature = "etcd")]
    if let Some(name) = &args.fleet.edge_name {
        return name.clone();
    }
    let port = args.listen.sip.first().and_then(|listener| listener.port).unwrap_or(5060);
    format!("{}:{port}", machine())
}

/// The host name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}
