//! Posts credentials to a running API on many connections, and prints the rate and the times of answers.
//!
//! `crates/bench/commits/run.py` starts the servers and prints a table.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Post credentials on persistent connections.
#[derive(Parser)]
struct Args {
    /// Addresses of the API, used in turn
    #[arg(long, required = true)]
    api: Vec<String>,
    /// Path of the list's credentials
    #[arg(long)]
    path: String,
    /// Value of the Authorization header
    #[arg(long)]
    authorization: String,
    /// Prefix of the user names
    #[arg(long)]
    prefix: String,
    /// Number of connections
    #[arg(long)]
    connections: u64,
    /// Length of the measurement in seconds
    #[arg(long)]
    seconds: u64,
}

/// The results of one connection.
#[derive(Default)]
struct Results {
    times: Vec<Duration>,
    /// Answers with status 503.
    busy: u64,
    /// Answers with another status than 201 and 503.
    wrong: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Arc::new(Args::parse());
    let (names, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let mut all = tokio::task::JoinSet::new();
    for (_, api) in (0..args.connections).zip(args.api.iter().cycle()) {
        all.spawn(connection(api.clone(), Arc::clone(&args), Arc::clone(&names), started));
    }
    let mut sum = Results::default();
    for results in all.join_all().await {
        let Results { times, busy, wrong } = results?;
        sum.times.extend(times);
        sum.busy += busy;
        sum.wrong += wrong;
    }
    let seconds = started.elapsed().as_secs_f64();
    sum.times.sort();
    let at = |share: usize| {
        let time = sum.times.get(sum.times.len().saturating_sub(1) * share / 100);
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    #[allow(clippy::cast_precision_loss)]
    let rate = sum.times.len() as f64 / seconds;
    println!(
        "{{\"rate\":{rate:.1},\"p50_ms\":{:.2},\"p99_ms\":{:.2},\"created\":{},\"busy\":{},\"wrong\":{}}}",
        at(50),
        at(99),
        sum.times.len(),
        sum.busy,
        sum.wrong
    );
    Ok(())
}

async fn connection(
    api: String,
    args: Arc<Args>,
    names: Arc<AtomicU64>,
    started: Instant,
) -> std::io::Result<Results> {
    let mut stream = TcpStream::connect(&api).await?;
    stream.set_nodelay(true)?;
    let (mut results, mut answer) = (Results::default(), Vec::new());
    while started.elapsed() < Duration::from_secs(args.seconds) {
        let name = names.fetch_add(1, Ordering::Relaxed);
        let form = format!("Username={}{name}&Password=Correct-Horse-7", args.prefix);
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {api}\r\nAuthorization: {}\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            args.path,
            args.authorization,
            form.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        match status(&mut stream, &mut answer).await? {
            201 => results.times.push(sent.elapsed()),
            503 => results.busy += 1,
            _ => results.wrong += 1,
        }
    }
    Ok(results)
}

/// Reads an answer with a Content-Length, and returns its status.
async fn status(stream: &mut TcpStream, answer: &mut Vec<u8>) -> std::io::Result<u16> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            return Ok(status.unwrap_or(0));
        }
    }
}
