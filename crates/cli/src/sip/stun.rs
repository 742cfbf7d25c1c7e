//! STUN on the ports for SIP over UDP: phones keep their NAT bindings by Binding requests, and learn from
//! the answer that their address has not changed (RFC 5626 §3.5.2, §8; RFC 8489).
//!
//! Only Binding requests are answered, to the source of the datagram. Nothing in a request changes where
//! its answer goes.

use std::net::SocketAddr;

use stun_types::attribute::{
    Attribute as _, AttributeStaticType as _, AttributeType, ErrorCode, Fingerprint,
    MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm, Realm, UnknownAttributes,
    Userhash, Username, XorMappedAddress,
};
use stun_types::message::{
    BINDING, Message, MessageClass, MessageHeader, MessageWrite as _, MessageWriteExt as _,
    MessageWriteVec,
};

use crate::observe::cause::Cause;
use crate::sip::shorten::FACTOR;

/// Attributes that a request may have without effect: this side asks for no credentials (RFC 8489 §9).
const UNDERSTOOD: [AttributeType; 8] = [
    Username::TYPE,
    Userhash::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    PasswordAlgorithm::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
    Fingerprint::TYPE,
];

/// Appends the answer to a STUN datagram from `source`, if it is a Binding request.
///
/// Other classes and methods get none, nor do malformed requests and those with a wrong FINGERPRINT. A
/// request with attributes that must be understood and are not gets 420 (RFC 8489 §6.3.1).
pub(super) fn answer(bytes: &[u8], source: SocketAddr, out: &mut Vec<u8>) -> Cause {
    let Some((answer, cause)) = answer_to(bytes, source) else { return Cause::Stun };
    if answer.len() > FACTOR.saturating_mul(bytes.len()) {
        return Cause::Stun;
    }
    out.extend_from_slice(&answer);
    cause
}

