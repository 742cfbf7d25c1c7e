//! A guard that recognises the process which made it.
//!
//! On Linux the mark of a process is a page that the kernel empties in each child
//! (`MADV_WIPEONFORK`). It also does so for a raw `clone` and for `_Fork`, which call no fork
//! handlers. If the kernel cannot, and on other unixes, a fork handler raises a number.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other::Mark;
#[cfg(unix)]
use unix::Mark;

/// Recognises the process that made it. In a child of a fork, and in children of the child, it
/// knows that it is a copy.
///
/// Processes that share their memory, such as the child of a `vfork`, count as one process. A
/// restored copy of the whole machine is not recognised. On systems without `fork`, every process
/// is the maker.
#[derive(Debug)]
pub struct ForkGuard(Mark);

impl ForkGuard {
    /// Makes a guard of this process. If memory is too short even for the mark of a process, the guard
    /// belongs to no process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self(Mark::of_this_process())
    }

    /// Makes a guard of this process as on a system whose kernel does not empty pages: by a fork handler,
    /// which a raw `clone` and `_Fork` do not call. For tests.
    #[must_use]
    pub fn by_fork_handler() -> Self {
        Self(Mark::by_fork_handler())
    }

    /// Makes a guard that belongs to no process. For tests.
    #[must_use]
    pub fn of_no_process() -> Self {
        Self(Mark::of_no_process())
    }

    /// Whether this process made the guard. A load and a comparison; no system call, no lock.
    #[inline]
    #[must_use]
    pub fn is_maker(&self) -> bool {
        self.0.is_maker()
    }

    /// Whether the kernel keeps the mark, so that the guard also recognises the children of a raw `clone`
    /// and of `_Fork`.
    #[must_use]
    pub fn is_kept_by_kernel(&self) -> bool {
        self.0.is_page()
    }
}
