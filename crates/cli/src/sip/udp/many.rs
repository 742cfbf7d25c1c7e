//! Receives and sends many datagrams per system call (Linux).

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
};

use super::MAX_DATAGRAM;
use crate::sip::edge::{BATCH, BatchScratch};

/// The distance between two buffers in bytes: an odd number of cache lines. With a power of two the
/// buffers would compete for a few cache sets.
const STRIDE: usize = MAX_DATAGRAM.next_multiple_of(64) + 33 * 64;

/// The maximum segment size for `UDP_SEGMENT`, which refuses segments above the MTU: the minimum MTU of
/// IPv6 less the IPv6 and UDP headers.
const MAX_SEGMENT: usize = 1_280 - 40 - 8;
/// The maximum size of one send with `UDP_SEGMENT`: the maximum datagram less the headers.
const MAX_SEND: usize = MAX_DATAGRAM - 40 - 8;

/// The time after a full send buffer in which half of it is kept for known callers.
const PRESSED: Duration = Duration::from_secs(60);

/// The received datagrams of a batch.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
    received: ArrayVec<(usize, SocketAddr), BATCH>,
    /// Whether more than [`FEW`] datagrams may come at once.
    expects_many: bool,
}

/// The number of datagrams for which a receive prepares first if few came last time. To prepare for a
/// whole batch takes as long as to read a message.
const FEW: usize = 8;

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            // zeroed pages take no memory until a datagram is written to them
            bytes: vec![0; BATCH * STRIDE],
            headers: MultiHeaders::preallocate(BATCH, None),
            received: ArrayVec::new(),
            expects_many: false,
        }
    }

    /// Receives up to [`BATCH`] datagrams. With `wait` it waits for the first one.
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> std::io::Result<()> {
        self.received.clear();
        if self.expects_many {
            self.receive_up_to::<BATCH>(socket, wait)?;
        } else {
            self.receive_up_to::<FEW>(socket, wait)?;
            if self.received.len() == FEW {
                // fails if no more are waiting; the next receive gets any other error
                let _ = self.receive_up_to::<{ BATCH - FEW }>(socket, false);
            }
        }
        self.expects_many = self.received.len() >= FEW;
        Ok(())
    }

    /// Receives up to `MOST` datagrams behind those that were received.
    fn receive_up_to<const MOST: usize>(
        &mut self,
        socket: &UdpSocket,
        wait: bool,
    ) -> std::io::Result<()> {
        let buffers = self.bytes.chunks_exact_mut(STRIDE).skip(self.received.len());
        let mut buffers = buffers.filter_map(<[u8]>::first_chunk_mut);
        let mut slices: [_; MOST] = std::array::from_fn(|_| {
            let buffer: &mut [u8] = match buffers.next() {
                Some(buffer) => buffer as &mut [u8; MAX_DATAGRAM],
                None => &mut [],
            };
            [IoSliceMut::new(buffer)]
        });
        let flags = if wait { MsgFlags::MSG_WAITFORONE } else { MsgFlags::MSG_DONTWAIT };
        let socket = socket.as_raw_fd();
        let received = recvmmsg(socket, &mut self.headers, slices.iter_mut(), flags, None)?;
        for message in received {
            // without a source there is no answer; an empty datagram never gets one
            let (length, source) = match message.address.as_ref().and_then(address_of) {
                Some(source) => (message.bytes, source),
                None => (0, SocketAddr::from(([0; 4], 0))),
            };
            let _ = self.received.try_push((length, source));
        }
        Ok(())
    }

    /// Whether more datagrams may be waiting at the socket.
    pub(super) fn is_full(&self) -> bool {
        self.received.is_full()
    }

    /// The datagrams of the last receive, with their sources.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let received = self.received.iter().zip(self.bytes.chunks_exact(STRIDE));
        received
            .map(|((length, source), bytes)| (bytes.get(..*length).unwrap_or_default(), *source))
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddrV4::from(*v4).into()),
        (_, Some(v6)) => Some(SocketAddrV6::from(*v6).into()),
        _ => None,
    }
}

/// Sends a batch of answers; holds reusable buffers.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    /// The last time at which the send buffer was full.
    full: Option<Instant>,
}

/// The destination of an answer, and the answer.
type Answer<'a> = (SocketAddr, &'a [u8]);

impl Outbox {
    pub(super) fn new() -> Self {
        Self { headers: MultiHeaders::preallocate(BATCH, None), full: None }
    }

