//! Bounds the answers over UDP by the length of their requests, so that a forged source address gains an
//! attacker nothing.
//!
//! An answer that is too long is written again with less. Left out are, in this order and only as far as
//! needed:
//!
//! 1. the headers Allow, Accept and X-Authz-Error,
//! 2. the detail in the reason phrase,
//! 3. long header names (RFC 3261 §7.3.3), and `Content-Length: 0` (§18.3),
//! 4. challenges, from the last to the first. MD5, which most phones know, is kept to the end, and one
//!    challenge always,
//! 5. Contacts of a redirect, from the last to the first, and one always,
//! 6. the reason phrase,
//! 7. the answer itself. A 400 without any of its headers replaces it,
//! 8. the 400.

use sip_authz::message::Header;
pub(crate) use sip_authz_decide::engine::ERROR_HEADER;

/// The maximum number of bytes of an answer over UDP for each byte of its request.
pub(crate) const FACTOR: usize = 3;

/// Headers that a client can do without.
const OPTIONAL: [&str; 3] = ["Allow", "Accept", ERROR_HEADER];
/// Headers of every response.
const ECHOED: [Header; 5] = [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq];
/// The compact forms of the headers that answers contain.
const COMPACT: [(&str, &str); 7] = [
    ("Via", "v"),
    ("From", "f"),
    ("To", "t"),
    ("Call-ID", "i"),
    ("Contact", "m"),
    ("Content-Type", "c"),
    ("Content-Length", "l"),
];

/// The message that is sent in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The answer, perhaps shortened.
    Answer,
    /// A 400: the answer does not make sense without what would have to be left out.
    BadRequest,
    /// No answer is short enough.
    Nothing,
}

/// Shortens the answer that begins at `start` of `out` to at most `limit` bytes.
pub(crate) fn fit(out: &mut Vec<u8>, start: usize, limit: usize) -> Fit {
    if out.len().saturating_sub(start) <= limit {
        return Fit::Answer;
    }
    let written = out.split_off(start);
    let Some(mut answer) = Answer::read(&written) else { return Fit::Nothing };
    let fit = answer.shorten(limit);
    if fit != Fit::Nothing {
        answer.write(out);
    }
    fit
}

/// The parts of an answer.
struct Answer<'a> {
    /// SIP version and status.
    status: &'a str,
    phrase: &'a [u8],
    fields: Vec<(&'a str, &'a [u8])>,
    body: &'a [u8],
    is_compact: bool,
}

impl<'a> Answer<'a> {
    /// Reads an answer that this program wrote: each header is on one line.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, body) = bytes.split_at_checked(head)?;
        let mut lines = head.split(|byte| *byte == b'\n');
        let mut line = || lines.next().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let (status, phrase) = line()?.split_at_checked("SIP/2.0 200 ".len())?;
        let mut fields = Vec::new();
        while let Some(line) = line() {
            let (name, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
            fields.push((str::from_utf8(name).ok()?, value.strip_prefix(b": ")?));
        }
        let (status, body) = (str::from_utf8(status).ok()?, body.get(4..)?);
        Some(Self { status, phrase, fields, body, is_compact: false })
    }

    fn shorten(&mut self, limit: usize) -> Fit {
        self.fields.retain(|(name, _)| !OPTIONAL.contains(name));
        if self.len() > limit {
            let detail = self.phrase.windows(2).position(|window| window == b" (");
            self.phrase = detail.and_then(|at| self.phrase.get(..at)).unwrap_or(self.phrase);
        }
        self.is_compact = self.len() > limit;
        while self.len() > limit
            && let Some(at) = self.dispensable_challenge()
        {
            self.fields.remove(at);
        }
        while self.len() > limit
            && let Some(at) = self.dispensable_contact()
        {
            self.fields.remove(at);
        }
        if self.len() > limit {
            self.phrase = b"";
        }
        if self.len() <= limit {
            return Fit::Answer;
        }
        let is_echoed = |name: &str| ECHOED.iter().any(|header| header.name() == name);
        self.fields.retain(|(name, _)| is_echoed(name));
        (self.status, self.phrase, self.body) = ("SIP/2.0 400 ", b"Request Too Short", b"");
        if self.len() > limit {
            self.phrase = b"";
        }
        if self.len() <= limit { Fit::BadRequest } else { Fit::Nothing }
    }

