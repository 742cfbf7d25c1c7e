//! The frames of the decision service: a SIP server asks, over a stream, whether a request may pass.
//!
//! This crate encodes and decodes frames. It opens no socket and decides nothing. `docs/decision-service.md`
//! describes the protocol and the rules for clients.
//!
//! The feature `engine` adds the module `engine`: it reads the request of a question for the library
//! `sip-authz`, and writes the answer of its decision.
//!
//! ```
//! use sip_authz_decide::{AnswerWriter, Content, Frame, Outcome, RequestWriter, split};
//!
//! let source = "192.0.2.1:5060".parse().unwrap();
//! let mut asked = Vec::new();
//! RequestWriter::new(&mut asked, 7, "UDP", source).message(b"INVITE ...").end().unwrap();
//!
//! // the server
//! let (frame, length) = split(&asked).unwrap().expect("a whole frame");
//! assert_eq!(length, asked.len());
//! let Frame::Request(request) = Frame::decode(frame).unwrap() else { panic!() };
//! assert!(matches!(request.content, Content::Message(b"INVITE ...")));
//! let mut answered = Vec::new();
//! AnswerWriter::new(&mut answered, request.id, Outcome::Reject).status(403).end().unwrap();
//!
//! // the client accepts by nothing else than this outcome with its own id
//! let (frame, _) = split(&answered).unwrap().expect("a whole frame");
//! let Frame::Answer(answer) = Frame::decode(frame).unwrap() else { panic!() };
//! assert!(!(answer.id == 7 && answer.outcome == Outcome::Accept));
//! ```

mod answer;
#[cfg(feature = "engine")]
pub mod engine;
mod error;
mod frame;
mod greeting;
mod request;
mod wire;

pub use answer::{Answer, AnswerWriter, Lines, Outcome, Permissions, UsedHeader};
pub use error::{EncodeError, FrameError, MAX_FRAME};
pub use frame::{Frame, split};
pub use greeting::{Goodbye, GoodbyeCode, Hello, MAGIC, VERSION, Welcome};
pub use request::{Content, Headers, Parsed, Request, RequestWriter};
pub use wire::PREFIX;
