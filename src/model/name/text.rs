//! A string that stores short texts inline. Most names are short and there are millions of them: a
//! heap allocation for each would double the memory, and each comparison would follow a pointer.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A text of any length, stored inline up to `N` bytes.
#[derive(Clone)]
pub(super) enum Text<const N: usize> {
    Inline { len: u8, bytes: [u8; N] },
    Shared(Arc<str>),
}

impl<const N: usize> Text<N> {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Inline { len, bytes }
            }
            _ => Self::Shared(text.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Shared(text) => text.as_bytes(),
        }
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // `new` copied the bytes from a `str`
            Self::Inline { .. } => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Shared(text) => text,
        }
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for Text<N> {}

impl<const N: usize> PartialOrd for Text<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Text<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        // UTF-8 sorts by its bytes
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const N: usize> Hash for Text<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // must equal the hash of `str`, because names implement `Borrow<str>`
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn inline_and_shared_texts_behave_like_str() {
        let texts = ["", "a", "b", "aé", "12345678", "123456789", "1234567é", "éééééééé", "zz"];
        let hasher = RandomState::new();
        for one in texts {
            let text = Text::<8>::new(one);
            assert_eq!((&*text, text.as_bytes()), (one, one.as_bytes()));
            assert_eq!(matches!(text, Text::Inline { .. }), one.len() <= 8);
            assert_eq!(hasher.hash_one(&text), hasher.hash_one(one));
            for two in texts {
                let other = Text::<8>::new(two);
                assert_eq!(text == other, one == two);
                assert_eq!(text.cmp(&other), one.cmp(two));
                assert_eq!(text.clone().partial_cmp(&other), one.partial_cmp(two));
            }
        }
        assert_eq!((size_of::<Option<Text<22>>>(), size_of::<Option<Text<30>>>()), (24, 32));
    }
}
