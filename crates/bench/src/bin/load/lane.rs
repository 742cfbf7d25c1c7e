//! A socket with its outstanding requests.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
};
use sip_authz_bench::message::{Credentials, Template};

use crate::count::Count;

/// The maximum number of datagrams in one system call.
const BATCH: usize = 64;
/// The maximum number of bytes in one call, if the kernel splits them into datagrams.
const MAX_BYTES: usize = 65_000;
/// The size of a burst of a flood. If fewer requests are due in `BURST_TIME`, the burst is smaller.
const BURST: u32 = 32;
const BURST_TIME: Duration = Duration::from_millis(2);
/// The size of the buffer for an answer.
const MAX_ANSWER: usize = 4_096;
/// A request without an answer within this time counts as lost.
const TIMEOUT: Duration = Duration::from_millis(200);
/// How long a nonce is used before a new challenge is requested.
const NONCE_USE: Duration = Duration::from_secs(20);

/// The credentials in the requests of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// No credentials.
    Nothing,
    /// The answer to one challenge for many requests, with increasing nonce counts.
    Counted,
    /// A new challenge for each request; the challenge and its answer both count.
    Fresh,
}

/// The pace of the requests of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Keeps the window full.
    Full,
    /// One request at a time, at this interval. Measures the time of each answer.
    Calm(Duration),
    /// One request at this interval, whether answers come or not. Lost requests are not counted.
    Flood(Duration),
}

pub(crate) struct Lane {
    socket: UdpSocket,
    template: Template,
    proof: Proof,
    password: String,
    credentials: Option<Credentials>,
    credentials_since: Instant,
    number: u32,
    window: usize,
    pace: Pace,
    /// The time of the next request, except at full pace.
    due: Instant,
    sent: Instant,
    under_way: usize,
    /// Set once no more requests are sent.
    done: bool,
    last_answer: Instant,
    requests: Vec<Vec<u8>>,
    /// The requests of a burst, concatenated.
    burst: Vec<u8>,
    answers: Vec<u8>,
    in_headers: MultiHeaders<SockaddrStorage>,
    out_headers: MultiHeaders<SockaddrStorage>,
}

impl Lane {
    pub(crate) fn open(
        from: SocketAddr,
        server: SocketAddr,
        template: impl FnOnce(String) -> Template,
        proof: Proof,
        password: String,
        window: usize,
        pace: Pace,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let template = template(socket.local_addr()?.to_string());
        Ok(Self {
            socket,
            template,
            proof,
            password,
            credentials: None,
            credentials_since: Instant::now(),
            number: 0,
            window: window.min(BATCH),
            pace,
            due: Instant::now(),
            sent: Instant::now(),
            under_way: 0,
            done: false,
            last_answer: Instant::now(),
            requests: vec![Vec::new(); BATCH],
            burst: Vec::new(),
            answers: vec![0; BATCH * MAX_ANSWER],
            in_headers: MultiHeaders::preallocate(BATCH, None),
            out_headers: MultiHeaders::preallocate(BATCH, None),
        })
    }

    /// Stops sending. Returns whether no answers are outstanding.
    pub(crate) fn finish(&mut self) -> bool {
        self.done = true;
        self.under_way == 0
    }

    /// Receives answers, gives up lost requests and refills the window. Returns false if there was no
    /// answer.
    pub(crate) fn turn(&mut self, now: Instant, count: &mut Count) -> io::Result<bool> {
        let came = self.take(now, count)?;
        if came > 0 {
            self.last_answer = now;
        } else if self.under_way > 0 && now.duration_since(self.last_answer) > TIMEOUT {
            if !matches!(self.pace, Pace::Flood(_)) {
                count.lost += self.under_way as u64;
            }
            self.under_way = 0;
            self.last_answer = now;
        }
        self.send(now, count)?;
        Ok(came > 0)
    }

