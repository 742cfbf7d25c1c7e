//! The mark of a process on systems without `fork`.

/// Whether there is a maker.
#[derive(Debug)]
pub(super) struct Mark {
    is_maker: bool,
}

impl Mark {
    pub(super) fn of_this_process() -> Self {
        Self { is_maker: true }
    }

    pub(super) fn by_fork_handler() -> Self {
        Self::of_this_process()
    }

    pub(super) fn of_no_process() -> Self {
        Self { is_maker: false }
    }

    #[inline]
    pub(super) fn is_maker(&self) -> bool {
        self.is_maker
    }

    pub(super) fn is_page(&self) -> bool {
        false
    }
}
