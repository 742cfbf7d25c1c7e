//! The signals that end the program or have it read its configuration again.

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    End,
    Reload,
}

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(not(unix))]
pub(crate) use other::Signals;

impl Signals {
    /// Returns when one comes that ends the program.
    pub(crate) async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{self, SignalKind};

    use super::Signal;

    /// The signals, caught from the moment this is made.
    pub(crate) struct Signals {
        interrupt: unix::Signal,
        terminate: unix::Signal,
        hang_up: unix::Signal,
    }

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self {
                interrupt: unix::signal(SignalKind::interrupt())?,
                terminate: unix::signal(SignalKind::terminate())?,
                hang_up: unix::signal(SignalKind::hangup())?,
            })
        }

        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::End,
                _ = self.terminate.recv() => Signal::End,
                _ = self.hang_up.recv() => Signal::Reload,
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::Signal;

    /// Ctrl-C; there is no signal to reload here.
    pub(crate) struct Signals(());

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self(()))
        }

        pub(crate) async fn next(&mut self) -> Signal {
            match tokio::signal::ctrl_c().await {
                Ok(()) => Signal::End,
                // without the signal nothing ends it but the system
                Err(_) => std::future::pending().await,
            }
        }
    }
}
