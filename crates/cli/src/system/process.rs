//! Limits and protection of the process.

#[cfg(target_os = "linux")]
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors for everything but connections: the store, logs, listeners.
#[cfg(target_os = "linux")]
const SPARE: u64 = 256;
/// The most file descriptors that the program asks for.
#[cfg(target_os = "linux")]
const ENOUGH: u64 = 1 << 20;

/// Raises the limit of open files to the maximum that the system allows.
///
/// Returns the limit as an error if it does not cover `connections` and the other files. The
/// connections of one listener could then block the store, the API and the other listeners.
#[cfg(target_os = "linux")]
pub(crate) fn make_room(connections: u64) -> Result<(), u64> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let wanted = hard.min(ENOUGH);
    let raised = soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let allowed = if raised { wanted } else { soft };
    if allowed < connections.saturating_add(SPARE) { Err(allowed) } else { Ok(()) }
}

/// Disables core dumps, and denies other processes of the same user access to the memory and the
/// environment, which hold tokens and hashes. The system's administrator keeps access.
#[cfg(target_os = "linux")]
pub(crate) fn keep_private() {
    // the program also starts without this protection
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Has no effect outside Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_private() {}

/// Has no effect outside Linux.
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
