//! Children of this process, made in each way.
//!
//! Other tests run in other threads meanwhile, and the locks that they hold are never released in a
//! child. The C library takes care of its own locks in `fork` only. So a job for
//! another way must not allocate, free, print or panic, nor make a child by `fork`.

use std::panic::{AssertUnwindSafe, catch_unwind};

type Fork = unsafe extern "C" fn() -> libc::pid_t;

/// A way to make a child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Fork,
    /// `_Fork`, which calls no fork handlers. Found before any fork, because `dlsym` takes a lock.
    ForkWithoutHandlers(Fork),
    /// The system call `clone`, past the C library.
    Clone,
    /// The system call `clone3`.
    Clone3,
}

impl Way {
    /// The ways of this system. An old C library has no `_Fork`, and some sandboxes have no `clone3`.
    pub(crate) fn all() -> Vec<Self> {
        let mut ways = vec![Self::Fork, Self::Clone];
        // SAFETY: the name is a C string.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Fork".as_ptr()) };
        // SAFETY: the C library's `_Fork` has this type, and a null pointer is `None`.
        let found: Option<Fork> = unsafe { std::mem::transmute(found) };
        ways.extend(found.map(Self::ForkWithoutHandlers));
        // SAFETY: without arguments the call only fails: with EINVAL if it exists.
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0) };
        if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            ways.push(Self::Clone3);
        }
        ways
    }

    /// Whether a child that was made this way can make one the other way.
    pub(crate) fn precedes(self, other: Self) -> bool {
        matches!(self, Self::Fork) || !matches!(other, Self::Fork)
    }

    /// The process ID of the child, or 0 in the child.
    fn make(self) -> libc::pid_t {
        // SAFETY: the child runs in a copy of this thread alone, calls no function that waits for
        // another one (see the head of this file), and ends with `_exit`.
        unsafe {
            match self {
                Self::Fork => libc::fork(),
                Self::ForkWithoutHandlers(fork) => fork(),
                Self::Clone => narrow(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)),
                Self::Clone3 => {
                    let mut arguments: libc::clone_args = std::mem::zeroed();
                    arguments.exit_signal = u64::try_from(libc::SIGCHLD).unwrap();
                    let size = size_of::<libc::clone_args>();
                    narrow(libc::syscall(libc::SYS_clone3, &raw mut arguments, size))
                }
            }
        }
    }
}

fn narrow(pid: libc::c_long) -> libc::pid_t {
    pid.try_into().unwrap()
}

/// A child that was not waited for.
pub(crate) struct Child(libc::pid_t);

/// Seconds after which a child that hangs is killed.
const PATIENCE: u32 = 60;

impl Child {
    /// Runs `job` in a child, which exits with the result.
    pub(crate) fn start(way: Way, job: impl FnOnce() -> u8) -> Self {
        let pid = way.make();
        assert!(pid >= 0, "{way:?}: {}", std::io::Error::last_os_error());
        if pid > 0 {
            return Self(pid);
        }
        // SAFETY: the default action of SIGALRM, which no test changes, ends this process.
        unsafe { libc::alarm(PATIENCE) };
        let code = catch_unwind(AssertUnwindSafe(job)).unwrap_or(u8::MAX);
        // SAFETY: ends this process without the exit handlers of the one that it was copied from.
        unsafe { libc::_exit(code.into()) }
    }

    /// The exit code, or the negative number of the signal that killed the child: 14 if it hung.
    pub(crate) fn wait(self) -> i32 {
        let mut status = 0;
        loop {
            // SAFETY: the status is writable, and only this value waits for its child.
            let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
            if pid == self.0 {
                break;
            }
            let error = std::io::Error::last_os_error();
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
        }
        match libc::WIFSIGNALED(status) {
            true => -libc::WTERMSIG(status),
            false => libc::WEXITSTATUS(status),
        }
    }
}

/// Runs `job` in a child and returns what [`Child::wait`] returns.
pub(crate) fn run(way: Way, job: impl FnOnce() -> u8) -> i32 {
    Child::start(way, job).wait()
}

/// The number of the first expectation that does not hold, from 1; 0 if all hold.
pub(crate) fn first_failure<const N: usize>(expectations: [bool; N]) -> u8 {
    let failed = expectations.iter().position(|holds| !holds);
    failed.map_or(0, |at| u8::try_from(at + 1).unwrap_or(u8::MAX))
}
