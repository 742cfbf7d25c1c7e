//! Records for tests.

use std::time::{Duration, Instant, SystemTime};

use sip_authz::message::Message;
use sip_authz::{Authorizer, Decision, Invite, Transport};
use sip_authz_testing::kit::Request;

use super::{Asked, Moment, Record};
use crate::observe::cause::Cause;
use crate::observe::method::MethodName;
use crate::sip::peer::{Caller, Source};

/// A time in seconds after the start of a test.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000 + seconds)
}

fn caller(source: &str) -> Caller {
    Caller { source: Source::Known(source.parse().unwrap()), transport: Transport::Udp }
}

/// The decision on a request, and its record at this time.
pub(crate) fn decided(
    authorizer: &Authorizer,
    request: &Request,
    source: &str,
    time: SystemTime,
) -> (Decision, Record) {
    let bytes = request.bytes();
    let message = Message::scan(&bytes).unwrap();
    let invite = Invite::from_request(&message, source.parse().unwrap(), Transport::Udp).unwrap();
    let decision = authorizer.authorize(&invite, Instant::now());
    let method = MethodName::of(invite.method());
    let asked = Asked { caller: caller(source), method, message: &message, invite: &invite };
    let moment = Moment { time, took: Some(Duration::from_micros(9)), snapshot: Some(1) };
    let is_own = |realm: &str| authorizer.snapshot().is_own_realm(realm);
    let record = Record::decided(&moment, &asked, &decision, is_own);
    (decision, record)
}

/// The record of another message at this time.
pub(crate) fn other(cause: Cause, request: &Request, source: &str, time: SystemTime) -> Record {
    let bytes = request.bytes();
    let moment = Moment { time, took: None, snapshot: None };
    Record::other(&moment, caller(source), cause, Message::scan(&bytes).as_ref())
}