    /// The challenge to leave out first, if there are several.
    fn dispensable_challenge(&self) -> Option<usize> {
        let is_challenge = |name| matches!(name, "Proxy-Authenticate" | "WWW-Authenticate");
        let mut all = self.fields.iter().enumerate().filter(|(_, (name, _))| is_challenge(*name));
        if all.clone().count() < 2 {
            return None;
        }
        all.rfind(|(_, (_, value))| !is_md5(value)).map(|(at, _)| at)
    }

    /// The Contact to leave out first, if there are several.
    fn dispensable_contact(&self) -> Option<usize> {
        let mut all = self.fields.iter().enumerate().filter(|(_, (name, _))| *name == "Contact");
        all.next()?;
        all.next_back().map(|(at, _)| at)
    }

    /// The name and separator of a field as written; `None` for a field that is left out.
    fn name_of(&self, name: &'a str) -> Option<(&'a str, &'static str)> {
        if !self.is_compact {
            return Some((name, ": "));
        }
        let compact = COMPACT.iter().find(|(long, _)| *long == name);
        let is_needed = name != "Content-Length" || !self.body.is_empty();
        is_needed.then_some((compact.map_or(name, |(_, compact)| compact), ":"))
    }

    /// The number of bytes that `write` appends.
    fn len(&self) -> usize {
        let field = |(name, value): &(&'a str, &[u8])| {
            let (name, separator) = self.name_of(name)?;
            Some(name.len() + separator.len() + value.len() + 2)
        };
        let fields: usize = self.fields.iter().filter_map(field).sum();
        self.status.len() + self.phrase.len() + 2 + fields + 2 + self.body.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(&[self.status.as_bytes(), self.phrase, b"\r\n"]);
        for (name, value) in &self.fields {
            if let Some((name, separator)) = self.name_of(name) {
                put(&[name.as_bytes(), separator.as_bytes(), value, b"\r\n"]);
            }
        }
        put(&[b"\r\n", self.body]);
    }
}

