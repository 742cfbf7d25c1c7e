//! Between frames and the library `sip-authz`: the request of a question, and the answer of a decision.
//!
//! ```
//! use std::time::Instant;
//!
//! use sip_authz::{Authorizer, Snapshot, Transport};
//! use sip_authz_decide::engine::{decided, read, text_of, undecided};
//! use sip_authz_decide::{Frame, Outcome, RequestWriter, split};
//!
//! let authorizer = Authorizer::new(Snapshot::empty()).unwrap();
//! let mut asked = Vec::new();
//! let source = "192.0.2.1:5060".parse().unwrap();
//! RequestWriter::new(&mut asked, 7, "TLS", source).message(b"no SIP").end().unwrap();
//! let (frame, _) = split(&asked).unwrap().expect("a whole frame");
//! let Frame::Request(request) = Frame::decode(frame).unwrap() else { panic!() };
//!
//! let text = text_of(&request);
//! let answered = match read(&request, Transport::Tls, text.as_deref()) {
//!     Ok(question) => {
//!         let decision = authorizer.authorize(&question.invite, Instant::now());
//!         decided(request.id, &decision, &authorizer, &authorizer.snapshot())
//!     }
//!     Err(not) => undecided(request.id, &not),
//! };
//! let (frame, _) = split(&answered).unwrap().expect("a whole frame");
//! let Frame::Answer(answer) = Frame::decode(frame).unwrap() else { panic!() };
//! assert_eq!((answer.outcome, answer.reason), (Outcome::Undecided, Some("not sip")));
//! ```

mod answer;
mod question;

pub use answer::{ERROR_HEADER, decided, outcome_of, overloaded, undecided};
pub use question::{Garbage, Question, Undecided, read, text_of, without_leading_lines};
