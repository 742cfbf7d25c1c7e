//! Frames that cannot be read or written, and the greatest length of a frame.

/// The greatest length of a frame: its kind and its fields, without the prefix.
pub const MAX_FRAME: usize = 131_072;

/// A frame that cannot be read. The connection must end: nothing behind it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame has no kind.
    #[error("frame without a kind")]
    Empty,
    /// The frame is longer than [`MAX_FRAME`].
    #[error("frame of {0} bytes; the limit is {MAX_FRAME}")]
    TooLong(u32),
    /// No version has this kind of frame.
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    /// A field ends behind its frame.
    #[error("field that ends behind its frame")]
    Cut,
    /// A mandatory field is missing.
    #[error("no field `{0}`")]
    Missing(&'static str),
    /// A field that must be single is repeated, or two fields exclude each other.
    #[error("repeated field `{0}`")]
    Repeated(&'static str),
    /// The value of a field has another length or form.
    #[error("bad value of the field `{0}`")]
    Value(&'static str),
}

/// A frame that cannot be written. The buffer is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The frame would be longer than [`MAX_FRAME`].
    #[error("frame longer than {MAX_FRAME} bytes")]
    TooLong,
    /// A line has a line end or a zero byte in it.
    #[error("line end in a line")]
    LineEnd,
}