/// Whether a challenge offers MD5. The text is searched from its end, because the realm can have any text
/// but quotes.
fn is_md5(challenge: &[u8]) -> bool {
    let text = str::from_utf8(challenge).unwrap_or_default();
    text.rsplit_once("\", algorithm=").is_some_and(|(_, rest)| rest.starts_with("MD5,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "SIP/2.0 407 Proxy Authentication Required\r\nVia: SIP/2.0/UDP h\r\n\
        From: a\r\nTo: b;tag=1\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
        Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n\
        Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n\
        Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"\r\n\
        Content-Length: 0\r\n\r\n";

    /// The answer within `limit`, and what it is.
    fn within(limit: usize, answer: &str) -> (Fit, String) {
        let mut out = [b"before", answer.as_bytes()].concat();
        let fit = fit(&mut out, 6, limit);
        let text = String::from_utf8(out).unwrap();
        (fit, text.strip_prefix("before").unwrap().to_owned())
    }

    /// The algorithms that an answer offers.
    fn offered(answer: &str) -> Vec<&str> {
        let values = answer.split("algorithm=").skip(1);
        values.map(|rest| rest.split(',').next().unwrap()).collect()
    }

    #[test]
    fn an_answer_that_fits_stays_as_it_is() {
        assert_eq!(within(CHALLENGE.len(), CHALLENGE), (Fit::Answer, CHALLENGE.to_owned()));
        assert_eq!(within(0, ""), (Fit::Answer, String::new()));
    }

    #[test]
    fn no_answer_exceeds_the_limit_and_less_room_means_less_text() {
        let mut last = usize::MAX;
        for limit in (0..=CHALLENGE.len()).rev() {
            let (fit, answer) = within(limit, CHALLENGE);
            assert!(answer.len() <= limit.min(last), "{limit}: {answer}");
            last = answer.len();
            assert_eq!(answer.is_empty(), fit == Fit::Nothing, "{limit}: {answer}");
            let expected = match fit {
                Fit::Answer => "SIP/2.0 407 ",
                Fit::BadRequest => "SIP/2.0 400 ",
                Fit::Nothing => "",
            };
            assert!(answer.starts_with(expected), "{limit}: {answer}");
            assert_eq!(fit == Fit::Answer, !offered(&answer).is_empty(), "{limit}: {answer}");
        }
    }

    #[test]
    fn the_last_challenge_is_left_out_first_and_md5_last() {
        let mut seen: Vec<Vec<String>> = Vec::new();
        for limit in (0..CHALLENGE.len()).rev() {
            let (_, answer) = within(limit, CHALLENGE);
            let offered: Vec<_> = offered(&answer).into_iter().map(str::to_owned).collect();
            if seen.last() != Some(&offered) {
                seen.push(offered);
            }
        }
        let expected: [&[&str]; 4] =
            [&["SHA-256", "MD5", "MD5-sess"], &["SHA-256", "MD5"], &["MD5"], &[]];
        assert_eq!(seen, expected);
        // without MD5 the first is kept
        let stronger = CHALLENGE.replace("=MD5,", "=SHA-512-256,");
        let one = within(200, &stronger).1;
        assert_eq!(offered(&one), ["SHA-256"], "{one}");
        // a realm that looks like an offer of MD5 is none
        let odd = stronger.replace("realm=\"r\"", "realm=\", algorithm=MD5, qop=\"");
        let one = within(240, &odd).1;
        assert!(one.contains("SHA-256") && !one.contains("MD5-sess"), "{one}");
    }

    #[test]
    fn optional_parts_are_left_out_in_order() {
        let answer = "SIP/2.0 400 Bad Request (missing header 'To')\r\nVia: x\r\nAllow: INVITE\r\n\
            Accept: a/b\r\nX-Authz-Error: 1 x\r\nContent-Length: 0\r\n\r\n";
        let mut seen = Vec::new();
        for limit in (0..answer.len()).rev() {
            let shorter = within(limit, answer);
            if seen.last() != Some(&shorter) {
                seen.push(shorter);
            }
        }
        let expected = [
            "SIP/2.0 400 Bad Request (missing header 'To')\r\nVia: x\r\nContent-Length: 0\r\n\r\n",
            "SIP/2.0 400 Bad Request\r\nVia: x\r\nContent-Length: 0\r\n\r\n",
            "SIP/2.0 400 Bad Request\r\nv:x\r\n\r\n",
            "SIP/2.0 400 \r\nv:x\r\n\r\n",
            "",
        ];
        assert!(seen.iter().map(|(_, text)| text).eq(expected.iter()), "{seen:#?}");
    }

    #[test]
    fn the_last_contact_is_left_out_first_and_one_stays() {
        let answer = "SIP/2.0 302 Moved Temporarily\r\nVia: x\r\nContact: <sip:a>;q=1\r\n\
            Contact: <sip:b>\r\nContact: <sip:c>\r\nContent-Length: 0\r\n\r\n";
        let mut seen = Vec::new();
        for limit in (0..answer.len()).rev() {
            let contacts = within(limit, answer).1.matches("m:<").count();
            if seen.last() != Some(&contacts) {
                seen.push(contacts);
            }
        }
        assert_eq!(seen, [3, 2, 1, 0]);
        let least = "SIP/2.0 302 \r\nv:x\r\nm:<sip:a>;q=1\r\n\r\n";
        assert_eq!(within(least.len(), answer), (Fit::Answer, least.to_owned()));
        assert_eq!(within(least.len() - 1, answer).0, Fit::BadRequest);
    }

    #[test]
    fn a_body_and_a_contact_are_not_left_out_alone() {
        let answer = "SIP/2.0 200 OK\r\nVia: x\r\nContact: <sip:a>\r\nContent-Type: a/b\r\n\
            Content-Length: 5\r\n\r\nv=0\r\n";
        let compact = "SIP/2.0 200 OK\r\nv:x\r\nm:<sip:a>\r\nc:a/b\r\nl:5\r\n\r\nv=0\r\n";
        assert_eq!(within(answer.len() - 1, answer), (Fit::Answer, compact.to_owned()));
        let refused = "SIP/2.0 400 Request Too Short\r\nv:x\r\n\r\n";
        assert_eq!(within(45, answer), (Fit::BadRequest, refused.to_owned()));
    }
}
