//! The events that a `tracing` subscriber receives, read by an independent one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sip_authz::internals::in_other_process;
use sip_authz::model::{Account, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::{
    AccountSid, Authorizer, DomainSid, EventOptions, Invite, IpAccessControlListSid, IpAddressSid,
    Snapshot, Transport,
};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn authorizer() -> Authorizer {
    let account = AccountSid::from_name(&["a"]);
    let domain = DomainSid::from_name(&["a", "d"]);
    let list = IpAccessControlListSid::from_name(&["a", "l"]);
    let address = IpAddressSid::from_name(&["a", "l", "1"]);
    let snapshot = Snapshot::builder()
        .account(Account::new(account))
        .domain(Domain::new(domain, account, "sip.example.com".parse().unwrap()))
        .ip_access_control_list(IpAccessControlList::new(list, account))
        .ip_address(IpAddress::new(address, list, "192.0.2.0/24".parse().unwrap()))
        .mapping(Mapping::IpAccessControlList(domain.into(), list))
        .number(17)
        .build();
    Authorizer::new(snapshot.unwrap()).unwrap()
}

/// The events for four decisions: three in a batch, and a single one.
fn events_of(options: Option<EventOptions>, level: tracing::Level) -> Vec<String> {
    let authorizer = authorizer();
    if let Some(options) = options {
        authorizer.set_events(options);
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let invite =
        |uri: &'static str, source: &str| Invite::new(uri, source.parse().unwrap(), Transport::Tcp);
    let long = "M".repeat(33);
    let inside = invite("sip:secret-callee@sip.example.com", "192.0.2.9:5060");
    let outside =
        invite("sip:secret-callee@sip.example.com", "198.51.100.9:5060").with_method("MESSAGE");
    let nowhere =
        invite("sip:secret-callee@nowhere.example.com", "192.0.2.9:5060").with_method(&long);
    tracing::subscriber::with_default(subscriber, || {
        let (now, mut out) = (Instant::now(), Vec::new());
        let batch = [inside.clone(), outside, nowhere];
        assert_eq!(authorizer.authorize_batch(&batch, now, &mut out), Some(17));
        let _ = authorizer.authorize(&inside, now);
        let _ = authorizer.explain(&inside, now);
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_decision_is_one_event_without_names() {
    let lines = events_of(None, tracing::Level::DEBUG);
    let [accept, outside, nowhere, alone] = &lines[..] else { panic!("{lines:?}") };
    for part in [
        "sip_authz::decision",
        "authorize{invites=3}",
        "outcome=\"accept\"",
        "reason=\"passed\"",
        "status=200",
        "snapshot=17",
        "method=\"INVITE\"",
        "transport=\"tcp\"",
        " target=SD",
        " access_list=AL",
        " address=IP",
    ] {
        assert!(accept.contains(part), "no {part} in {accept}");
    }
    assert!(outside.contains("reason=\"address-not-listed\"") && outside.contains(" target=SD"));
    assert!(outside.contains("cause=\"address-not-listed\"") && !accept.contains("cause="));
    assert!(nowhere.contains("reason=\"unknown-host\"") && !nowhere.contains(" target="));
    assert!(outside.contains("method=\"MESSAGE\""), "{outside}");
    assert!(!nowhere.contains("method="), "too long for a log: {nowhere}");
    assert!(alone.contains("authorize{invites=1}"), "{alone}");
    let all = lines.join("\n");
    for secret in ["192.0.2", "198.51.100", "secret-callee", "example.com"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn options_select_decisions_and_names() {
    let events_of = |sampling: &str, names| {
        let options =
            EventOptions::default().with_sampling(sampling.parse().unwrap()).with_names(names);
        events_of(Some(options), tracing::Level::INFO)
    };
    assert_eq!(events_of("all", false).len(), 4);
    let refused = events_of("refused", true);
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|line| line.contains("outcome=\"reject\"")), "{refused:?}");
    assert!(refused.first().unwrap().contains("source=198.51.100.9:5060"), "{refused:?}");
    let some = events_of("1/2", false);
    assert_eq!(some.len(), 2);
    assert!(some.iter().any(|line| line.contains("unknown-host")), "{some:?}");
    assert_eq!(events_of("none", true), [""; 0]);
    let options = EventOptions::default().with_names(true);
    assert!(self::events_of(Some(options), tracing::Level::WARN).is_empty());
}

/// A subscriber could wait for a lock that another thread held at a fork.
#[test]
fn a_process_that_did_not_create_the_authorizer_emits_no_event_and_no_span() {
    let lines_of = |authorizer: Authorizer| {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_writer(move || writer.clone())
            .finish();
        let source = "192.0.2.9:5060".parse().unwrap();
        let invite = Invite::new("sip:a@sip.example.com", source, Transport::Tcp);
        tracing::subscriber::with_default(subscriber, || {
            let now = Instant::now();
            let _ = authorizer.authorize(&invite, now);
            let _ = authorizer.authorize_now(&invite);
            authorizer.authorize_batch(&vec![invite.clone(); 40], now, &mut Vec::new());
            let _ = authorizer.explain(&invite, now);
        });
        assert_eq!(authorizer.counts().total(), 42);
        let text = lines.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    };
    assert_eq!(lines_of(authorizer()).matches("outcome=\"accept\"").count(), 42);
    assert_eq!(lines_of(in_other_process(authorizer())), "");
}
