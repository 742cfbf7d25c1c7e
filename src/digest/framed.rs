//! What a keyed hash is taken of, put together in a fixed buffer: hashing one text in one go costs
//! half of hashing it part by part.

use std::net::IpAddr;

use arrayvec::ArrayVec;

/// Parts in a row, written so that no two different rows are alike: each part is of fixed length or
/// comes after its length.
#[derive(Default)]
pub(super) struct Framed<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Framed<N> {
    /// A part that is always of this length.
    #[inline]
    pub(super) fn fixed(&mut self, part: &[u8]) {
        let fits = self.0.try_extend_from_slice(part).is_ok();
        debug_assert!(fits, "every part has its bound, and N is the sum of them");
    }

    /// A part of any length.
    #[inline]
    pub(super) fn part(&mut self, part: &[u8]) {
        self.fixed(&part.len().to_le_bytes());
        self.fixed(part);
    }

    /// An address of either family, or none.
    #[inline]
    pub(super) fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.fixed(&[0]),
            Some(IpAddr::V4(address)) => {
                self.fixed(&[4]);
                self.fixed(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.fixed(&[6]);
                self.fixed(&address.octets());
            }
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
