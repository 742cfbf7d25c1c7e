//! A handle: an engine or the client of a service, with the guards of both.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sip_authz_arch::ForkGuard;

use crate::answer::FlatAnswer;
use crate::codes::{SIP_AUTHZ_SYSTEM, SIP_AUTHZ_UNSUPPORTED};
use crate::counts::Counters;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::request::RequestParts;
use crate::service::Service;
use crate::types::Counts;

/// A decider: an engine in this process, or the client of a decision service. All threads of the process
/// can use it at the same time.
pub struct Handle {
    process: ForkGuard,
    is_poisoned: AtomicBool,
    /// The id of the next request.
    next: AtomicU64,
    counters: Counters,
    decider: Decider,
}

/// C has no borrow checker, so this is what lets all threads share a handle.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Handle>();
};

/// The two kinds of handles.
// a process has few of them
#[allow(clippy::large_enum_variant)]
pub(crate) enum Decider {
    Engine(Box<Engine>),
    Service(Service),
}

impl Decider {
    pub(crate) fn of(engine: Engine) -> Self {
        Self::Engine(Box::new(engine))
    }
}

impl Handle {
    pub(crate) fn new(decider: Decider) -> Result<Self, Failure> {
        let process = ForkGuard::of_this_process();
        if !process.is_maker() {
            return Err(Failure::new(SIP_AUTHZ_SYSTEM, "no memory for the mark of the process"));
        }
        Ok(Self {
            process,
            is_poisoned: AtomicBool::new(false),
            next: AtomicU64::new(1),
            counters: Counters::default(),
            decider,
        })
    }

    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_maker()
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::Release);
    }

    /// Decides a request, by the frame of a question and the frame of its answer.
    pub(crate) fn decide(&self, request: &RequestParts<'_>) -> Result<FlatAnswer, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let question = request.encode(id)?;
        match &self.decider {
            Decider::Engine(engine) => FlatAnswer::read(&engine.answer(&question)?, id),
            Decider::Service(service) => service.answer(&question, id),
        }
    }

    /// Counts an answer or an error.
    pub(crate) fn count(&self, result: &Result<FlatAnswer, Failure>) {
        self.counters.count(result.as_ref().ok().map(FlatAnswer::outcome));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// The engine; an error for a service.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        match &self.decider {
            Decider::Engine(engine) => Ok(engine),
            Decider::Service(_) => Err(Failure::new(SIP_AUTHZ_UNSUPPORTED, "only engines have it")),
        }
    }

    /// Frees the handle. In a child of a fork the connections of its parent go on.
    pub(crate) fn end(mut self) {
        let is_maker = self.is_of_this_process();
        if let Decider::Service(service) = &mut self.decider
            && is_maker
        {
            service.end();
        }
    }
}
