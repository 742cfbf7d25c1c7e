//! The command line, the measurement and the output.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use sip_authz_bench::message::Template;
use sip_authz_bench::processor::{processor_time, quantile};

use crate::count::Count;
use crate::lane::{Lane, Pace, Proof};

/// Saturates a SIP server over UDP.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// The address of the server
    server: SocketAddr,
    /// The kind of requests to send
    #[arg(long, value_enum, default_value_t = Mode::Options)]
    mode: Mode,
    /// The host of the Request-URI
    #[arg(long, default_value = "example.com")]
    domain: String,
    #[arg(long, default_value = "alice")]
    user: String,
    #[arg(long, default_value = "secret")]
    password: String,
    /// The source address of the requests
    #[arg(long, default_value = "127.0.0.1")]
    from: IpAddr,
    /// The source address of bad requests in the mode `flood`
    #[arg(long, default_value = "127.0.0.2")]
    flood_from: IpAddr,
    /// The number of bad requests per second in the mode `flood`, sent whether answers come or not; 0
    /// sends the next request after each answer
    #[arg(long, default_value_t = 0.0)]
    flood_rate: f64,
    /// The number of good requests per second in the mode `flood`, one at a time on each socket, with
    /// measured answer times; 0 sends the next request after each answer
    #[arg(long, default_value_t = 0.0)]
    good_rate: f64,
    /// The number of sockets
    #[arg(long, default_value_t = 4)]
    sockets: usize,
    /// The number of outstanding requests on each socket
    #[arg(long, default_value_t = 16)]
    window: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The seconds before the measurement starts
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// The processes of the server, to print their processor time
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Wait at the end for outstanding requests and count them; with --warm-up 0 the server then has
    /// the same counts, except for lost requests
    #[arg(long)]
    drain: bool,
    /// The seconds between progress lines; 0 for none
    #[arg(long, default_value_t = 0.0)]
    every: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// OPTIONS
    Options,
    /// INVITEs without credentials, for a domain with address lists
    Acl,
    /// INVITEs without credentials, which get a challenge
    Challenge,
    /// INVITEs with correct credentials: one challenge for many, with increasing nonce counts
    Digest,
    /// A challenge and its answer, in turn
    Call,
    /// INVITEs with wrong credentials for valid nonces
    Wrong,
    /// `digest` from one address on half of the sockets; `wrong` and `challenge` in equal parts from
    /// another address on the other half
    Flood,
}

impl Default for Count {
    fn default() -> Self {
        Self { statuses: vec![0; 700], sent: 0, lost: 0, times: Vec::new() }
    }
}

