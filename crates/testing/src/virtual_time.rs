//! Runs tasks under virtual time, in an order determined by a seed. Time advances only when no task is
//! ready. Tasks have owners. A test can pause an owner, so that its tasks stop while time continues, or
//! end it.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub type Owner = usize;

/// The virtual clock and its timers. Clones share the state.
#[derive(Clone)]
pub struct Virtual {
    core: Arc<Mutex<Core>>,
    start: Instant,
}

struct Core {
    now: Duration,
    /// The timers by time, then by creation.
    timers: BTreeMap<(Duration, u64), Waker>,
    next: u64,
    random: u64,
    commands: Vec<Command>,
    paused: BTreeMap<Owner, Duration>,
}

enum Command {
    Spawn(Owner, Pin<Box<dyn Future<Output = ()> + Send>>),
    End(Owner),
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Virtual {
    pub fn new(seed: u64) -> Self {
        let core = Core {
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            next: 0,
            // spreads neighbouring seeds
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            commands: Vec::new(),
            paused: BTreeMap::new(),
        };
        Self { core: Arc::new(Mutex::new(core)), start: Instant::now() }
    }

    pub fn elapsed(&self) -> Duration {
        self.core.lock().unwrap().now
    }

    pub fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    pub fn random(&self) -> u32 {
        let mut core = self.core.lock().unwrap();
        // xorshift
        core.random ^= core.random << 13;
        core.random ^= core.random >> 7;
        core.random ^= core.random << 17;
        u32::try_from(core.random >> 32).unwrap()
    }

    pub fn below(&self, bound: u32) -> u32 {
        self.random() % bound
    }

    pub fn chance(&self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let (core, mut until) = (Arc::clone(&self.core), None);
        std::future::poll_fn(move |context| {
            let mut core = core.lock().unwrap();
            let now = core.now;
            let until = *until.get_or_insert(now + time);
            if now >= until {
                return Poll::Ready(());
            }
            let place = (until, core.next);
            core.next += 1;
            core.timers.insert(place, context.waker().clone());
            Poll::Pending
        })
    }

    /// Sleeps for this many milliseconds.
    pub fn ms(&self, ms: u32) -> impl Future<Output = ()> + Send + use<> {
        self.sleep(Duration::from_millis(ms.into()))
    }

    pub fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + Send + 'static) {
        self.core.lock().unwrap().commands.push(Command::Spawn(owner, Box::pin(future)));
    }

    /// Drops all tasks of an owner.
    pub fn end(&self, owner: Owner) {
        self.core.lock().unwrap().commands.push(Command::End(owner));
    }

    /// Stops all tasks of an owner for this long.
    pub fn pause(&self, owner: Owner, time: Duration) {
        let mut core = self.core.lock().unwrap();
        let until = core.now + time;
        core.paused.insert(owner, until);
        // a timer at the end of the pause wakes the scheduler
        let place = (until, core.next);
        core.next += 1;
        core.timers.insert(place, Waker::noop().clone());
    }

    /// Runs all tasks until this time.
    pub fn run(&self, end: Duration) {
        let mut tasks =
            BTreeMap::<u64, (Owner, Arc<Woken>, Pin<Box<dyn Future<Output = ()> + Send>>)>::new();
        let mut name = 0;
        loop {
            let commands = std::mem::take(&mut self.core.lock().unwrap().commands);
            for command in commands {
                match command {
                    Command::Spawn(owner, future) => {
                        let woken = Arc::new(Woken(AtomicBool::new(true)));
                        tasks.insert(name, (owner, woken, future));
                        name += 1;
                    }
                    Command::End(ended) => tasks.retain(|_, (owner, ..)| *owner != ended),
                }
            }
            let paused: BTreeSet<Owner> = {
                let mut core = self.core.lock().unwrap();
                let now = core.now;
                core.paused.retain(|_, until| *until > now);
                core.paused.keys().copied().collect()
            };
            let ready: Vec<u64> = tasks
                .iter()
                .filter(|(_, (owner, woken, _))| {
                    woken.0.load(Ordering::Relaxed) && !paused.contains(owner)
                })
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                let mut core = self.core.lock().unwrap();
                let Some((at, _)) = core.timers.keys().next().copied() else { return };
                if at > end {
                    core.now = end;
                    return;
                }
                core.now = core.now.max(at);
                let later = core.timers.split_off(&(at, u64::MAX));
                let due = std::mem::replace(&mut core.timers, later);
                drop(core);
                due.into_values().for_each(Waker::wake);
                continue;
            }
            let chosen = ready[self.random() as usize % ready.len()];
            let (_, woken, future) = tasks.get_mut(&chosen).unwrap();
            woken.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(woken));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                tasks.remove(&chosen);
            }
        }
    }
}
