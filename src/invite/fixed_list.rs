//! A short list stored inline.

use std::array;
use std::ops::Deref;

/// At most `N` values, stored inline.
///
/// It has no destructor, so a value with borrows does not keep them borrowed until it goes out of scope.
/// Most lists are empty or have one value, so the array is written only for a second value.
#[derive(Clone)]
pub(super) enum FixedList<T: Copy, const N: usize> {
    Empty,
    One(T),
    /// The number of values, at least two, and the values. The rest of the array has no meaning.
    Several(usize, [T; N]),
}

impl<T: Copy, const N: usize> FixedList<T, N> {
    pub(super) const fn new() -> Self {
        const { assert!(N > 1, "a list of one value needs no array") };
        Self::Empty
    }

    /// Adds a value at the end. Returns false, and adds nothing, if the list is full.
    pub(super) fn push(&mut self, value: T) -> bool {
        match self {
            Self::Empty => *self = Self::One(value),
            Self::One(first) => {
                let first = *first;
                *self = Self::Several(2, array::from_fn(|at| if at == 1 { value } else { first }));
            }
            Self::Several(len, values) => {
                let Some(place) = values.get_mut(*len) else { return false };
                *place = value;
                *len += 1;
            }
        }
        true
    }
}

impl<T: Copy, const N: usize> Deref for FixedList<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Empty => &[],
            Self::One(value) => array::from_ref(value),
            Self::Several(len, values) => values.get(..*len).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_first_values_in_order() {
        let mut list = FixedList::<_, 4>::new();
        for len in 0..8 {
            assert_eq!(*list, [0, 1, 2, 3][..len.min(4)]);
            assert_eq!(*list.clone(), *list);
            assert_eq!(list.push(len), len < 4);
        }
    }

    #[test]
    fn a_list_has_no_destructor() {
        assert!(!std::mem::needs_drop::<FixedList<&[u8], 16>>());
    }
}
