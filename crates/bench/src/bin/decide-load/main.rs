//! Asks a decision service as fast as it answers, or one request after the other. Prints the requests
//! answered per second, the times until an answer, and with `--pid` the processor time for each request.
//! A wrong answer is an error. Linux only.

#[cfg(target_os = "linux")]
mod frames;
#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod service;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    run::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this program runs on Linux only");
}
