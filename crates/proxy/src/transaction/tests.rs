use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const VIA: &str = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc;rport";

fn keys(current: u8, previous: Option<u8>) -> Keys {
    let secret = |number: u8| [number; 32];
    let previous = previous.map(|number| (number, secret(number)));
    let previous = previous.as_ref().map(|(number, secret)| (*number, secret));
    Keys::new((current, &secret(current)), previous).unwrap()
}

/// A request, its topmost Via and its source.
struct Request {
    line: String,
    vias: Vec<String>,
    from: String,
    to: String,
    call_id: String,
    cseq: String,
    more: String,
    source: IpAddr,
}

impl Request {
    fn new(via: &str) -> Self {
        Self {
            line: "INVITE sip:bob@example.com SIP/2.0".into(),
            vias: vec![via.into()],
            from: "<sip:a@b>;tag=1".into(),
            to: "<sip:bob@example.com>".into(),
            call_id: "c".into(),
            cseq: "7 INVITE".into(),
            more: String::new(),
            source: SOURCE,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = Self {
            line: self.line.clone(),
            vias: self.vias.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq.clone(),
            more: self.more.clone(),
            source: self.source,
        };
        change(&mut other);
        other
    }

    /// Calls `f` with the scanned message and its topmost Via.
    fn scan<T>(&self, f: impl FnOnce(&Message<'_>, &ViaParts<'_>, IpAddr) -> T) -> T {
        let vias: String = self.vias.iter().map(|via| format!("Via: {via}\r\n")).collect();
        let text = format!(
            "{}\r\n{vias}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{}\r\n",
            self.line, self.from, self.to, self.call_id, self.cseq, self.more
        );
        let message = Message::scan(text.as_bytes()).unwrap();
        let via = ViaParts::read(message.first(Header::Via).unwrap()).unwrap();
        f(&message, &via, self.source)
    }

    fn branch(&self, keys: &Keys) -> Option<Branch> {
        self.scan(|message, via, source| Branch::candidates(keys, message, via, source).next())
    }

    fn tag(&self, keys: &Keys) -> String {
        self.scan(|message, via, source| to_tag(keys, message, via, source)).unwrap().to_string()
    }

    fn has_own_tag(&self, keys: &Keys) -> bool {
        self.scan(|message, via, source| is_own_tag(keys, message, via, source))
    }

    fn mark(&self, keys: &Keys, from_inside: bool) -> String {
        self.scan(|message, _, _| LoopMark::of(keys, message, from_inside)).to_string()
    }

    fn loops(&self, keys: &Keys, from_inside: bool) -> bool {
        self.scan(|message, _, _| loops(keys, message, from_inside))
    }
}

fn become_method(request: &mut Request, method: &str) {
    request.line = request.line.replacen("INVITE", method, 1);
    request.cseq = request.cseq.replacen("INVITE", method, 1);
}

#[test]
fn cancel_and_ack_have_the_branch_and_tag_of_their_invite() {
    let keys = keys(1, None);
    for via in [VIA, "SIP/2.0/UDP 192.0.2.1", "SIP/2.0/UDP 192.0.2.1;branch=1"] {
        let invite = Request::new(via);
        let branch = invite.branch(&keys);
        assert!(branch.is_some());
        let same: [&dyn Fn(&mut Request); 6] = [
            &|request| become_method(request, "CANCEL"),
            &|request| become_method(request, "ACK"),
            &|request| request.to.push_str(";tag=2"),
            &|request| request.more = "Authorization: Digest username=\"a\"\r\n".into(),
            &|request| request.cseq = "0007  INVITE".into(),
            &|request| request.source = "::ffff:192.0.2.1".parse().unwrap(),
        ];
        for (at, change) in same.iter().enumerate() {
            let other = invite.with(change);
            assert_eq!(other.branch(&keys), branch, "{via} {at}");
            assert_eq!(other.tag(&keys), invite.tag(&keys), "{via} {at}");
        }
        let further = invite.with(|request| request.vias[0].push_str(", SIP/2.0/UDP b;branch=q"));
        assert_eq!(further.branch(&keys), branch, "{via}");
    }
}

#[test]
fn other_transactions_have_other_branches_and_tags() {
    let keys = keys(1, None);
    for via in [VIA, "SIP/2.0/UDP 192.0.2.1", "SIP/2.0/UDP 192.0.2.1;branch=1"] {
        let invite = Request::new(via);
        let changes: [&dyn Fn(&mut Request); 6] = [
            &|request| request.vias[0] = request.vias[0].replace("192.0.2.1", "192.0.2.2"),
            &|request| request.vias[0].push_str(";branch=z9hG4bKabd"),
            &|request| request.from = "<sip:a@b>;tag=2".into(),
            &|request| request.call_id = "d".into(),
            &|request| request.cseq = "8 INVITE".into(),
            &|request| request.source = "192.0.2.2".parse().unwrap(),
        ];
        for (at, change) in changes.iter().enumerate() {
            let other = invite.with(change);
            assert_ne!(other.branch(&keys), invite.branch(&keys), "{via} {at}");
            assert_ne!(other.tag(&keys), invite.tag(&keys), "{via} {at}");
        }
        // the Request-URI counts only without the magic cookie
        let moved = invite.with(|request| request.line = request.line.replace("bob", "eve"));
        assert_eq!(moved.branch(&keys) == invite.branch(&keys), via == VIA);
    }
}

#[test]
fn a_second_branch_parameter_takes_the_magic_cookie_away() {
    let keys = keys(1, None);
    for branches in ["branch=z9hG4bK1;branch=z9hG4bK1", "branch=z9hG4bK1;x;BRANCH=1"] {
        let invite = Request::new(&format!("SIP/2.0/UDP h;{branches}"));
        let moved = invite.with(|request| request.line = request.line.replace("bob", "eve"));
        assert_ne!(moved.branch(&keys), invite.branch(&keys), "{branches}");
    }
}

#[test]
fn a_request_that_cannot_be_read_has_no_branch() {
    let keys = keys(1, None);
    let changes: [&dyn Fn(&mut Request); 6] = [
        &|request| request.from = "<sip:a@b>;tag=1;tag=2".into(),
        &|request| request.from = "a@b".into(),
        &|request| request.cseq = "INVITE".into(),
        &|request| request.cseq = "x7 INVITE".into(),
        &|request| request.cseq = "-7 INVITE".into(),
        &|request| request.cseq = "7".into(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let request = Request::new(VIA).with(change);
        assert_eq!(request.branch(&keys), None, "{at}");
        let candidates = request
            .scan(|message, via, source| Branch::candidates(&keys, message, via, source).count());
        assert_eq!(candidates, 0, "{at}");
        assert!(!request.has_own_tag(&keys), "{at}");
    }
    let old_phone = Request::new(VIA).with(|request| request.from = "sip:a@b".into());
    assert!(old_phone.branch(&keys).is_some());
}

#[test]
fn a_branch_is_read_as_it_was_written() {
    let branch = Request::new(VIA).branch(&keys(1, None)).unwrap();
    let text = branch.to_string();
    assert_eq!(text.len(), 39);
    assert_eq!(Branch::read(text.as_bytes()), Some(branch));
    for other in [
        String::new(),
        "z9hG4bK".into(),
        text.to_uppercase(),
        text.replacen("z9hG4bK", "z9hg4bk", 1),
        format!("z9hG4bK{}", text[7..].to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")),
        format!("{text}0"),
        format!("{text}00"),
        text[..38].into(),
        text[..37].into(),
        text.replacen("z9hG4bK", "", 1),
        format!(" {text}"),
    ] {
        assert_eq!(Branch::read(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_cancel_finds_the_branch_of_the_key_before() {
    let invite = Request::new(VIA);
    let old = invite.branch(&keys(1, None)).unwrap();
    let cancel = invite.with(|request| become_method(request, "CANCEL"));
    let keys = keys(2, Some(1));
    let candidates: Vec<_> = cancel
        .scan(|message, via, source| Branch::candidates(&keys, message, via, source))
        .collect();
    assert_eq!(candidates, [cancel.branch(&keys).unwrap(), old]);
}

#[test]
fn an_ack_of_an_own_answer_is_recognised() {
    let invite = Request::new(VIA);
    let ack = |tag: &str| {
        invite.with(|request| {
            become_method(request, "ACK");
            request.to.push_str(tag);
        })
    };
    let (old, current) = (keys(1, None), keys(2, Some(1)));
    for tag in [invite.tag(&old), invite.tag(&current)] {
        assert!(ack(&format!(";tag={tag}")).has_own_tag(&current), "{tag}");
        for other in [
            String::new(),
            ";tag=".into(),
            ";tag=1".into(),
            format!(";tag={tag}0"),
            format!(";tag={}", &tag[1..]),
            format!(";tag={tag};tag={tag}"),
            format!(";x={tag}"),
        ] {
            assert!(!ack(&other).has_own_tag(&current), "{other}");
        }
        let other = ack(&format!(";tag={tag}")).with(|request| request.call_id = "d".into());
        assert!(!other.has_own_tag(&current));
    }
    assert!(!ack(&format!(";tag={}", invite.tag(&current))).has_own_tag(&old));
    // the branch shows nothing of the tag
    let branch = invite.branch(&current).unwrap().to_string();
    assert_ne!(branch[7..], invite.tag(&current));
}

/// The request after it passed here, with further Vias of others.
fn forwarded(request: &Request, mark: &str, above: &[&str]) -> Request {
    request.with(|request| {
        let own = format!("SIP/2.0/UDP edge;branch=z9hG4bK1;loop={mark}");
        request.vias.insert(0, own);
        for via in above {
            request.vias.insert(0, (*via).into());
        }
    })
}

#[test]
fn a_loop_is_found_and_a_spiral_passes() {
    let (old, keys) = (keys(1, None), keys(2, Some(1)));
    let request =
        Request::new(VIA).with(|request| request.more = "Route: <sip:edge;lr>\r\n".into());
    assert!(!request.loops(&keys, false));
    for mark in [request.mark(&keys, false), request.mark(&old, false)] {
        assert_eq!(mark.len(), 16);
        let above: &[&[&str]] = &[
            &[],
            &["SIP/2.0/UDP pbx"],
            &["SIP/2.0/TCP [::1]:5 ;x=\",;loop=1\"", "SIP/2.0/UDP pbx;loop=00"],
            &["unreadable;;", "SIP/2.0/UDP pbx"],
        ];
        for above in above {
            let again = forwarded(&request, &mark, above);
            assert!(again.loops(&keys, false), "{above:?}");
            let one_field = again.with(|request| request.vias = vec![request.vias.join(" , ")]);
            if !above.iter().any(|via| via.starts_with("unreadable")) {
                assert!(one_field.loops(&keys, false), "{above:?}");
            }
            // a spiral: another Request-URI, another Route, from the other side
            assert!(!again.loops(&keys, true));
            for (from, to) in [("bob", "eve"), ("bob@", "bob@x."), ("sip:", "sips:")] {
                let spiral = again.with(|request| request.line = request.line.replace(from, to));
                assert!(!spiral.loops(&keys, false), "{to}");
            }
            for more in
                ["", "Route: <sip:other;lr>\r\n", "Route: <sip:edge;lr>\r\nRoute: <sip:x>\r\n"]
            {
                let spiral = again.with(|request| request.more = more.into());
                assert!(!spiral.loops(&keys, false), "{more}");
            }
        }
    }
    let unknown = forwarded(&request, &request.mark(&self::keys(3, None), false), &[]);
    assert!(!unknown.loops(&keys, false));
}

#[test]
fn a_loop_is_looked_for_in_seventy_vias() {
    let keys = keys(1, None);
    let request = Request::new(VIA);
    let mark = request.mark(&keys, false);
    for (above, expected) in [(0, true), (69, true), (70, false), (200, false)] {
        let again = forwarded(&request, &mark, &vec!["SIP/2.0/UDP pbx"; above]);
        assert_eq!(again.loops(&keys, false), expected, "{above}");
        let one_field = again.with(|request| request.vias = vec![request.vias.join(",")]);
        assert_eq!(one_field.loops(&keys, false), expected, "{above}");
    }
}

#[test]
fn the_texts_stay_the_same_over_versions() {
    // a restart with a new version must not part a CANCEL from its INVITE
    let (keys, request) = (keys(1, None), Request::new(VIA));
    let branch = request.branch(&keys).unwrap().to_string();
    assert_eq!(branch, "z9hG4bK3ca788fbfca158d70bbaf7507c3cd2fc");
    assert_eq!(request.tag(&keys), "b5506eec6cb742b53d77712f7d71827c");
    assert_eq!(request.mark(&keys, false), "354735e673c698d4");
    let old_phone = Request::new("SIP/2.0/UDP h").branch(&keys).unwrap().to_string();
    assert_eq!(old_phone, "z9hG4bKa3c42ea79f6c63e866856d1fc07f1dfd");
}
