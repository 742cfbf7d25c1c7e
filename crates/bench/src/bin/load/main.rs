//! Saturates a SIP server over UDP and tells how many requests it answers in a second, with which
//! answers, how many get none, and with `--pid` how much processor time each takes. Any server
//! will do: `load 127.0.0.1:5060 --mode digest --domain by-password.example --password secret`.
//!
//! A fixed number of requests is under way at any time: an answer makes room for the next request,
//! and what is not answered within a fifth of a second is lost. Linux only.

#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod lane;
#[cfg(target_os = "linux")]
mod message;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    run::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this needs the calls of Linux for many datagrams");
}
