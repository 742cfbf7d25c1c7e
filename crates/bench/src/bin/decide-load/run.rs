//! The command line, the measurement and the output.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use sip_authz_bench::message::{Credentials, Template};
use sip_authz_bench::processor::{processor_time, quantile};

use crate::frames::Frames;
use crate::http::Http;
use crate::service::{Answer, Service};

/// How long a nonce is used before a new challenge is requested.
const NONCE_USE: Duration = Duration::from_secs(20);

/// Asks a decision service. For tcp: and http: the environment has SIP_AUTHZ_DECIDE_TOKEN.
#[derive(Debug, Parser)]
#[command(name = "decide-load")]
struct Args {
    /// The address of the service, as in `serve --decide`: unix:PATH, tcp:ADDR or http:ADDR
    place: String,
    /// The kind of requests to send
    #[arg(long, value_enum)]
    mode: Mode,
    /// The host of the Request-URI
    #[arg(long)]
    domain: String,
    #[arg(long, default_value = "alice")]
    user: String,
    #[arg(long, default_value = "secret")]
    password: String,
    /// The source that the requests name
    #[arg(long, default_value = "192.0.2.7:5060")]
    source: SocketAddr,
    /// The number of connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The number of outstanding requests on each connection; 1 for http:
    #[arg(long, default_value_t = 1)]
    window: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The seconds before the measurement starts
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// The process of the service, to print its processor time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// INVITEs from an address of an access list
    Address,
    /// INVITEs with correct credentials, each with its own nonce count
    Digest,
    /// INVITEs without credentials, which get a challenge
    Challenge,
}

// the phases of a run
const WARM_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// One request at a time.
struct Slot {
    template: Template,
    number: u32,
    credentials: Option<(Credentials, Instant)>,
    sent: Instant,
}

/// The results of a connection.
#[derive(Default)]
struct Count {
    times: Vec<Duration>,
    /// Challenges for requests with credentials.
    renewed: usize,
}

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let phase = AtomicU8::new(WARM_UP);
    let wait = |seconds: f64| {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        // a connection that fails ends the run
        while Instant::now() < end && phase.load(Ordering::Relaxed) != OVER {
            thread::sleep(Duration::from_millis(5));
        }
    };
    let used = || args.pid.map(|pid| processor_time(&[pid])).transpose();
    let (counts, elapsed, used) = thread::scope(|scope| {
        let connect = |number| {
            let (args, phase) = (&args, &phase);
            scope.spawn(move || {
                let result = serve(args, number, phase).map_err(|error| error.to_string());
                phase.store(OVER, Ordering::Relaxed);
                result
            })
        };
        let threads: Vec<_> = (0..args.connections).map(connect).collect();
        wait(args.warm_up);
        let (before, start) = (used()?, Instant::now());
        let _ = phase.compare_exchange(WARM_UP, MEASURED, Ordering::Relaxed, Ordering::Relaxed);
        wait(args.seconds);
        let (elapsed, after) = (start.elapsed(), used()?);
        phase.store(OVER, Ordering::Relaxed);
        let mut counts = Vec::new();
        for thread in threads {
            counts.push(thread.join().map_err(|_| "a thread panicked")??);
        }
        let used = after.zip(before).map(|(after, before)| after - before);
        Ok::<_, Box<dyn Error>>((counts, elapsed.as_secs_f64(), used))
    })?;
    let renewed: usize = counts.iter().map(|count| count.renewed).sum();
    let mut times: Vec<_> = counts.into_iter().flat_map(|count| count.times).collect();
    if times.is_empty() || renewed > times.len() / 100 {
        return Err(format!("{} right answers, {renewed} further challenges", times.len()).into());
    }
    times.sort_unstable();
    println!("requests/s {:.0}", times.len() as f64 / elapsed);
    println!(
        "us until answered median {:.1} p99 {:.1}",
        quantile(&times, 500),
        quantile(&times, 990)
    );
    if let Some(used) = used {
        println!("service us/request {:.2}", used * 1e6 / times.len() as f64);
        println!("service processor % {:.0}", used * 100.0 / elapsed);
    }
    Ok(())
}

