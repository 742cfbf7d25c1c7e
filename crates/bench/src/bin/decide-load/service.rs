//! A connection to a decision service, in any form.

use std::error::Error;
use std::time::Duration;

/// An answer that takes longer is an error.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The answer to a request.
pub(crate) enum Answer {
    Accept,
    /// The header lines, each with its line end.
    Challenge(String),
    Other(String),
}

/// A connection to the service.
pub(crate) trait Service {
    /// Writes a request to a buffer. A slot has one request at a time.
    fn ask(&mut self, slot: usize, message: &[u8]) -> Result<(), Box<dyn Error>>;
    /// Sends the requests in the buffer.
    fn flush(&mut self) -> Result<(), Box<dyn Error>>;
    /// Waits for at least one answer.
    fn answers(&mut self, answers: &mut Vec<(usize, Answer)>) -> Result<(), Box<dyn Error>>;
}
