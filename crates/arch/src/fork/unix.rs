//! The mark of a process: a number in memory that changes in a child.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Number of forks between the first process with a handler and this one.
static GENERATION: AtomicUsize = AtomicUsize::new(0);
/// The number that no mark expects.
static NONE: AtomicUsize = AtomicUsize::new(0);

/// A number in memory, and its value in the process that made the mark.
#[derive(Debug)]
pub(super) struct Mark {
    /// A page of this mark, or a static.
    number: NonNull<AtomicUsize>,
    expected: usize,
    is_page: bool,
}

// SAFETY: the number is atomic, and a page is unmapped only by `drop`, when no other thread has the
// mark any more.
unsafe impl Send for Mark {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mark {}

impl Mark {
    pub(super) fn of_this_process() -> Self {
        #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
        if let Some(mark) = Self::by_page() {
            return mark;
        }
        Self::by_fork_handler()
    }

    pub(super) fn by_fork_handler() -> Self {
        // not a `Once`: if another thread forked while it registers, the child would wait for it for ever.
        // A handler that is registered twice raises the number twice, which does no harm.
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        if !REGISTERED.load(Ordering::Relaxed) {
            if !register() {
                return Self::of_no_process();
            }
            REGISTERED.store(true, Ordering::Relaxed);
        }
        let expected = GENERATION.load(Ordering::Relaxed);
        Self { number: NonNull::from(&GENERATION), expected, is_page: false }
    }

    pub(super) fn of_no_process() -> Self {
        Self { number: NonNull::from(&NONE), expected: 1, is_page: false }
    }

    #[inline]
    pub(super) fn is_maker(&self) -> bool {
        // SAFETY: the number is a static, or in a page that stays mapped until `drop`.
        let number = unsafe { self.number.as_ref() };
        number.load(Ordering::Relaxed) == self.expected
    }

    pub(super) fn is_page(&self) -> bool {
        self.is_page
    }
}

/// Registers the fork handler; false if memory is too short.
#[cfg(not(any(miri, target_os = "emscripten", target_os = "l4re", target_os = "nuttx")))]
fn register() -> bool {
    extern "C" fn count_fork() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    let child: unsafe extern "C" fn() = count_fork;
    // SAFETY: the handler only adds to an atomic, which is safe in a child of any process.
    unsafe { libc::pthread_atfork(None, None, Some(child)) == 0 }
}

/// These systems have no `fork`.
#[cfg(any(miri, target_os = "emscripten", target_os = "l4re", target_os = "nuttx"))]
fn register() -> bool {
    true
}

/// The length of the mapping, which the kernel rounds up to a page.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
const LEN: usize = size_of::<AtomicUsize>();

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
impl Mark {
    /// A mark in a page that the kernel empties in children; none if it cannot.
    fn by_page() -> Option<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place of the kernel's choice changes no memory that is in use.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), LEN, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // from here on, `drop` unmaps the page
        let number = NonNull::new(page.cast::<AtomicUsize>())?;
        let mark = Self { number, expected: 1, is_page: true };
        // an emulator of system calls may take any advice and do nothing; such a one takes -1 too
        // SAFETY: no kernel has the advice -1.
        let takes_any = unsafe { libc::madvise(page, LEN, -1) } == 0;
        // SAFETY: the page was mapped above, and only this mark uses it.
        if takes_any || unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } != 0 {
            return None;
        }
        // SAFETY: the page is mapped, aligned, and filled with zeros, which is a valid number.
        unsafe { number.as_ref() }.store(mark.expected, Ordering::Relaxed);
        Some(mark)
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
impl Drop for Mark {
    fn drop(&mut self) {
        if self.is_page {
            // SAFETY: the page was mapped by `by_page` with this length, and no reference to it is left.
            unsafe { libc::munmap(self.number.as_ptr().cast(), LEN) };
        }
    }
}
