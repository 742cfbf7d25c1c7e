//! Messages to the service manager (systemd's `Type=notify` and `notify-reload`, sd_notify(3)).

/// A state of the program that the service manager waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase<'a> {
    /// All listeners are open and the records are loaded. The text is shown as the status.
    Ready(&'a str),
    /// A reload has begun; `Reloaded` must follow.
    Reloading,
    /// A reload has ended, or failed: calls are answered in both cases.
    Reloaded,
    /// The program ends, after the open HTTP requests.
    Stopping,
}

/// Reports a phase to the manager that `NOTIFY_SOCKET` names. Has no effect without it.
#[cfg(target_os = "linux")]
pub(crate) fn report(phase: Phase<'_>) {
    use sd_notify::NotifyState;

    let sent = match phase {
        Phase::Ready(status) => {
            // a line break would begin another message
            let status = sip_authz::escape_line(status).to_string();
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])
        }
        // `Type=notify-reload`: the manager compares this time with the time of its request
        Phase::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Phase::Reloaded => sd_notify::notify(&[NotifyState::Ready]),
        Phase::Stopping => {
            let status = NotifyState::Status("answering the open HTTP requests");
            sd_notify::notify(&[NotifyState::Stopping, status])
        }
    };
    if let Err(error) = sent {
        let text = format_args!("warning: cannot report to the service manager: {error}");
        crate::system::output::warn(text);
    }
}

/// Has no effect outside Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn report(_: Phase<'_>) {}
