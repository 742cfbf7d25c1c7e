//! What the program asks of the system for its own process.

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

/// Has no dump of the memory made when the program crashes, and keeps the environment and the memory
/// from other programs of its user: tokens and hashes are in them. The system's administrator can still
/// look.
#[cfg(target_os = "linux")]
pub(crate) fn keep_private() {
    // no reason not to start: what cannot be had is said in the documentation
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Where this is the system's affair.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_private() {}

/// Where limits are the system's affair.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn make_room(_: u64) -> Result<(), u64> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_private_and_has_room() {
        keep_private();
        assert_eq!(nix::sys::prctl::get_dumpable(), Ok(false));
        let hard = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
        assert_eq!(make_room(0).is_err(), hard < SPARE);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, hard.min(ENOUGH));
        assert_eq!(make_room(u64::MAX), Err(hard.min(ENOUGH)));
    }
}