impl Count {
    fn answers(&self) -> u64 {
        self.statuses.iter().sum()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.statuses.iter().enumerate().filter(|(_, times)| **times > 0);
        for (at, (status, times)) in seen.enumerate() {
            write!(f, "{}{status}:{times}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

// the kinds of callers of the mode `flood`
const GOOD: &str = "good ";
const BAD: &str = "bad ";

/// The sockets of one kind of callers.
struct Callers {
    name: &'static str,
    lanes: Vec<Lane>,
    count: Count,
}

const BODY: &str = "v=0\r\no=load 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                    m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut kinds = Vec::new();
    let good = args.password.as_str();
    let wrong = format!("not {good}");
    let half = (args.sockets / 2).max(1);
    match args.mode {
        Mode::Options | Mode::Acl | Mode::Challenge => {
            kinds.push(callers(&args, "", Proof::Nothing, good, Pace::Full, args.sockets)?);
        }
        Mode::Digest => {
            kinds.push(callers(&args, "", Proof::Counted, good, Pace::Full, args.sockets)?);
        }
        Mode::Call => {
            kinds.push(callers(&args, "", Proof::Fresh, good, Pace::Full, args.sockets)?);
        }
        Mode::Wrong => {
            kinds.push(callers(&args, "", Proof::Counted, &wrong, Pace::Full, args.sockets)?);
        }
        Mode::Flood => {
            let rest = args.sockets.saturating_sub(half).max(1);
            let calm = pace(args.good_rate, half, Pace::Calm);
            let flood = pace(args.flood_rate, rest, Pace::Flood);
            kinds.push(callers(&args, GOOD, Proof::Counted, good, calm, half)?);
            let mut bad = callers(&args, BAD, Proof::Counted, &wrong, flood, rest.div_ceil(2))?;
            let more = callers(&args, BAD, Proof::Nothing, good, flood, rest / 2)?;
            bad.lanes.extend(more.lanes);
            kinds.push(bad);
        }
    }
    drive(&mut kinds, args.warm_up, 0.0)?;
    kinds.iter_mut().for_each(|callers| callers.count = Count::default());
    let used = processor_time(&args.pid)?;
    let elapsed = drive(&mut kinds, args.seconds, args.every)?.as_secs_f64();
    let used = processor_time(&args.pid)? - used;
    if args.drain {
        drain(&mut kinds)?;
    }
    let mut all = 0;
    for Callers { name, count, .. } in &mut kinds {
        let answers = count.answers();
        all += answers;
        println!("{name}requests/s {:.0}", answers as f64 / elapsed);
        println!("{name}answers {count}");
        println!("{name}sent/s {:.0}", count.sent as f64 / elapsed);
        println!("{name}lost {}", count.lost);
        if !count.times.is_empty() {
            println!("{name}us until answered {}", quantiles(&mut count.times));
        }
    }
    if !args.pid.is_empty() {
        println!("server us/request {:.3}", used * 1e6 / all as f64);
        println!("server processor % {:.0}", used * 100.0 / elapsed);
    }
    Ok(())
}

/// The pace at which these sockets together send this many requests per second.
fn pace(rate: f64, sockets: usize, pace: impl Fn(Duration) -> Pace) -> Pace {
    if rate > 0.0 { pace(Duration::from_secs_f64(sockets as f64 / rate)) } else { Pace::Full }
}

/// The median and higher quantiles, in microseconds.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let [median, p99, p999, most] =
        [500, 990, 999, 1_000].map(|thousandths| quantile(times, thousandths));
    format!("median {median:.0} p99 {p99:.0} p99.9 {p999:.0} most {most:.0}")
}

fn callers(
    args: &Args,
    name: &'static str,
    proof: Proof,
    password: &str,
    pace: Pace,
    sockets: usize,
) -> Result<Callers, Box<dyn Error>> {
    let from = if name == BAD { args.flood_from } else { args.from };
    let is_invite = !matches!(args.mode, Mode::Options);
    let lane = |at| {
        let template = |caller| Template {
            method: if is_invite { "INVITE" } else { "OPTIONS" },
            uri: format!("sip:100@{}", args.domain),
            caller,
            user: args.user.clone(),
            lane: at,
            body: if is_invite { BODY } else { "" },
        };
        let password = password.to_owned();
        Lane::open((from, 0).into(), args.server, template, proof, password, args.window, pace)
    };
    let lanes = (0..sockets).map(lane).collect::<Result<_, _>>()?;
    Ok(Callers { name, lanes, count: Count::default() })
}

fn drive(kinds: &mut [Callers], seconds: f64, every: f64) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let every = (every > 0.0).then(|| Duration::from_secs_f64(every));
    let mut told = start;
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(now.duration_since(start));
        }
        let mut came = false;
        for Callers { lanes, count, .. } in &mut *kinds {
            for lane in lanes {
                came |= lane.turn(now, count)?;
            }
        }
        if !came {
            // lets the server run if both share a core
            std::thread::yield_now();
        }
        if every.is_some_and(|every| now.duration_since(told) >= every) {
            told = now;
            for Callers { name, count, .. } in &*kinds {
                let seconds = now.duration_since(start).as_secs();
                println!("after {seconds} s: {name}answers {count}, lost {}", count.lost);
            }
        }
    }
}

/// Receives the outstanding answers.
fn drain(kinds: &mut [Callers]) -> Result<(), Box<dyn Error>> {
    for Callers { lanes, count, .. } in kinds {
        for lane in lanes {
            // lost requests time out
            while !lane.finish() {
                lane.turn(Instant::now(), count)?;
                std::thread::yield_now();
            }
        }
    }
    Ok(())
}