fn answer_to(bytes: &[u8], source: SocketAddr) -> Option<(Vec<u8>, Cause)> {
    let header = MessageHeader::from_bytes(bytes).ok()?;
    // a datagram is one message; the length counts padded attributes (RFC 8489 §5)
    let length = usize::from(header.data_length());
    if length.checked_add(MessageHeader::LENGTH)? != bytes.len() || !length.is_multiple_of(4) {
        return None;
    }
    if !header.get_type().has_class(MessageClass::Request) || !header.get_type().has_method(BINDING)
    {
        return None;
    }
    let request = Message::from_bytes(bytes).ok()?;
    let unknown: Vec<_> = request
        .iter_attributes()
        .map(|(_, attribute)| attribute.get_type())
        .filter(|kind| kind.comprehension_required() && !UNDERSTOOD.contains(kind))
        .collect();
    let (mut answer, cause) = if unknown.is_empty() {
        let mut answer = Message::builder_success(&request, MessageWriteVec::new());
        // a socket for both families sees IPv4 sources as IPv6 addresses
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let mapped = XorMappedAddress::new(source, request.transaction_id());
        answer.add_attribute(&mapped).ok()?;
        (answer, Cause::StunBinding)
    } else {
        let mut answer = Message::builder_error(&request, MessageWriteVec::new());
        answer.add_attribute(&ErrorCode::new(420, "Unknown Attribute").ok()?).ok()?;
        answer.add_attribute(&UnknownAttributes::new(&unknown)).ok()?;
        (answer, Cause::StunAttribute)
    };
    if request.has_attribute(Fingerprint::TYPE) {
        answer.add_fingerprint().ok()?;
    }
    Some((answer.finish(), cause))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stun_types::attribute::{RawAttribute, Software};
    use stun_types::message::{MessageType, Method};

    use super::*;

    fn source() -> SocketAddr {
        "192.0.2.7:1024".parse().unwrap()
    }

    fn answered(bytes: &[u8]) -> (Cause, Vec<u8>) {
        let mut out = Vec::new();
        (answer(bytes, source(), &mut out), out)
    }

    fn request() -> MessageWriteVec {
        Message::builder_request(BINDING, MessageWriteVec::new())
    }

    #[test]
    fn a_binding_request_learns_its_address() {
        // by hand: the smallest request there is
        let bytes = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
        for (source, family, len) in [
            ("192.0.2.7:1024", 1, 32),
            ("[::ffff:192.0.2.7]:1024", 1, 32),
            ("[2001:db8::7]:1024", 2, 44),
        ] {
            let source: SocketAddr = source.parse().unwrap();
            let mut out = b"before".to_vec();
            assert_eq!(answer(bytes, source, &mut out), Cause::StunBinding);
            let out = &out[6..];
            assert_eq!(out.len(), len);
            // success response, length, cookie, transaction, XOR-MAPPED-ADDRESS, family, port
            assert_eq!(out[..4], [1, 1, 0, u8::try_from(len - 20).unwrap()]);
            assert_eq!(out[4..20], bytes[4..]);
            assert_eq!(out[20..26], [0, 0x20, 0, u8::try_from(len - 24).unwrap(), 0, family]);
            assert_eq!(out[26..28], [0x04 ^ 0x21, 0x12]);
            if len == 32 {
                assert_eq!(out[28..], [192 ^ 0x21, 0x12, 2 ^ 0xa4, 7 ^ 0x42]);
            }
            let read = Message::from_bytes(out).unwrap();
            let mapped = read.attribute::<XorMappedAddress>().unwrap();
            let expected = SocketAddr::new(source.ip().to_canonical(), source.port());
            assert_eq!(mapped.addr(read.transaction_id()), expected);
        }
    }

    #[test]
    fn attributes_of_credentials_and_optional_ones_have_no_effect() {
        let mut with = request();
        with.add_attribute(&Username::new("alice").unwrap()).unwrap();
        with.add_attribute(&Software::new("phone").unwrap()).unwrap();
        assert_eq!(answered(&with.finish()).0, Cause::StunBinding);
        let mut with = request();
        with.add_fingerprint().unwrap();
        let bytes = with.finish();
        let (cause, out) = answered(&bytes);
        assert_eq!(cause, Cause::StunBinding);
        assert!(Message::from_bytes(&out).unwrap().has_attribute(Fingerprint::TYPE));
        // a wrong FINGERPRINT
        let mut wrong = bytes;
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(answered(&wrong), (Cause::Stun, Vec::new()));
    }

    #[test]
    fn an_attribute_that_must_be_understood_gets_420() {
        // CHANGE-REQUEST (RFC 5780), PRIORITY (RFC 8445), one that does not exist; also beside others
        for kind in [0x0003_u16, 0x0024, 0x7fff] {
            for more in [false, true] {
                let mut with = request();
                let attribute = RawAttribute::new(AttributeType::new(kind), &[0, 0, 0, 6]);
                with.add_attribute(&attribute).unwrap();
                if more {
                    with.add_attribute(&Software::new("phone").unwrap()).unwrap();
                    with.add_fingerprint().unwrap();
                }
                let bytes = with.finish();
                let (cause, out) = answered(&bytes);
                assert_eq!(cause, Cause::StunAttribute, "{kind:x}");
                assert!(out.len() <= FACTOR * bytes.len(), "{kind:x} {more}");
                let read = Message::from_bytes(&out).unwrap();
                assert!(read.has_class(MessageClass::Error));
                assert_eq!(read.attribute::<ErrorCode>().unwrap().code(), 420);
                let unknown = read.attribute::<UnknownAttributes>().unwrap();
                assert!(unknown.has_attribute(AttributeType::new(kind)));
                assert_eq!(read.attribute::<XorMappedAddress>().ok().map(|_| ()), None);
            }
        }
    }

    #[test]
    fn only_binding_requests_are_answered() {
        let of = |class, method| {
            let kind = MessageType::from_class_method(class, method);
            Message::builder(kind, 7_u128.into(), MessageWriteVec::new()).finish()
        };
        let allocate = Method::new(3);
        for (class, method) in [
            (MessageClass::Success, BINDING),
            (MessageClass::Error, BINDING),
            (MessageClass::Indication, BINDING),
            (MessageClass::Request, allocate),
            (MessageClass::Request, Method::new(0xfff)),
        ] {
            let bytes = of(class, method);
            assert_eq!(answered(&bytes), (Cause::Stun, Vec::new()), "{class:?} {method}");
        }
        let right = of(MessageClass::Request, BINDING);
        assert_eq!(answered(&right).0, Cause::StunBinding);
        // an answer is never a request: two edges do not answer each other
        let (_, answer) = answered(&right);
        assert_eq!(answered(&answer), (Cause::Stun, Vec::new()));
        for length in 0..right.len() {
            assert_eq!(answered(&right[..length]), (Cause::Stun, Vec::new()), "{length}");
        }
        for more in 1..9 {
            let bytes = [&right[..], &[0; 8][..more]].concat();
            assert_eq!(answered(&bytes), (Cause::Stun, Vec::new()), "{more}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics_or_is_amplified(
            kind: [u8; 2], length: Option<u16>, mut rest in prop::collection::vec(any::<u8>(), 12..120),
            attributes in prop::collection::vec((0..0x40_u16, 0..9_usize), 0..40),
        ) {
            for (kind, length) in attributes {
                rest.extend_from_slice(&kind.to_be_bytes());
                rest.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
                rest.extend(std::iter::repeat_n(7, length.next_multiple_of(4)));
            }
            let length = length.unwrap_or_else(|| u16::try_from(rest.len() - 12).unwrap());
            for kind in [kind, [0, 1]] {
                let head = [kind, length.to_be_bytes()].concat();
                let bytes = [&head, &b"\x21\x12\xa4\x42"[..], &rest].concat();
                let (cause, out) = answered(&bytes);
                prop_assert!(out.len() <= FACTOR * bytes.len());
                prop_assert_eq!(out.is_empty(), cause == Cause::Stun);
            }
        }
    }
}
