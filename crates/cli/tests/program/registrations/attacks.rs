//! Attacks on registrations and on calls to phones, over real sockets.

use std::net::{SocketAddr, UdpSocket};

use super::world::{
    DOMAIN, PASSWORD, Socket, World, next, path, register, response, token, values,
};
use crate::support::{PATIENCE, Request, header, status, verdict};
use crate::tcp::Connection;

/// The final answer to a request that is sent again with the password of a user.
fn answered(world: &World, phone: &Socket, request: &Request, user: &str) -> String {
    let challenge = phone.ask(&request.text(), world.outside);
    assert!(matches!(status(&challenge), 401 | 407), "{challenge}");
    phone.ask(&request.authorized(&challenge, user, PASSWORD).text(), world.outside)
}

#[test]
fn a_user_registers_only_itself() {
    let world = World::new();
    let phone = Socket::new();
    let to = |to: &str| {
        Request::new("REGISTER", &format!("sip:{DOMAIN}"))
            .to(to)
            .header("Contact", "<sip:alice@127.0.0.1>")
    };
    // another user by one's own password; a third party; another domain of the edge, and a foreign one
    for other in [
        format!("<sip:bob@{DOMAIN}>"),
        format!("\"alice\" <sip:bob@{DOMAIN};user=alice>"),
        format!("<sip:Alice@{DOMAIN}>"),
        format!("<sip:{DOMAIN}>"),
        format!("<sip:alice%40x@{DOMAIN}>"),
        "<sip:alice@none.example.com>".to_owned(),
        "<sip:alice@elsewhere.example>".to_owned(),
        "<tel:100>".to_owned(),
    ] {
        let answer = answered(&world, &phone, &to(&other), "alice");
        assert_eq!(status(&answer), 403, "{other}: {answer}");
    }
    // two To fields: another server could read the other one
    let twice = to(&format!("<sip:alice@{DOMAIN}>")).header("To", &format!("<sip:bob@{DOMAIN}>"));
    let answer = phone.ask(&twice.text(), world.outside);
    assert_eq!(status(&answer), 400, "{answer}");
    // a list for calls registers no one, and one for registrations admits no call
    let carol = to(&format!("<sip:carol@{DOMAIN}>"));
    assert_eq!(status(&answered(&world, &phone, &carol, "carol")), 403);
    let call = Request::invite(&format!("sip:100@{DOMAIN}"));
    assert_eq!(status(&answered(&world, &phone, &call, "alice")), 403);
    // a response for one method does not count for the other
    let challenge = phone.ask(&register("alice", "127.0.0.1").text(), world.outside);
    let register = register("alice", "127.0.0.1");
    let stolen = register.authorized(&challenge, "alice", PASSWORD).text();
    let invite = stolen.replace("REGISTER", "INVITE");
    assert_ne!(status(&phone.ask(&invite, world.outside)), 200);
    assert!(world.pbx.is_quiet());
    assert_eq!(status(&answered_by(&world, &phone)), 200);
}

/// A registration that is right.
fn answered_by(world: &World, phone: &Socket) -> String {
    let request = register("alice", "127.0.0.1");
    let challenge = phone.ask(&request.text(), world.outside);
    phone.send(request.authorized(&challenge, "alice", PASSWORD).text(), world.outside);
    let (forwarded, _) = world.pbx.receive();
    world.pbx.send(response(&forwarded, "200 OK", "r"), world.inside);
    phone.receive().0
}

#[test]
fn guesses_by_register_and_invite_share_their_limit() {
    let world = World::new();
    let phone = Socket::new();
    // the same user in a list for calls and in one for registrations of the domain
    let guess = |request: Request| {
        let challenge = phone.ask(&request.text(), world.outside);
        let request = request.authorized(&challenge, "alice", "wrong password");
        verdict(&phone.ask(&request.text(), world.outside))
    };
    let mut answers = Vec::new();
    for number in 0..30 {
        answers.push(guess(if number % 2 == 0 {
            register("alice", "127.0.0.1")
        } else {
            Request::invite(&format!("sip:100@{DOMAIN}"))
        }));
    }
    assert!(answers.iter().all(|(status, _)| *status == 403), "{answers:?}");
    // then the right password is not even compared
    let right = answered(&world, &phone, &register("alice", "127.0.0.1"), "alice");
    assert_eq!(status(&right), 403, "{right}");
    assert!(world.pbx.is_quiet());
}

