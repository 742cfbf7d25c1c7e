//! Keeps panics of the library out of C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::codes::{SIP_AUTHZ_OTHER_PROCESS, SIP_AUTHZ_PANIC, SIP_AUTHZ_POISONED};
use crate::failure::Failure;
use crate::handle::Handle;

/// Does work that needs no handle. A panic becomes an error.
pub(crate) fn catch<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    // the caller discards everything that a panic leaves half done
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        // its destructor could panic
        std::mem::forget(payload);
        Err(Failure::new(SIP_AUTHZ_PANIC, String::new()))
    })
}

/// Does work on a handle. A panic becomes an error and poisons the handle, which then refuses: its state
/// may be half changed. Refuses in another process than that of the handle, before it takes a lock.
pub(crate) fn enter<R>(
    handle: Option<&Handle>,
    work: impl FnOnce(&Handle) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let Some(handle) = handle else { return Err(Failure::argument("the handle is NULL")) };
    if !handle.is_of_this_process() {
        return Err(Failure::new(SIP_AUTHZ_OTHER_PROCESS, String::new()));
    }
    if handle.is_poisoned() {
        return Err(Failure::new(SIP_AUTHZ_POISONED, String::new()));
    }
    let result = catch(|| work(handle));
    if matches!(&result, Err(failure) if failure.code == SIP_AUTHZ_PANIC) {
        handle.poison();
    }
    result
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::codes::{SIP_AUTHZ_ARGUMENT, SIP_AUTHZ_POISONED};
    use crate::engine::Engine;
    use crate::handle::Decider;

    #[test]
    fn a_panic_is_an_error_and_poisons_the_handle() {
        let engine = Engine::from_text(b"").unwrap();
        let handle = Handle::new(Decider::of(engine)).unwrap();
        let code = |result: Result<(), Failure>| result.map_err(|failure| failure.code);
        assert_eq!(code(enter(Some(&handle), |_| Ok(()))), Ok(()));
        assert_eq!(code(enter(Some(&handle), |_| panic!("as tested"))), Err(SIP_AUTHZ_PANIC));
        let mut has_worked = false;
        let after = enter(Some(&handle), |_| {
            has_worked = true;
            Ok(())
        });
        assert_eq!((code(after), has_worked), (Err(SIP_AUTHZ_POISONED), false));
        assert_eq!(code(enter(None, |_| Ok(()))), Err(SIP_AUTHZ_ARGUMENT));
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_an_error() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let result = catch::<()>(|| std::panic::panic_any(Bomb));
        assert_eq!(result.map_err(|failure| failure.code), Err(SIP_AUTHZ_PANIC));
    }
}
