//! One socket with its requests under way.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
};

use crate::count::Count;
use crate::message::{Credentials, Template};

/// The most datagrams that are sent or taken by one call.
const BATCH: usize = 64;
/// The most bytes that go by one call where the kernel cuts them into datagrams.
const MOST_BYTES: usize = 65_000;
/// A flood is sent in lots of this many, or of what is due in this time if that is less.
const LOT: u32 = 32;
const LOT_TIME: Duration = Duration::from_millis(2);
/// Room for an answer.
const ROOM: usize = 4_096;
/// What is not answered by then is lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a nonce is used.
const NONCE_USE: Duration = Duration::from_secs(20);

/// What the requests of a lane carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// No credentials.
    Nothing,
    /// The answer to one challenge for many requests, with a count that goes up.
    Counted,
    /// As `Counted`, to a challenge for each request; both count.
    Fresh,
}

/// When the requests of a lane are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As many are under way as the window holds.
    Full,
    /// One at a time, this long after the other; how long each answer takes is told.
    Calm(Duration),
    /// One each so often, whether answers come or not; what is lost is not counted.
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
    /// When the next request is due, unless the pace is full.
    due: Instant,
    sent: Instant,
    under_way: usize,
    /// Nothing more is sent.
    done: bool,
    last_answer: Instant,
    requests: Vec<Vec<u8>>,
    /// Requests of a flood, one behind the other.
    lot: Vec<u8>,
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
            lot: Vec::new(),
            answers: vec![0; BATCH * ROOM],
            in_headers: MultiHeaders::preallocate(BATCH, None),
            out_headers: MultiHeaders::preallocate(BATCH, None),
        })
    }

    /// Sends nothing more. False while answers are still waited for.
    pub(crate) fn finish(&mut self) -> bool {
        self.done = true;
        self.under_way == 0
    }

    /// Takes the answers that have come, gives up what is lost, and fills the window again. False
    /// if nothing had come.
    pub(crate) fn turn(&mut self, now: Instant, count: &mut Count) -> io::Result<bool> {
        let came = self.take(now, count)?;
        if came > 0 {
            self.last_answer = now;
        } else if self.under_way > 0 && now.duration_since(self.last_answer) > PATIENCE {
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
        let mut rooms = self.answers.chunks_exact_mut(ROOM);
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
        for (length, room) in lengths.into_iter().zip(answers.chunks_exact(ROOM)).take(came) {
            let answer = room.get(..length).unwrap_or_default();
            let status = answer.get(8..11).and_then(|digits| str::from_utf8(digits).ok());
            let status: usize = status.and_then(|digits| digits.parse().ok()).unwrap_or_default();
            if (100..200).contains(&status) {
                // another answer follows
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
                    Some(credentials.ok_or_else(|| io::Error::other("no challenge to answer"))?);
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
        // a challenge is for all that follow, or for one
        let single = matches!(self.pace, Pace::Calm(_)) || self.proof == Proof::Fresh;
        let window = if asks_first || single { 1 } else { self.window };
        let free = match self.pace {
            Pace::Flood(interval) if !asks_first => {
                let lot = (interval * (LOT - 1)).min(LOT_TIME);
                let full = now.saturating_duration_since(self.due) >= lot;
                if full { self.owed(now, interval) } else { 0 }
            }
            Pace::Calm(interval) if self.under_way == 0 => self.owed(now, interval).min(1),
            Pace::Full | Pace::Flood(_) => window.saturating_sub(self.under_way),
            Pace::Calm(_) => 0,
        };
        // several by one call, as far as that leaves none waiting
        if free == 0 || (self.pace == Pace::Full && free < window / 4) {
            return Ok(());
        }
        self.sent = now;
        if matches!(self.pace, Pace::Flood(_)) && !asks_first {
            return self.send_lot(free, count);
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

    /// Sends requests of a flood as one piece, which the kernel cuts into datagrams (udp(7),
    /// `UDP_SEGMENT`): that costs less than a call, or a way through the kernel, for each.
    fn send_lot(&mut self, requests: usize, count: &mut Count) -> io::Result<()> {
        self.lot.clear();
        let mut length = 0;
        for _ in 0..requests {
            self.number = self.number.wrapping_add(1);
            self.template.write(self.number, self.credentials.as_mut(), &mut self.lot);
            // numbers and counts are written with as many digits each time
            length = if length == 0 { self.lot.len() } else { length };
        }
        let each = u16::try_from(length).map_err(io::Error::other)?;
        for lot in self.lot.chunks(MOST_BYTES / length.max(1) * length) {
            let (pieces, cut) = ([IoSlice::new(lot)], [ControlMessage::UdpGsoSegments(&each)]);
            let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            match sendmsg::<()>(socket, &pieces, &cut, flags, None) {
                Ok(bytes) => count.sent += (bytes / length) as u64,
                Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How many requests are due by now. What one call cannot send is given up.
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
