//! Turns an answer frame into the flat struct of C.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use sip_authz_decide::{Answer as Read, Frame, Outcome, split};

use crate::codes::{SIP_AUTHZ_PROTOCOL, SIP_AUTHZ_TOO_LONG, SIP_AUTHZ_UNDECIDED, text_of};
use crate::failure::Failure;
use crate::types::Answer;

/// An answer with its texts. Each text ends with NUL and has none within.
#[derive(Debug)]
pub(crate) struct FlatAnswer {
    outcome: Outcome,
    status: u16,
    is_retransmission: bool,
    used_header_index: Option<u16>,
    texts: Texts,
}

/// The texts of an answer, one behind the other. Empty ones take no place.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    places: [Option<usize>; TEXTS],
}

const TEXTS: usize = 10;

impl Texts {
    /// None if a text has a NUL within: C would read only its beginning.
    fn of(texts: [&str; TEXTS]) -> Option<Self> {
        let length = texts.iter().map(|text| text.len() + 1).sum();
        let mut all = Self { bytes: Vec::with_capacity(length), ..Self::default() };
        for (place, text) in all.places.iter_mut().zip(texts) {
            if text.is_empty() {
                continue;
            }
            if text.as_bytes().contains(&0) {
                return None;
            }
            *place = Some(all.bytes.len());
            all.bytes.extend_from_slice(text.as_bytes());
            all.bytes.push(0);
        }
        Some(all)
    }

    /// The pointers to the texts, and the memory that [`free`] takes.
    fn into_raw(self) -> ([*const c_char; TEXTS], *mut c_void) {
        let Self { bytes, places } = self;
        if bytes.is_empty() {
            return ([c"".as_ptr(); TEXTS], ptr::null_mut());
        }
        // the bytes stay where they are while the box moves
        let base = bytes.as_ptr();
        let texts = places.map(|place| match place {
            // a place within the bytes
            Some(at) => base.wrapping_add(at).cast(),
            None => c"".as_ptr(),
        });
        (texts, Box::into_raw(Box::new(bytes)).cast())
    }
}

impl FlatAnswer {
    /// Reads the one answer frame in these bytes.
    pub(crate) fn read(bytes: &[u8], id: u64) -> Result<Self, Failure> {
        let wrong = || Failure::new(SIP_AUTHZ_PROTOCOL, "expected the frame of an answer");
        let (frame, _) = split(bytes).ok().flatten().ok_or_else(wrong)?;
        let Ok(Frame::Answer(answer)) = Frame::decode(frame) else { return Err(wrong()) };
        Self::of(&answer, id)
    }

    /// Takes an answer, which must have this id.
    pub(crate) fn of(answer: &Read<'_>, id: u64) -> Result<Self, Failure> {
        let wrong = |detail: &str| Failure::new(SIP_AUTHZ_PROTOCOL, detail);
        if answer.id != id {
            return Err(wrong("answer with another id"));
        }
        if answer.outcome == Outcome::Accept && answer.status.is_some() {
            return Err(wrong("accept with the status of a refusal"));
        }
        let permissions: Vec<_> = answer.permissions().collect();
        if permissions.iter().any(|name| name.contains(',')) {
            return Err(wrong("comma in the name of a permission"));
        }
        let texts = Texts::of([
            answer.used_header.map_or("", |used| used.name),
            answer.phrase.unwrap_or_default(),
            &answer.header_lines().collect::<String>(),
            answer.account.unwrap_or_default(),
            answer.target.unwrap_or_default(),
            answer.target_name.unwrap_or_default(),
            answer.user.unwrap_or_default(),
            &permissions.join(","),
            answer.reason.unwrap_or_default(),
            answer.cause.unwrap_or_default(),
        ]);
        Ok(Self {
            outcome: answer.outcome,
            status: answer.status.unwrap_or_default(),
            is_retransmission: answer.is_retransmission,
            used_header_index: answer.used_header.map(|used| used.index),
            texts: texts.ok_or_else(|| wrong("NUL in a text of the answer"))?,
        })
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The struct of C. Its memory is for [`free`].
    pub(crate) fn into_c(self) -> Answer {
        Answer {
            outcome: self.outcome.number().into(),
            status: self.status.into(),
            is_retransmission: self.is_retransmission.into(),
            used_header_index: self.used_header_index.map_or(-1, i32::from),
            ..with_texts(self.texts)
        }
    }
}

fn with_texts(texts: Texts) -> Answer {
    let (texts, memory) = texts.into_raw();
    let [used, phrase, lines, account, target, target_name, user, permissions, reason, cause] =
        texts;
    Answer {
        struct_size: 0,
        outcome: SIP_AUTHZ_UNDECIDED,
        status: 0,
        is_retransmission: 0,
        used_header_index: -1,
        used_header_name: used,
        phrase,
        header_lines: lines,
        account,
        target,
        target_name,
        user,
        permissions,
        reason,
        cause,
        memory,
    }
}

/// The answer without texts and outcome.
pub(crate) fn empty() -> Answer {
    Answer { outcome: 0, ..with_texts(Texts::default()) }
}

/// The refusal that stands in an answer until there is another one. It allocates nothing.
pub(crate) fn unavailable() -> Answer {
    Answer { status: 503, phrase: c"Service Unavailable".as_ptr(), ..with_texts(Texts::default()) }
}

/// The refusal after an error.
pub(crate) fn refusal(failure: &Failure) -> Answer {
    let detail = failure.detail.replace('\0', " ");
    let mut texts = [""; TEXTS];
    if let Some(cause) = texts.last_mut() {
        *cause = &detail;
    }
    let (status, phrase): (_, &CStr) = match failure.code {
        _ if !failure.is_of_request => (503, c"Service Unavailable"),
        SIP_AUTHZ_TOO_LONG => (513, c"Message Too Large"),
        _ => (400, c"Bad Request"),
    };
    Answer {
        status,
        phrase: phrase.as_ptr(),
        reason: text_of(failure.code).as_ptr(),
        ..with_texts(Texts::of(texts).unwrap_or_default())
    }
}

/// Frees the memory of an answer.
///
/// # Safety
///
/// `memory` is NULL, or from an [`Answer`] of this module, and nothing reads its texts any more.
pub(crate) unsafe fn free(memory: *mut c_void) {
    if !memory.is_null() {
        // SAFETY: `Texts::into_raw` made it from a box of this type.
        drop(unsafe { Box::from_raw(memory.cast::<Vec<u8>>()) });
    }
}
