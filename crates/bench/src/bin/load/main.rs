//! Saturates a SIP server over UDP. Prints the requests answered per second, the number of answers by
//! status, the number of lost requests, and with `--pid` the processor time for each request. Works
//! with any server: `load 127.0.0.1:5060 --mode digest --domain by-password.example --password secret`.
//!
//! It keeps a fixed number of requests outstanding: each answer lets it send the next request. A
//! request without an answer within a fifth of a second counts as lost. Linux only.

#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod lane;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    run::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this program runs on Linux only");
}