/// Asks on one connection until the run is over.
fn serve(args: &Args, number: usize, phase: &AtomicU8) -> Result<Count, Box<dyn Error>> {
    let (kind, address) = args.place.split_once(':').ok_or("expected unix:, tcp: or http:")?;
    let (source, window) = (args.source, args.window);
    // unset for unix:
    let token = std::env::var("SIP_AUTHZ_DECIDE_TOKEN").unwrap_or_default();
    let (mut service, window): (Box<dyn Service>, _) = match kind {
        "unix" => (Box::new(Frames::unix(address, source, window)?), window),
        "tcp" => (Box::new(Frames::tcp(address, &token, source, window)?), window),
        "http" => (Box::new(Http::new(address, &token, source)?), 1),
        _ => return Err("expected unix:, tcp: or http:".into()),
    };
    let slot = |slot| Slot {
        template: Template {
            method: "INVITE",
            uri: format!("sip:100@{}", args.domain),
            caller: source.to_string(),
            user: args.user.clone(),
            lane: number * window + slot,
            body: "",
        },
        number: 0,
        credentials: None,
        sent: Instant::now(),
    };
    let mut slots: Vec<_> = (0..window).map(slot).collect();
    let (mut answers, mut message, mut count) = (Vec::new(), Vec::new(), Count::default());
    for (at, slot) in slots.iter_mut().enumerate() {
        slot.ask(at, &mut *service, &mut message)?;
    }
    service.flush()?;
    loop {
        service.answers(&mut answers)?;
        let (now, phase) = (Instant::now(), phase.load(Ordering::Relaxed));
        if phase == OVER {
            return Ok(count);
        }
        for (at, answer) in answers.drain(..) {
            let slot = slots.get_mut(at).ok_or("an answer to no request")?;
            let is_right = slot.take(args, answer, now)?;
            match (phase, is_right) {
                (MEASURED, true) => count.times.push(now - slot.sent),
                (MEASURED, false) => count.renewed += 1,
                _ => {}
            }
            slot.ask(at, &mut *service, &mut message)?;
        }
        service.flush()?;
    }
}

impl Slot {
    /// Sends the next request.
    fn ask(
        &mut self,
        at: usize,
        service: &mut dyn Service,
        message: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        if self.credentials.as_ref().is_some_and(|(_, since)| now - *since > NONCE_USE) {
            self.credentials = None;
        }
        message.clear();
        self.number = self.number.wrapping_add(1);
        let credentials = self.credentials.as_mut().map(|(credentials, _)| credentials);
        self.template.write(self.number, credentials, message);
        self.sent = now;
        service.ask(at, message)
    }

    /// Takes an answer. Returns whether it is the right one, and not a challenge for a new nonce.
    fn take(&mut self, args: &Args, answer: Answer, now: Instant) -> Result<bool, Box<dyn Error>> {
        match (args.mode, answer) {
            (Mode::Address, Answer::Accept) | (Mode::Challenge, Answer::Challenge(_)) => Ok(true),
            (Mode::Digest, Answer::Accept) if self.credentials.is_some() => Ok(true),
            (Mode::Digest, Answer::Challenge(lines)) => {
                let lines = format!("\r\n{lines}");
                let made = Credentials::answering(lines.as_bytes(), &self.template, &args.password);
                self.credentials = Some((made.ok_or("a challenge of another form")?, now));
                Ok(false)
            }
            (_, Answer::Accept) => Err("wrong answer: accept".into()),
            (_, Answer::Challenge(lines)) => Err(format!("wrong answer: challenge {lines}").into()),
            (_, Answer::Other(answer)) => Err(format!("wrong answer: {answer}").into()),
        }
    }
}
