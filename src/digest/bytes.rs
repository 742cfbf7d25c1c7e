//! Arrays of bytes, for code that is generic over their length.

/// An array of bytes, for code that is generic over its length.
pub(crate) trait Bytes: Copy + Sized {
    const LEN: usize;
    const ZERO: Self;

    /// Converts a slice; `None` if it has another length.
    fn from_slice(bytes: &[u8]) -> Option<&Self>;

    /// Returns the start of a slice; `None` if it is too short.
    fn prefix_mut(bytes: &mut [u8]) -> Option<&mut Self>;

    fn as_bytes(&self) -> &[u8];

    fn as_bytes_mut(&mut self) -> &mut [u8];
}

impl<const N: usize> Bytes for [u8; N] {
    const LEN: usize = N;
    const ZERO: Self = [0; N];

    #[inline(always)]
    fn from_slice(bytes: &[u8]) -> Option<&Self> {
        bytes.try_into().ok()
    }

    #[inline(always)]
    fn prefix_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        bytes.first_chunk_mut()
    }

    #[inline(always)]
    fn as_bytes(&self) -> &[u8] {
        self
    }

    #[inline(always)]
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