    fn take(&mut self, now: Instant, count: &mut Count) -> io::Result<usize> {
        let mut rooms = self.answers.chunks_exact_mut(MAX_ANSWER);
        let mut slices: [_; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let mut lengths = [0; BATCH];
        let mut came = 0;
        match recvmmsg(socket, &mut self.in_headers, slices.iter_mut(), flags, None) {
            Ok(received) => {
                for (length, message) in lengths.iter_mut().zip(received) {
                    *length = message.bytes;
                    came += 1;
                }
            }
            Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let Self { answers, .. } = self;
        for (length, room) in lengths.into_iter().zip(answers.chunks_exact(MAX_ANSWER)).take(came) {
            let answer = room.get(..length).unwrap_or_default();
            let status = answer.get(8..11).and_then(|digits| str::from_utf8(digits).ok());
            let status: usize = status.and_then(|digits| digits.parse().ok()).unwrap_or_default();
            if (100..200).contains(&status) {
                // sends the next request of the pair, whose answer follows
                continue;
            }
            self.under_way = self.under_way.saturating_sub(1);
            if matches!(self.pace, Pace::Calm(_)) {
                count.times.push(now.duration_since(self.sent));
            }
            if let Some(times) = count.statuses.get_mut(status) {
                *times += 1;
            }
            let challenged = matches!(status, 401 | 407) && self.proof != Proof::Nothing;
            if challenged && self.credentials.is_none() {
                let credentials = Credentials::answering(answer, &self.template, &self.password);
                self.credentials =
                    Some(credentials.ok_or_else(|| {
                        io::Error::other("expected an MD5 challenge with qop auth")
                    })?);
                self.credentials_since = self.last_answer;
            } else if challenged || self.proof == Proof::Fresh {
                self.credentials = None;
            }
        }
        Ok(came)
    }

    fn send(&mut self, now: Instant, count: &mut Count) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        if self.proof == Proof::Counted && now.duration_since(self.credentials_since) > NONCE_USE {
            self.credentials = None;
            self.credentials_since = now;
        }
        let asks_first = self.proof != Proof::Nothing && self.credentials.is_none();
        // one challenge serves all following requests, or one request
        let single = matches!(self.pace, Pace::Calm(_)) || self.proof == Proof::Fresh;
        let window = if asks_first || single { 1 } else { self.window };
        let free = match self.pace {
            Pace::Flood(interval) if !asks_first => {
                let burst = (interval * (BURST - 1)).min(BURST_TIME);
                let full = now.saturating_duration_since(self.due) >= burst;
                if full { self.owed(now, interval) } else { 0 }
            }
            Pace::Calm(interval) if self.under_way == 0 => self.owed(now, interval).min(1),
            Pace::Full | Pace::Flood(_) => window.saturating_sub(self.under_way),
            Pace::Calm(_) => 0,
        };
        // send many requests in one call, unless the window is nearly full
        if free == 0 || (self.pace == Pace::Full && free < window / 4) {
            return Ok(());
        }
        self.sent = now;
        if matches!(self.pace, Pace::Flood(_)) && !asks_first {
            return self.send_burst(free, count);
        }
        for request in self.requests.iter_mut().take(free) {
            self.number = self.number.wrapping_add(1);
            request.clear();
            self.template.write(self.number, self.credentials.as_mut(), request);
        }
        let slices: Vec<_> =
            self.requests.iter().take(free).map(|request| [IoSlice::new(request)]).collect();
        let addresses = [const { None }; BATCH];
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let sent = sendmmsg(socket, &mut self.out_headers, &slices, addresses, [], flags);
        let sent = match sent {
            Ok(sent) => sent.count(),
            Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => 0,
            Err(error) => return Err(error.into()),
        };
        count.sent += sent as u64;
        if asks_first || !matches!(self.pace, Pace::Flood(_)) {
            self.under_way += sent;
        }
        Ok(())
    }

    /// Sends requests of a flood in one buffer, which the kernel splits into datagrams (udp(7),
    /// `UDP_SEGMENT`). A burst is cheaper than a call, or a pass through the kernel, for each request.
    fn send_burst(&mut self, requests: usize, count: &mut Count) -> io::Result<()> {
        self.burst.clear();
        let mut length = 0;
        for _ in 0..requests {
            self.number = self.number.wrapping_add(1);
            self.template.write(self.number, self.credentials.as_mut(), &mut self.burst);
            // all requests have the same length, since numbers and counts are padded
            length = if length == 0 { self.burst.len() } else { length };
        }
        let each = u16::try_from(length).map_err(io::Error::other)?;
        for burst in self.burst.chunks(MAX_BYTES / length.max(1) * length) {
            let (pieces, cut) = ([IoSlice::new(burst)], [ControlMessage::UdpGsoSegments(&each)]);
            let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            match sendmsg::<()>(socket, &pieces, &cut, flags, None) {
                Ok(bytes) => count.sent += (bytes / length) as u64,
                Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The number of requests that are due. Those that do not fit in one call are dropped.
    fn owed(&mut self, now: Instant, interval: Duration) -> usize {
        let mut owed = 0;
        while owed < BATCH && self.due <= now {
            self.due += interval;
            owed += 1;
        }
        if self.due <= now {
            self.due = now;
        }
        owed
    }
}
