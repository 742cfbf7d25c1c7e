//! Writes text from the network into logs and onto terminals.

use std::fmt::{self, Write as _};

/// Writes a name into a line of text, so that it cannot end its quotes, the line, or hide.
///
/// The result is one line of printable text, and different names give different texts. These
/// characters are escaped: a backslash as `\\`, a quotation mark as `\"` and a backtick as `` \` ``;
/// as `\u{2028}` those that [`escape_line`] escapes. Other characters stay as they are. Put the
/// result in quotation marks or backticks: a name may begin or end with a space.
///
/// ```
/// let name = "bob\" source=192.0.2.1\u{202e}\n\\";
/// let text = format!("user=\"{}\"", sip_authz::escape_name(name));
/// assert_eq!(text, r#"user="bob\" source=192.0.2.1\u{202e}\u{a}\\""#);
/// ```
pub fn escape_name(name: &str) -> impl fmt::Display {
    Escaped { text: name, quotes: true }
}

/// Writes a text as one line without characters that change how a terminal shows it.
///
/// These characters are escaped, as `\u{2028}`: control and format characters, which include the
/// bidirectional controls; line and paragraph separators and spaces other than U+0020; combining
/// marks; unassigned and private characters; characters without a shape; and letters of scripts that
/// run from right to left, since a terminal may reorder the text around them. Quotation marks and
/// backslashes stay, so use [`escape_name`] for a part of a line that must be read back.
pub fn escape_line(text: &str) -> impl fmt::Display {
    Escaped { text, quotes: false }
}

struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            if self.quotes && matches!(c, '\\' | '"' | '`') {
                f.write_char('\\')?;
                f.write_char(c)?;
            } else if is_printable(c) {
                f.write_char(c)?;
            } else {
                write!(f, "{}", c.escape_unicode())?;
            }
        }
        Ok(())
    }
}

/// Whether the character has a shape of its own that leaves the text around it in place.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // the blocks whose letters run from right to left (Unicode, DerivedBidiClass)
        '\u{590}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}' => false,
        // letters and symbols that are blank
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => false,
        // std escapes characters that are not printable or combine with the one before
        c => c.escape_debug().len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The name that [`escape_name`] has written.
    fn unescaped(text: &str) -> Option<String> {
        let (mut name, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c != '\\' {
                name.push(c);
            } else if let Some(code) = rest.strip_prefix("u{") {
                let (digits, after) = code.split_once('}')?;
                name.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest = after;
            } else {
                let quoted = rest.chars().next().filter(|c| "\\\"`".contains(*c))?;
                name.push(quoted);
                rest = &rest[1..];
            }
        }
        Some(name)
    }

    /// Whether a quotation mark or backtick stands without a backslash of its own.
    fn ends_early(text: &str) -> bool {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' if chars.next().is_none() => return true,
                '"' | '`' => return true,
                _ => {}
            }
        }
        false
    }

    /// Text in which the characters that matter are frequent.
    fn text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(
            "\\\"`'{}u0 \n\r\t\u{0}\u{7f}\u{85}\u{a0}\u{ad}\u{301}\u{34f}\u{5d0}\u{600}\u{61c}\u{115f}\u{180e}\
             \u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{2800}\
             \u{3000}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{e000}\u{e0001}\u{e0041}\u{1d173}"
                .chars()
                .collect::<Vec<_>>(),
        );
        let any = prop_oneof![3 => special, 2 => any::<char>(), 1 => prop::char::range(' ', '~')];
        prop::collection::vec(any, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_name_is_one_printable_line_and_is_read_back(name in text()) {
            let text = escape_name(&name).to_string();
            prop_assert!(text.chars().all(is_printable), "{text:?}");
            prop_assert!(text.chars().all(|c| c.escape_debug().len() == 1 || "\\\"'".contains(c)));
            prop_assert!(!ends_early(&text), "{text}");
            prop_assert_eq!(unescaped(&text), Some(name));
        }

        #[test]
        fn different_names_give_different_texts(one in text(), other in text()) {
            let texts = [&one, &other].map(|name| escape_name(name).to_string());
            prop_assert_eq!(one == other, texts[0] == texts[1]);
        }

        #[test]
        fn a_line_is_printable_and_keeps_printable_text(text in text()) {
            let line = escape_line(&text).to_string();
            prop_assert!(line.chars().all(is_printable), "{line:?}");
            prop_assert_eq!(escape_line(&line).to_string(), line);
        }
    }

    #[test]
    fn each_kind_of_character_is_escaped_or_kept() {
        for escaped in ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\u{85}", "\u{9b}"]
            .into_iter()
            .chain(["\u{2028}", "\u{2029}", "\u{a0}", "\u{2003}", "\u{3000}"])
            .chain(["\u{200e}", "\u{200f}", "\u{61c}", "\u{ad}", "\u{200b}", "\u{feff}"])
            .chain(["\u{301}", "\u{fe0f}", "\u{34f}", "\u{3164}", "\u{e000}", "\u{10ffff}"])
            .chain(["\u{5d0}", "\u{627}", "\u{fb50}", "\u{10900}", "\u{1e900}"])
        {
            let c = escaped.chars().next().unwrap();
            let expected = format!("a\\u{{{:x}}}b", u32::from(c));
            let text = format!("a{escaped}b");
            assert_eq!(escape_line(&text).to_string(), expected);
            assert_eq!(escape_name(&text).to_string(), expected);
        }
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{206f}') {
            assert_eq!(
                escape_name(&c.to_string()).to_string(),
                format!("\\u{{{:x}}}", u32::from(c))
            );
        }
        for kept in ["", "alice", "o'neil+1@example.com", "a b", "müller", "Ωμέγα", "名前", "…–€"]
        {
            assert_eq!(escape_name(kept).to_string(), kept);
        }
        assert_eq!(escape_name("a\\").to_string(), "a\\\\");
        assert_eq!(escape_name("\"`").to_string(), "\\\"\\`");
        assert_eq!(escape_line("\"`\\").to_string(), "\"`\\");
    }
}
