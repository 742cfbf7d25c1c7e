//! How many files, so connections, the program may have open.

#[cfg(target_os = "linux")]
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For the store, its logs and what else is opened while all connections are taken.
#[cfg(target_os = "linux")]
const SPARE: u64 = 256;
/// As many as any set of connections could need.
#[cfg(target_os = "linux")]
const ENOUGH: u64 = 1 << 20;

/// Raises the usual limit, which is there for programs of another kind, to what the system allows.
/// With fewer than all connections can take, those of one listener could keep the store, the API and
/// other listeners from opening any; whether there are enough is the answer, with their number.
#[cfg(target_os = "linux")]
pub(crate) fn make_room(connections: u64) -> Result<(), u64> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let wanted = hard.min(ENOUGH);
    let raised = soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let allowed = if raised { wanted } else { soft };
    if allowed < connections.saturating_add(SPARE) { Err(allowed) } else { Ok(()) }
}

/// Where limits are the system's affair.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn make_room(_: u64) -> Result<(), u64> {
    Ok(())
}
