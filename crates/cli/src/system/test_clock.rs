//! The paused clock of tests that use sockets on loopback.

use std::net::UdpSocket;
use std::time::Duration;

/// The step of the clock.
const STEP: Duration = Duration::from_millis(5);

/// Lets the paused clock of this runtime wait for the network.
///
/// While all tasks wait, the clock runs ahead to the next timer, although a packet can be on its way. So
/// each step waits for a datagram that this thread sends to itself. The system delivers the packets that
/// one processor sends to loopback in their order, so all earlier packets have arrived by then, however
/// busy the machine is.
pub(crate) fn wait_for_network() {
    stay_on_this_processor();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(STEP).await;
            socket.send(b".").unwrap();
            socket.recv(&mut [0]).unwrap();
        }
    });
}

/// The test has this thread for itself.
#[cfg(target_os = "linux")]
fn stay_on_this_processor() {
    use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};

    let mut processors = CpuSet::new();
    processors.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &processors).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn stay_on_this_processor() {}
