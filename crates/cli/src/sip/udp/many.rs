//! Many datagrams by one call of the system, in and out.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;

use arrayvec::ArrayVec;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
};

use super::MAX_DATAGRAM;
use crate::sip::edge::{BATCH, Desk};

/// From the start of one buffer to that of the next: odd in cache lines, since buffers a power of
/// two apart would share a few places of the cache.
const STRIDE: usize = MAX_DATAGRAM.next_multiple_of(64) + 33 * 64;

/// The longest answers that the kernel is to cut from a piece, since it cuts none that would not pass
/// in one packet: IPv6's least MTU, less its header and UDP's.
const MOST_CUT: usize = 1_280 - 40 - 8;
/// The longest piece: as long as a datagram may be, less the headers.
const MOST_PIECE: usize = MAX_DATAGRAM - 40 - 8;

/// The datagrams of a batch.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
    received: ArrayVec<(usize, SocketAddr), BATCH>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            // memory that no datagram has reached is not there yet
            bytes: vec![0; BATCH * STRIDE],
            headers: MultiHeaders::preallocate(BATCH, None),
            received: ArrayVec::new(),
        }
    }

    /// Takes all datagrams that have come and fit, and waits for the first if it is to.
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> std::io::Result<()> {
        self.received.clear();
        let mut buffers = self.bytes.chunks_exact_mut(STRIDE).filter_map(<[u8]>::first_chunk_mut);
        let mut slices: [_; BATCH] = std::array::from_fn(|_| {
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
            // without an address it cannot be answered; one of length 0 is never answered
            let (length, source) = match message.address.as_ref().and_then(address_of) {
                Some(source) => (message.bytes, source),
                None => (0, SocketAddr::from(([0; 4], 0))),
            };
            let _ = self.received.try_push((length, source));
        }
        Ok(())
    }

    /// Whether there may be more than was received last.
    pub(super) fn is_full(&self) -> bool {
        self.received.is_full()
    }

    /// What was received last.
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

/// What it takes to send a batch of answers.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
}

/// An answer and where it goes.
type Answer<'a> = (SocketAddr, &'a [u8]);

impl Outbox {
    pub(super) fn new() -> Self {
        Self { headers: MultiHeaders::preallocate(BATCH, None) }
    }

    /// Sends all answers; each that cannot be sent is told to `unsent`. Those of one length to one
    /// place go through the kernel as one, which cuts them (udp(7), `UDP_SEGMENT`): where most calls
    /// come from a few proxies, that is half the work of sending.
    pub(super) fn send(&mut self, socket: &UdpSocket, desk: &Desk, unsent: impl Fn()) {
        let mut answers: ArrayVec<Answer<'_>, BATCH> =
            desk.answers().take(BATCH).map(|(bytes, to)| (to, bytes)).collect();
        // answers to one place stay in order if they are of one length; datagrams have none anyway
        answers.sort_by_key(|(to, bytes)| (*to, bytes.len()));
        let mut single = ArrayVec::<_, BATCH>::new();
        for alike in answers.chunk_by(|one, two| one.0 == two.0 && one.1.len() == two.1.len()) {
            let length = alike.first().map_or(1, |(_, bytes)| bytes.len().max(1));
            for piece in alike.chunks((MOST_PIECE / length).max(1)) {
                if !send_as_one(socket, piece) {
                    single.extend(piece.iter().copied());
                }
            }
        }
        self.send_each(socket, &single, unsent);
    }

    fn send_each(&mut self, socket: &UdpSocket, answers: &[Answer<'_>], unsent: impl Fn()) {
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
            let (socket, flags) = (socket.as_raw_fd(), MsgFlags::empty());
            at += match sendmmsg(socket, &mut self.headers, slices, addresses, [], flags) {
                // those before one that cannot be sent
                Ok(sent) => sent.count().max(1),
                Err(Errno::EINTR) => 0,
                Err(_) => {
                    unsent();
                    1
                }
            };
        }
    }
}

/// Sends answers of one length to one place in one piece. False, with none sent, if there is but one,
/// if they are too long, or where the kernel cannot: an old one, or on a way that takes only shorter
/// packets.
fn send_as_one(socket: &UdpSocket, alike: &[Answer<'_>]) -> bool {
    let [(to, first), _, ..] = alike else { return false };
    let length = u16::try_from(first.len()).ok().filter(|_| first.len() <= MOST_CUT);
    let Some(length) = length else { return false };
    let pieces: ArrayVec<_, BATCH> = alike.iter().map(|(_, bytes)| IoSlice::new(bytes)).collect();
    let (cut, to) = ([ControlMessage::UdpGsoSegments(&length)], SockaddrStorage::from(*to));
    sendmsg(socket.as_raw_fd(), &pieces, &cut, MsgFlags::empty(), Some(&to)).is_ok()
}