#[test]
fn a_path_of_a_phone_goes_nowhere() {
    let world = World::new();
    let phone = Socket::new();
    let (mine, forged) = (path(&world.register(&phone, "alice")), "<sip:192.0.2.66;lr>");
    for (number, fields) in [
        format!("Path: {forged}"),
        format!("path:{forged}\r\nPATH : {mine}, {forged}"),
        format!("Path:\r\n {forged}"),
        format!("Path: {mine}"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = register("alice", "127.0.0.1").call_id(&format!("forged-{number}"));
        let challenge = phone.ask(&request.text(), world.outside);
        let request = request.authorized(&challenge, "alice", PASSWORD).text();
        let request = request.replace("Max-Forwards", &format!("{fields}\r\nMax-Forwards"));
        phone.send(&request, world.outside);
        if request.contains("PATH :") {
            // a space before the colon is refused in the whole head
            assert_eq!(status(&phone.receive().0), 400);
            continue;
        }
        let (forwarded, _) = world.pbx.receive();
        let lower = forwarded.to_lowercase();
        assert!(!lower.contains("192.0.2.66"), "{forwarded}");
        assert_eq!(lower.matches("path: <sip:").count(), 1, "{forwarded}");
        world.pbx.send(response(&forwarded, "200 OK", "r"), world.inside);
        assert_eq!(status(&phone.receive().0), 200);
    }
    assert!(world.pbx.is_quiet());
}

#[test]
fn a_token_that_is_no_flow_token_leads_to_no_phone() {
    let world = World::new();
    let (alice, bob) = (Socket::new(), Socket::new());
    let of_alice = path(&world.register(&alice, "alice"));
    let of_bob = path(&world.register(&bob, "bob"));
    // each token leads to its own flow alone, whatever the Request-URI and further Routes say
    let invite = world.to_phone("INVITE", &[&of_bob, &of_alice, "<sip:192.0.2.66;lr>"]);
    world.pbx.send(invite.text(), world.inside);
    let (received, _) = bob.receive();
    assert!(received.starts_with("INVITE sip:alice@"), "{received}");
    bob.send(response(&received, "200 OK", "t"), world.outside);
    let (ok, _) = world.pbx.receive();
    assert_eq!(status(&ok), 200);
    assert!(alice.is_quiet());

    // parts of two tokens, each changed byte, each shorter token, and tokens of the dialog
    let (one, other) = (token(&of_alice), token(&of_bob));
    let (half, mut forged) = (one.len() / 2, Vec::new());
    forged.push(format!("{}{}", &one[..half], &other[half..]));
    forged.push(format!("{}{}", &other[..half], &one[half..]));
    for at in 0..one.len() {
        let mut changed = one.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(changed).unwrap());
    }
    forged.extend((1..one.len()).step_by(7).map(|length| one[..length].to_owned()));
    forged.extend(values(&ok, "Record-Route").into_iter().map(|route| token(route).to_owned()));
    // tokens of one second begin alike
    forged.retain(|token| token != one && token != other);
    for token in forged {
        let route = of_alice.replace(one, &token);
        let answer = world.pbx.ask(&world.to_phone("MESSAGE", &[&route]).text(), world.inside);
        assert_eq!(status(&answer), 403, "{token}: {answer}");
    }
    // without any, and the ACK and CANCEL of one get no answer
    for method in ["INVITE", "MESSAGE", "NOTIFY", "REGISTER", "SUBSCRIBE", "PUBLISH", "X"] {
        let request = world.to_phone(method, &[]).text();
        for request in
            [request.clone(), request.replace("sip:alice@192.0.2.1", "sip:alice@sip.example.com")]
        {
            let answer = world.pbx.ask(&request, world.inside);
            assert_eq!(status(&answer), 403, "{answer}");
        }
    }
    for method in ["ACK", "CANCEL"] {
        world.pbx.send(world.to_phone(method, &[]).text(), world.inside);
    }
    let bye = world.to_phone("BYE", &[]).text();
    assert_eq!(status(&world.pbx.ask(&bye, world.inside)), 481);
    // a flow token within a call that has no other token
    let lone = world.to_phone("NOTIFY", &[&of_alice]).to("<sip:alice@x>;tag=t");
    world.pbx.send(lone.text(), world.inside);
    assert!(alice.receive().0.starts_with("NOTIFY "));
    assert!(alice.is_quiet() && bob.is_quiet() && world.pbx.is_quiet());
}