    /// Sends all answers; calls `unsent` for each that fails. It does not wait for room in the send
    /// buffer. If the buffer was full lately and is more than half full, only sources that `is_known`
    /// get their answers.
    ///
    /// Forwarded messages keep their order.
    ///
    /// Answers of equal length to one destination are sent with one call, which the kernel segments
    /// (udp(7), `UDP_SEGMENT`). This halves the cost of sending if most calls come from few proxies.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        scratch: &BatchScratch,
        is_known: impl Fn(SocketAddr) -> bool,
        unsent: impl Fn(),
    ) {
        let pressed = self.full.is_some_and(|full| full.elapsed() < PRESSED);
        let only_known = pressed && !is_half_free(socket);
        let mut answers = ArrayVec::<Answer<'_>, BATCH>::new();
        // a 180 must not be overtaken by its 200, or an ACK by a BYE
        let mut in_order = ArrayVec::<Answer<'_>, BATCH>::new();
        for ((bytes, to), source) in scratch.answers().zip(scratch.answered()).take(BATCH) {
            match source {
                None => {
                    let _ = in_order.try_push((to, bytes));
                }
                Some(source) if only_known && !is_known(source) => unsent(),
                Some(_) => {
                    let _ = answers.try_push((to, bytes));
                }
            }
        }
        // the order changes only between answers of different lengths; UDP keeps no order anyway
        answers.sort_by_key(|(to, bytes)| (*to, bytes.len()));
        let mut single = ArrayVec::<_, BATCH>::new();
        for alike in answers.chunk_by(|one, two| one.0 == two.0 && one.1.len() == two.1.len()) {
            let length = alike.first().map_or(1, |(_, bytes)| bytes.len().max(1));
            for piece in alike.chunks((MAX_SEND / length).max(1)) {
                if !send_segmented(socket, piece) {
                    single.extend(piece.iter().copied());
                }
            }
        }
        // a batch has no more messages than fit
        single.extend(in_order);
        self.send_each(socket, &single, &unsent);
    }

    fn send_each(&mut self, socket: &UdpSocket, answers: &[Answer<'_>], unsent: &impl Fn()) {
        let mut slices = ArrayVec::<_, BATCH>::new();
        let mut addresses = ArrayVec::<_, BATCH>::new();
        for (to, bytes) in answers {
            slices.push([IoSlice::new(bytes)]);
            addresses.push(Some(SockaddrStorage::from(*to)));
        }
        let mut at = 0;
        while at < slices.len() {
            let slices = slices.get(at..).unwrap_or_default();
            let addresses = addresses.get(at..).unwrap_or_default();
            let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            at += match sendmmsg(socket, &mut self.headers, slices, addresses, [], flags) {
                // the number of answers before the first failure
                Ok(sent) => sent.count().max(1),
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    if error == Errno::EAGAIN {
                        self.full = Some(Instant::now());
                    }
                    unsent();
                    1
                }
            };
        }
    }
}

/// Whether at least half of the send buffer is free: this is when Linux reports a UDP socket as writable.
fn is_half_free(socket: &UdpSocket) -> bool {
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let _ = poll(&mut polled, PollTimeout::ZERO);
    let is_writable =
        |it: &PollFd<'_>| it.revents().is_some_and(|it| it.contains(PollFlags::POLLOUT));
    polled.iter().any(is_writable)
}

/// Sends answers of equal length to one destination with one call.
///
/// Returns false, and sends none, for a single answer, for answers above [`MAX_SEGMENT`], and if the
/// kernel or the path does not support it.
fn send_segmented(socket: &UdpSocket, alike: &[Answer<'_>]) -> bool {
    let [(to, first), _, ..] = alike else { return false };
    let length = u16::try_from(first.len()).ok().filter(|_| first.len() <= MAX_SEGMENT);
    let Some(length) = length else { return false };
    let pieces: ArrayVec<_, BATCH> = alike.iter().map(|(_, bytes)| IoSlice::new(bytes)).collect();
    let (cut, to) = ([ControlMessage::UdpGsoSegments(&length)], SockaddrStorage::from(*to));
    sendmsg(socket.as_raw_fd(), &pieces, &cut, MsgFlags::MSG_DONTWAIT, Some(&to)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use sip_authz::model::OnAccept;
    use sip_authz::{Authorizer, Snapshot, Transport};
    use socket2::SockRef;

    use super::*;
    use crate::args::ReplyPort;
    use crate::observe::observers::DecisionObservers;
    use crate::sip::edge::Edge;
    use crate::sip::peer::Peer;
    use crate::sip::respond::TagKey;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;rport;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    /// More data of the same datagram follows (send(2)).
    const MSG_MORE: i32 = 0x8000;

    fn bound() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    }

    #[test]
    fn half_of_a_full_send_buffer_is_kept_for_known_callers() {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let (tags, observers) = (TagKey::random().unwrap(), DecisionObservers::default());
        let edge = Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers);
        let (socket, known, stranger) = (bound(), bound(), bound());
        SockRef::from(&socket).set_send_buffer_size(1).unwrap();
        let peer = |of: &UdpSocket| Peer {
            source: of.local_addr().unwrap(),
            local: socket.local_addr().unwrap().into(),
            transport: Transport::Udp,
        };
        let mut scratch = BatchScratch::default();
        let requests = [(OPTIONS, peer(&known)), (OPTIONS, peer(&stranger))];
        edge.answer_batch(requests.into_iter(), Instant::now(), &mut scratch);

        let (mut outbox, unsent) = (Outbox::new(), Cell::new(0));
        let mut send = |full: Option<Instant>| {
            outbox.full = full;
            unsent.set(0);
            let is_known = |source| source == known.local_addr().unwrap();
            outbox.send(&socket, &scratch, is_known, || unsent.set(unsent.get() + 1));
            let received = [&known, &stranger].map(|of| of.recv(&mut [0; 8_192]).is_ok());
            (unsent.get(), received)
        };
        assert_eq!(send(None), (0, [true; 2]));
        assert_eq!(send(Some(Instant::now())), (0, [true; 2]), "it was full, and is empty");
        // a datagram that is not complete yet takes room, as one does that waits for an address
        let fill = || {
            let to = known.local_addr().unwrap().into();
            SockRef::from(&socket).send_to_with_flags(&[b'.'; 3_000], &to, MSG_MORE).unwrap();
            assert!(!is_half_free(&socket));
        };
        fill();
        assert_eq!(send(Some(Instant::now())), (1, [true, false]));
        assert!(is_half_free(&socket));
        fill();
        assert_eq!(send(None).0, 0, "it was never full");
    }
}
