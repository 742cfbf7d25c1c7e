//! The texts of a record, in an area of fixed size.

use std::borrow::Cow;

/// Declares [`Text`]: each text with the name of its field, and the bytes that no other text can take from
/// it.
macro_rules! texts {
    ($($name:ident, $key:literal, $own:literal;)*) => {
        /// A text that the caller wrote.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Text {
            $($name,)*
        }

        impl Text {
            /// All texts, in the order of their indices.
            pub(super) const ALL: [Self; COUNT] = [$(Self::$name),*];

            /// The name of the field in logs.
            pub(super) const fn key(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)*
                }
            }

            /// The bytes that are kept for this text.
            const fn own(self) -> usize {
                match self {
                    $(Self::$name => $own,)*
                }
            }
        }

        /// The number of texts.
        const COUNT: usize = [$($key),*].len();
        /// The size of the area in bytes.
        const AREA: usize = 0 $(+ $own)*;
    };
}

texts! {
    // a user name has 64 bytes at most, so an accepted one is never shortened
    ClaimedUser, "claimed_user", 64;
    Host, "host", 48;
    Called, "called", 32;
    From, "from", 32;
    Realm, "realm", 32;
    CallId, "call_id", 56;
    UserAgent, "user_agent", 32;
}

/// Texts one behind the other.
#[derive(Clone)]
pub(super) struct Texts {
    area: [u8; AREA],
    lengths: [u8; COUNT],
    /// A bit for each text.
    shortened: u8,
}

const _: () = assert!(COUNT <= 8, "each text has a bit");

impl Default for Texts {
    fn default() -> Self {
        Self { area: [0; AREA], lengths: [0; COUNT], shortened: 0 }
    }
}

impl Texts {
    /// Copies texts, which are in the order of [`Text::ALL`]. A text that is too long is shortened, but it
    /// can take the bytes that the others do not need.
    pub(super) fn of(parts: [(Text, &[u8]); COUNT]) -> Self {
        let mut texts = Self::default();
        let need = |(text, part): &(Text, &[u8])| part.len().min(text.own());
        let mut kept: usize = parts.iter().map(need).sum();
        let mut start = 0;
        for ((text, part), length) in parts.iter().zip(&mut texts.lengths) {
            kept -= need(&(*text, part));
            let most = (AREA - start - kept).min(usize::from(u8::MAX));
            let taken = part.get(..most).unwrap_or(part);
            if taken.len() < part.len() {
                texts.shortened |= 1 << (*text as u8);
            }
            if let Some(place) = texts.area.get_mut(start..start + taken.len()) {
                place.copy_from_slice(taken);
            }
            start += taken.len();
            *length = u8::try_from(taken.len()).unwrap_or(u8::MAX);
        }
        texts
    }

    /// The text; none if it is empty. Bytes that are not UTF-8 are replaced.
    pub(super) fn get(&self, text: Text) -> Option<Cow<'_, str>> {
        let at = text as usize;
        let before = self.lengths.get(..at)?.iter().map(|length| usize::from(*length));
        let start: usize = before.sum();
        let length = usize::from(*self.lengths.get(at)?);
        let mut bytes = self.area.get(start..start + length)?;
        if self.is_shortened(text)
            && let Err(error) = str::from_utf8(bytes)
            && error.error_len().is_none()
        {
            // a character that was cut
            bytes = bytes.get(..error.valid_up_to())?;
        }
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
    }

    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths == [0; COUNT]
    }

    /// Whether the caller's text was longer.
    pub(super) fn is_shortened(&self, text: Text) -> bool {
        self.shortened & 1 << (text as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_takes_only_free_bytes() {
        let long = [b'x'; 10_000];
        let full = Texts::of(Text::ALL.map(|text| (text, &long[..])));
        for text in Text::ALL {
            assert_eq!(full.get(text).unwrap().len(), text.own(), "{text:?}");
            assert!(full.is_shortened(text));
        }
        // alone it has at most 255 bytes
        for alone in Text::ALL {
            let texts = Texts::of(Text::ALL.map(|text| match text == alone {
                true => (text, &long[..]),
                false => (text, &b""[..]),
            }));
            assert_eq!(texts.get(alone).unwrap().len(), 255);
            assert_eq!(Text::ALL.iter().filter(|text| texts.get(**text).is_some()).count(), 1);
        }
    }

    #[test]
    fn a_shortened_text_ends_with_a_whole_character() {
        let long = "ü".repeat(200);
        let odd = format!("a{long}");
        for text in [long, odd] {
            let texts = Texts::of(Text::ALL.map(|name| (name, text.as_bytes())));
            for name in Text::ALL {
                let kept = texts.get(name).unwrap();
                assert!(text.starts_with(&*kept) && kept.len() + 1 >= name.own(), "{kept}");
            }
        }
        // bytes of the caller that are no UTF-8 are shown
        let texts = Texts::of(Text::ALL.map(|name| (name, &b"a\xff"[..])));
        assert_eq!(texts.get(Text::From).unwrap(), "a\u{fffd}");
    }

    proptest! {
        #[test]
        fn each_text_is_the_start_of_the_callers_text(
            parts in prop::array::uniform7(prop::collection::vec(b' '..=b'~', 0..400))
        ) {
            let mut all = parts.iter();
            let texts = Texts::of(Text::ALL.map(|text| (text, &all.next().unwrap()[..])));
            for (text, part) in Text::ALL.into_iter().zip(&parts) {
                let kept = texts.get(text).unwrap_or_default();
                prop_assert!(part.starts_with(kept.as_bytes()));
                prop_assert!(kept.len() >= part.len().min(text.own()));
                prop_assert_eq!(texts.is_shortened(text), kept.len() < part.len());
            }
        }
    }
}
