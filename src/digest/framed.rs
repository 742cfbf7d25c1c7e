//! What a keyed hash is taken of, put together in a fixed buffer: hashing one text in one go costs
//! half of hashing it part by part.

use std::net::IpAddr;

use arrayvec::ArrayVec;

/// Parts in a row. Whoever puts them in sees to it that no two different rows are alike: each part is
/// of fixed length or comes after its length.
#[derive(Default)]
pub(super) struct Framed<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Framed<N> {
    /// Another part.
    #[inline(always)]
    pub(super) fn push(&mut self, part: &[u8]) {
        let fits = self.0.try_extend_from_slice(part).is_ok();
        debug_assert!(fits, "every part has its bound, and N is the sum of them");
    }

    /// A part of any length, after its length.
    #[inline(always)]
    pub(super) fn part(&mut self, part: &[u8]) {
        self.push(&part.len().to_le_bytes());
        self.push(part);
    }

    /// An address of either family, or none.
    #[inline(always)]
    pub(super) fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.push(&[0]),
            Some(IpAddr::V4(address)) => {
                self.push(&[4]);
                self.push(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.push(&[6]);
                self.push(&address.octets());
            }
        }
    }

    #[inline(always)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
