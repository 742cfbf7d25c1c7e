//! Integer operations on addresses that the table needs, for both families.

/// An address as an integer.
pub(super) trait Address: Copy + Ord + std::fmt::Debug + 'static {
    /// The stored form. Its alignment is at most that of a prefix number, which avoids padding in
    /// [`Cut`](super::cuts::Cut).
    type Kept: Copy + std::fmt::Debug;

    /// Number of `u32` words of an address.
    const WORDS: usize;

    /// Whether an address is one word, so that several fit in registers and comparing is cheap.
    const NARROW: bool = Self::WORDS == 1;

    /// The lowest address.
    const ZERO: Self;

    fn keep(self) -> Self::Kept;

    fn kept(kept: Self::Kept) -> Self;

    /// The next address; none for the highest.
    fn next(self) -> Option<Self>;

    /// Number of significant bits of the distance from `lower`.
    fn distance_bits(self, lower: Self) -> u32;

    /// The distance from `lower`, shifted right and clamped to `0..=max`. Monotonic in the address.
    fn slot(self, lower: Self, shift: u32, max: u32) -> u32;

    fn write(self, words: &mut Vec<u32>);

    /// Reads an address from the start of `words`; also returns the rest.
    fn read(words: &[u32]) -> Option<(Self, &[u32])>;
}

impl Address for u32 {
    type Kept = Self;
    const WORDS: usize = 1;
    const ZERO: Self = 0;

    #[inline]
    fn keep(self) -> Self {
        self
    }

    #[inline]
    fn kept(kept: Self) -> Self {
        kept
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn distance_bits(self, lower: Self) -> u32 {
        Self::BITS - self.saturating_sub(lower).leading_zeros()
    }

    #[inline]
    fn slot(self, lower: Self, shift: u32, max: u32) -> u32 {
        self.saturating_sub(lower).wrapping_shr(shift).min(max)
    }

    fn write(self, words: &mut Vec<u32>) {
        words.push(self);
    }

    #[inline]
    fn read(words: &[u32]) -> Option<(Self, &[u32])> {
        let (addr, rest) = words.split_first()?;
        Some((*addr, rest))
    }
}

impl Address for u128 {
    type Kept = [u8; 16];
    const WORDS: usize = 4;
    const ZERO: Self = 0;

    #[inline]
    fn keep(self) -> [u8; 16] {
        self.to_ne_bytes()
    }

    #[inline]
    fn kept(kept: [u8; 16]) -> Self {
        Self::from_ne_bytes(kept)
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn distance_bits(self, lower: Self) -> u32 {
        Self::BITS - self.saturating_sub(lower).leading_zeros()
    }

    #[inline]
    fn slot(self, lower: Self, shift: u32, max: u32) -> u32 {
        let slot = if shift >= 64 {
            // common case: use the upper half only. Ignoring the borrow from the lower half can
            // increase the distance by one, but equally for all addresses with the same upper half
            high(self).saturating_sub(high(lower)).wrapping_shr(shift)
        } else {
            let slot = self.saturating_sub(lower).wrapping_shr(shift);
            u64::try_from(slot).unwrap_or(u64::MAX)
        };
        u32::try_from(slot.min(max.into())).unwrap_or(max)
    }

    fn write(self, words: &mut Vec<u32>) {
        words.extend([0, 32, 64, 96].map(|shift| {
            let [a, b, c, d, ..] = (self >> shift).to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        }));
    }

    #[inline]
    fn read(words: &[u32]) -> Option<(Self, &[u32])> {
        let (&[a, b, c, d], rest) = words.split_first_chunk()?;
        let [a, b, c, d] = [a, b, c, d].map(Self::from);
        Some((a | b << 32 | c << 64 | d << 96, rest))
    }
}

/// The upper 64 bits.
#[inline]
fn high(addr: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = addr.to_be_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
