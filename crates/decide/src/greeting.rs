//! The frames at the start and at the end of a connection.

use std::fmt;
use std::ops::RangeInclusive;

use crate::error::{EncodeError, FrameError};
use crate::wire::{Fields, GOODBYE, HELLO, WELCOME, Writer, number, set, text};

/// The bytes by which both sides know that the other speaks this protocol.
pub const MAGIC: &[u8; 9] = b"SIP-AUTHZ";
/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

const TAG_MAGIC: u16 = 1;
const TAG_VERSION: u16 = 2;
const TAG_TOKEN: u16 = 3;
const TAG_LIMIT: u16 = 4;

/// The first frame of a client. `Debug` omits the token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello<'a> {
    /// The versions that the client speaks.
    pub versions: RangeInclusive<u16>,
    /// The token of a client over TCP.
    pub token: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    /// A hello for [`VERSION`].
    #[must_use]
    pub fn new(token: Option<&'a [u8]>) -> Self {
        Self { versions: VERSION..=VERSION, token }
    }

    /// Appends the frame to a buffer.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the token is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out, HELLO);
        writer.put(TAG_MAGIC, &[MAGIC]);
        let versions = [self.versions.start().to_be_bytes(), self.versions.end().to_be_bytes()];
        writer.put(TAG_VERSION, &[versions.as_flattened()]);
        if let Some(token) = self.token {
            writer.put(TAG_TOKEN, &[token]);
        }
        writer.end()
    }

    pub(crate) fn read(fields: Fields<'a>) -> Result<Self, FrameError> {
        let (mut magic, mut versions, mut token) = (None, None, None);
        for field in fields {
            match field? {
                (TAG_MAGIC, value) => set(&mut magic, "magic", magic_of(value))?,
                (TAG_VERSION, value) => set(&mut versions, "version", range(value))?,
                (TAG_TOKEN, value) => set(&mut token, "token", Some(value))?,
                _ => {}
            }
        }
        magic.ok_or(FrameError::Missing("magic"))?;
        Ok(Self { versions: versions.ok_or(FrameError::Missing("version"))?, token })
    }
}

impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").field("versions", &self.versions).finish_non_exhaustive()
    }
}

/// The answer to [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Welcome {
    /// The version of the connection.
    pub version: u16,
    /// The greatest length of a frame that the server takes, in bytes.
    pub limit: u32,
}

impl Welcome {
    /// A welcome with a version and the greatest length of a frame in bytes.
    #[must_use]
    pub fn new(version: u16, limit: u32) -> Self {
        Self { version, limit }
    }

    /// Appends the frame to a buffer.
    ///
    /// # Errors
    ///
    /// None in this version.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out, WELCOME);
        writer.put(TAG_MAGIC, &[MAGIC]);
        writer.put(TAG_VERSION, &[&self.version.to_be_bytes()]);
        writer.put(TAG_LIMIT, &[&self.limit.to_be_bytes()]);
        writer.end()
    }

    pub(crate) fn read(fields: Fields<'_>) -> Result<Self, FrameError> {
        let (mut magic, mut version, mut limit) = (None, None, None);
        for field in fields {
            match field? {
                (TAG_MAGIC, value) => set(&mut magic, "magic", magic_of(value))?,
                (TAG_VERSION, value) => set(&mut version, "version", number(value))?,
                (TAG_LIMIT, value) => {
                    let value = value.try_into().ok().map(u32::from_be_bytes);
                    set(&mut limit, "frame limit", value)?;
                }
                _ => {}
            }
        }
        magic.ok_or(FrameError::Missing("magic"))?;
        let version = version.ok_or(FrameError::Missing("version"))?;
        Ok(Self { version, limit: limit.ok_or(FrameError::Missing("frame limit"))? })
    }
}

fn magic_of(value: &[u8]) -> Option<()> {
    (value == MAGIC).then_some(())
}

fn range(value: &[u8]) -> Option<RangeInclusive<u16>> {
    let [a, b, c, d] = *value.first_chunk::<4>().filter(|it| it.len() == value.len())?;
    let (low, high) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (low <= high).then_some(low..=high)
}

const TAG_CODE: u16 = 1;
const TAG_TEXT: u16 = 2;

/// Why the server closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Goodbye<'a> {
    /// The code.
    pub code: GoodbyeCode,
    /// A text for the log of the client.
    pub text: &'a str,
}

/// The code of a [`Goodbye`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoodbyeCode {
    /// A frame has an error.
    Malformed,
    /// Both sides have no version in common.
    Version,
    /// The token is missing or wrong.
    Token,
    /// The user of the peer is not allowed.
    User,
    /// There are too many connections.
    TooMany,
    /// A frame is too long.
    TooLong,
    /// A frame did not arrive in time.
    TooSlow,
    /// The program ends.
    End,
    /// A code that this crate does not know.
    Unknown(u8),
}

impl GoodbyeCode {
    /// The number in the frame.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Version => 2,
            Self::Token => 3,
            Self::User => 4,
            Self::TooMany => 5,
            Self::TooLong => 6,
            Self::TooSlow => 7,
            Self::End => 8,
            Self::Unknown(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Malformed,
            2 => Self::Version,
            3 => Self::Token,
            4 => Self::User,
            5 => Self::TooMany,
            6 => Self::TooLong,
            7 => Self::TooSlow,
            8 => Self::End,
            number => Self::Unknown(number),
        }
    }
}

impl<'a> Goodbye<'a> {
    /// A goodbye with a code and a text for the log of the client.
    #[must_use]
    pub fn new(code: GoodbyeCode, text: &'a str) -> Self {
        Self { code, text }
    }

    /// Appends the frame to a buffer.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the text is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out, GOODBYE);
        writer.put(TAG_CODE, &[&[self.code.number()]]);
        writer.put(TAG_TEXT, &[self.text.as_bytes()]);
        writer.end()
    }

    pub(crate) fn read(fields: Fields<'a>) -> Result<Self, FrameError> {
        let (mut code, mut words) = (None, None);
        for field in fields {
            match field? {
                (TAG_CODE, [number]) => set(&mut code, "code", Some(GoodbyeCode::of(*number)))?,
                (TAG_CODE, _) => return Err(FrameError::Value("code")),
                (TAG_TEXT, value) => set(&mut words, "text", text(value))?,
                _ => {}
            }
        }
        let code = code.ok_or(FrameError::Missing("code"))?;
        Ok(Self { code, text: words.unwrap_or_default() })
    }
}