#[test]
fn a_stranger_cannot_speak_as_the_pbx() {
    let world = World::new();
    let phone = Socket::new();
    let path = path(&world.register(&phone, "alice"));
    let invite = || world.to_phone("INVITE", &[&path]);
    // another address, the phone itself, and the address of the PBX at the listener for phones
    let stranger = Socket::new();
    for socket in [&stranger, &world.pbx] {
        for method in ["INVITE", "OPTIONS", "MESSAGE", "NOTIFY", "BYE"] {
            let request = world.to_phone(method, &[&path]).text();
            let answer = socket.ask(&request, world.outside);
            assert_eq!(status(&answer), 403, "{method}: {answer}");
        }
        for method in ["ACK", "CANCEL"] {
            socket.send(world.to_phone(method, &[&path]).text(), world.outside);
        }
    }
    assert_eq!(status(&phone.ask(&invite().text(), world.outside)), 403);
    let mut stream = Connection::from([127, 0, 0, 1], world.outside);
    let over_tcp = invite().via("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKs");
    assert_eq!(status(&stream.ask(&over_tcp)), 403);
    // the edge itself as an outbound proxy before the token
    let twice = format!("<sip:{};lr>", world.outside);
    let request = world.to_phone("INVITE", &[&twice, &path]).text();
    assert_eq!(status(&stranger.ask(&request, world.outside)), 403);

    // within a call: the tokens of the phone's dialog count from the address of the PBX alone
    world.pbx.send(invite().text(), world.inside);
    let (received, _) = phone.receive();
    phone.send(response(&received, "200 OK", "t"), world.outside);
    let (ok, _) = world.pbx.receive();
    let bye = next(&invite().call_id(&header(&ok, "Call-ID").unwrap()), "BYE", &ok, 2);
    let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
    elsewhere.set_read_timeout(Some(PATIENCE)).unwrap();
    elsewhere.send_to(bye.text().as_bytes(), world.outside).unwrap();
    let mut buffer = [0; 2_048];
    let length = elsewhere.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 481 "));
    assert!(phone.is_quiet());
    world.pbx.send(bye.text(), world.inside);
    assert!(phone.receive().0.starts_with("BYE "));

    // a response for the phone's transaction from a stranger
    world.pbx.send(world.to_phone("OPTIONS", &[&path]).text(), world.inside);
    let (options, _) = phone.receive();
    stranger.send(response(&options, "200 OK", "s"), world.outside);
    phone.send(response(&options, "486 Busy Here", "t"), world.outside);
    assert_eq!(status(&world.pbx.receive().0), 486);
    assert!(phone.is_quiet() && world.pbx.is_quiet());
}

#[test]
fn a_flood_without_a_token_reaches_no_phone() {
    let world = World::new();
    let phone = Socket::new();
    world.register(&phone, "alice");
    let mut connected = Connection::from([127, 0, 0, 1], world.outside);
    world.register_over_tcp(&mut connected, "bob");
    let strangers: Vec<Socket> = (0..4).map(|_| Socket::new()).collect();
    let contacts: [SocketAddr; 2] = [phone.address(), connected.stream.local_addr().unwrap()];
    let mut answers = 0;
    for round in 0..50 {
        for socket in &strangers {
            for contact in contacts {
                for method in ["OPTIONS", "MESSAGE"] {
                    for uri in [format!("sip:alice@{contact}"), format!("sip:alice@{DOMAIN}")] {
                        let request = Request::new(method, &uri);
                        let request = match round % 2 {
                            0 => request,
                            _ => request.header("Route", &format!("<sip:{contact};lr>")),
                        };
                        let answer = socket.ask(&request.text(), world.outside);
                        answers += usize::from(status(&answer) >= 200);
                    }
                }
            }
        }
    }
    assert_eq!(answers, 50 * 4 * 2 * 2 * 2);
    assert!(phone.is_quiet() && world.pbx.is_quiet());
    // the phone on the stream got nothing either: the next bytes are the answer to its own request
    let own = Request::new("OPTIONS", "sip:127.0.0.1").via("SIP/2.0/TCP a;branch=z9hG4bKo");
    assert_eq!(status(&connected.ask(&own)), 200);
}
