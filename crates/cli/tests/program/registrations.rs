//! Phones that register through the edge, calls to them, and attacks on both. The crate of the proxy
//! tests its rules more closely; here are the sockets.

mod attacks;
mod world;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::metrics::{address, wait_for, wait_for_all};
use crate::support::{Caller, PATIENCE, Request, Server, file, header, outcome, run, status};
use crate::tcp::Connection;
use world::{
    DOMAIN, PASSWORD, Socket, World, bye_of_the_phone, next, path, register, response, token,
    values,
};

#[test]
fn a_registration_reaches_the_pbx_with_the_path_of_the_edge() {
    let world = World::new();
    let phone = Socket::new();
    let forwarded = world.register(&phone, "alice");
    assert!(forwarded.starts_with(&format!("REGISTER sip:{DOMAIN} SIP/2.0\r\n")), "{forwarded}");
    let path = path(&forwarded);
    let inside = world.inside;
    assert!(path.ends_with(&format!("@{inside};transport=udp;lr>")), "{path}");
    assert_eq!(values(&forwarded, "Supported"), ["path"]);
    assert_eq!(values(&forwarded, "X-Authz-User"), ["alice"]);
    assert_eq!(values(&forwarded, "X-Authz-Domain"), [DOMAIN]);
    assert!(values(&forwarded, "Authorization").is_empty());
    assert!(values(&forwarded, "Record-Route").is_empty());
    // a phone that uses outbound gets `ob`: the edge answers STUN
    let contact = "<sip:alice@127.0.0.1>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"";
    let request = Request::new("REGISTER", &format!("sip:{DOMAIN}"))
        .to(&format!("<sip:alice@{DOMAIN}>"))
        .header("Contact", contact);
    let challenge = phone.ask(&request.text(), world.outside);
    phone.send(request.authorized(&challenge, "alice", PASSWORD).text(), world.outside);
    let (forwarded, _) = world.pbx.receive();
    assert!(world::path(&forwarded).ends_with(";lr;ob>"), "{forwarded}");
    // either credentials field is taken
    let request = register("alice", "127.0.0.1");
    let challenge = phone.ask(&request.text(), world.outside);
    let authorized = request.authorized(&challenge, "alice", PASSWORD).text();
    phone.send(authorized.replace("\r\nAuthorization:", "\r\nProxy-Authorization:"), world.outside);
    assert!(world.pbx.receive().0.starts_with("REGISTER "));
}

/// A call of the PBX to a phone over UDP, with every request that it can have.
fn call(world: &World, phone: &Socket, path: &str) {
    let invite = world.to_phone("INVITE", &[path]);
    world.pbx.send(invite.text(), world.inside);
    let (ringing, from) = phone.receive();
    assert_eq!(from, world.outside);
    assert!(ringing.starts_with("INVITE sip:alice@192.0.2.1:5070 SIP/2.0\r\n"), "{ringing}");
    assert!(values(&ringing, "Route").is_empty());
    assert_eq!(values(&ringing, "Record-Route").len(), 2);
    assert!(!ringing.contains(token(path)), "{ringing}");
    phone.send(response(&ringing, "180 Ringing", "t"), world.outside);
    assert_eq!(status(&world.pbx.receive().0), 180);
    phone.send(response(&ringing, "200 OK", "t"), world.outside);
    let (ok, from) = world.pbx.receive();
    assert_eq!((status(&ok), from), (200, world.inside));
    for (method, cseq) in [("ACK", 1), ("INVITE", 2), ("INFO", 3), ("NOTIFY", 4)] {
        world.pbx.send(next(&invite, method, &ok, cseq).text(), world.inside);
        let (request, _) = phone.receive();
        assert!(request.starts_with(method) && values(&request, "Route").is_empty(), "{request}");
    }
    // the phone ends it
    phone.send(bye_of_the_phone(&ringing, "UDP", "t"), world.outside);
    let (bye, from) = world.pbx.receive();
    assert!(bye.starts_with("BYE ") && from == world.inside, "{bye}");
    world.pbx.send(response(&bye, "200 OK", "t"), world.inside);
    assert_eq!(status(&phone.receive().0), 200);
}

#[test]
fn a_phone_over_udp_is_called_also_after_a_restart() {
    let world = World::new();
    let phone = Socket::new();
    let path = path(&world.register(&phone, "alice"));
    call(&world, &phone, &path);

    // a call that is given up
    let invite = world.to_phone("INVITE", &[&path]);
    world.pbx.send(invite.text(), world.inside);
    let (ringing, _) = phone.receive();
    let cancel = invite.text().replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    world.pbx.send(&cancel, world.inside);
    let (cancelled, _) = phone.receive();
    assert!(cancelled.starts_with("CANCEL "), "{cancelled}");
    let branch = |message: &str| values(message, "Via")[0].to_owned();
    assert_eq!(branch(&cancelled), branch(&ringing));
    phone.send(response(&ringing, "487 Request Terminated", "t"), world.outside);
    let (ended, _) = world.pbx.receive();
    assert_eq!(status(&ended), 487);
    let ack = invite.text().replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK");
    let to = header(&ended, "To").unwrap();
    world
        .pbx
        .send(ack.replace("To: <sip:alice@192.0.2.1:5070>", &format!("To: {to}")), world.inside);
    let (ack, _) = phone.receive();
    assert!(ack.starts_with("ACK ") && branch(&ack) == branch(&ringing), "{ack}");

    // requests outside a dialog
    for method in ["OPTIONS", "NOTIFY", "MESSAGE", "SUBSCRIBE", "REFER"] {
        world.pbx.send(world.to_phone(method, &[&path]).text(), world.inside);
        let (request, _) = phone.receive();
        assert!(request.starts_with(method), "{request}");
        phone.send(response(&request, "200 OK", "t"), world.outside);
        assert_eq!(status(&world.pbx.receive().0), 200);
    }
    for method in ["REGISTER", "PUBLISH"] {
        let answer = world.pbx.ask(&world.to_phone(method, &[&path]).text(), world.inside);
        assert_eq!(status(&answer), 403, "{answer}");
    }

    let world = world.restarted();
    call(&world, &phone, &path);
    assert!(phone.is_quiet());
}

#[test]
fn a_phone_over_tcp_is_called_on_its_connection_and_never_after_it() {
    let world = World::new();
    let mut phone = Connection::from([127, 0, 0, 1], world.outside);
    let first = path(&world.register_over_tcp(&mut phone, "alice"));
    let ask = |world: &World, phone: &mut Connection, path: &str| {
        world.pbx.send(world.to_phone("INVITE", &[path]).text(), world.inside);
        let invite = phone.response();
        assert!(invite.starts_with("INVITE "), "{invite}");
        phone.send(response(&invite, "200 OK", "t"));
        let (ok, _) = world.pbx.receive();
        assert_eq!(status(&ok), 200, "{ok}");
        // its own next request, on the same connection
        phone.send(bye_of_the_phone(&invite, "TCP", "t"));
        assert!(world.pbx.receive().0.starts_with("BYE "));
    };
    ask(&world, &mut phone, &first);

    // the same phone connects again: the old token leads nowhere, although address and port are free
    let port = phone.stream.local_addr().unwrap();
    drop(phone);
    let refused = |world: &World, path: &str| {
        let start = Instant::now();
        // a request before the edge has seen the end of the connection gets no answer
        while start.elapsed() < PATIENCE {
            let options = world.to_phone("OPTIONS", &[path]).text();
            world.pbx.send(&options, world.inside);
            while let Some(answer) = world.pbx.receive_soon() {
                assert!(answer.starts_with("SIP/2.0 430 Flow Failed\r\n"), "{answer}");
                // not a late one to an earlier request
                if header(&answer, "Call-ID") == header(&options, "Call-ID") {
                    return;
                }
            }
        }
        panic!("no answer");
    };
    let mut again = Connection::from([127, 0, 0, 1], world.outside);
    let second = path(&world.register_over_tcp(&mut again, "alice"));
    assert_ne!(token(&first), token(&second));
    assert_ne!(again.stream.local_addr().unwrap(), port);
    world.pbx.send(world.to_phone("ACK", &[&first]).text(), world.inside);
    refused(&world, &first);
    ask(&world, &mut again, &second);

    // nor after a restart, until the phone has registered on a new connection
    let world = world.restarted();
    refused(&world, &second);
    let mut third = Connection::from([127, 0, 0, 1], world.outside);
    let path = path(&world.register_over_tcp(&mut third, "alice"));
    ask(&world, &mut third, &path);
    refused(&world, &first);
}

#[test]
fn a_pbx_calls_on_the_connection_that_the_edge_opened() {
    let (world, listener) = World::over_tcp();
    let phone = Socket::new();
    let request = register("alice", "127.0.0.1");
    let challenge = phone.ask(&request.text(), world.outside);
    phone.send(request.authorized(&challenge, "alice", PASSWORD).text(), world.outside);
    let (mut pbx, _) = listener.accept().unwrap();
    let mut writer = pbx.try_clone().unwrap();
    let mut receive = || {
        let mut bytes = Vec::new();
        let mut byte = [0; 1];
        while !bytes.ends_with(b"\r\n\r\n") {
            pbx.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).unwrap()
    };
    let forwarded = receive();
    let path = path(&forwarded);
    let via = |request: Request| request.via("SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKx");
    let sent = [
        response(&forwarded, "200 OK", "r"),
        via(world.to_phone("INVITE", &[&path])).text(),
        via(Request::new("INVITE", &format!("sip:alice@{DOMAIN}"))).text(),
        via(Request::new("OPTIONS", "sip:127.0.0.1")).text(),
    ];
    writer.write_all(sent.concat().as_bytes()).unwrap();
    assert_eq!(status(&phone.receive().0), 200);
    let (ringing, _) = phone.receive();
    assert!(ringing.starts_with("INVITE "), "{ringing}");
    assert_eq!([status(&receive()), status(&receive())], [403, 200]);
    phone.send(response(&ringing, "200 OK", "t"), world.outside);
    let ok = receive();
    assert_eq!(status(&ok), 200);
    // and within the call
    let invite = via(Request::new("INVITE", "sip:x").call_id(&header(&ok, "Call-ID").unwrap()));
    writer.write_all(next(&invite, "BYE", &ok, 2).text().as_bytes()).unwrap();
    assert!(phone.receive().0.starts_with("BYE "));
}

#[test]
fn a_call_outlives_the_connection_on_which_the_pbx_called() {
    let (world, listener) = World::over_tcp();
    let phone = Socket::new();
    let request = register("alice", "127.0.0.1");
    let challenge = phone.ask(&request.text(), world.outside);
    phone.send(request.authorized(&challenge, "alice", PASSWORD).text(), world.outside);
    let mut kept = Connection::of(listener.accept().unwrap().0);
    let path = path(&kept.response());
    // the PBX calls on a connection of its own, and ends it; the PBX of another domain has its address too
    let mut own = Connection::from([127, 0, 0, 1], world.inside);
    let invite = world.to_phone("INVITE", &[&path]).via("SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKi");
    own.send(invite.text());
    let (ringing, _) = phone.receive();
    phone.send(response(&ringing, "200 OK", "t"), world.outside);
    assert_eq!(status(&own.response()), 200);
    drop(own);
    // a BYE is lost before the edge has seen the end of the connection, and the phone sends it again
    let start = Instant::now();
    let bye = loop {
        phone.send(bye_of_the_phone(&ringing, "UDP", "t"), world.outside);
        match kept.response_soon() {
            Some(bye) => break bye,
            None => assert!(start.elapsed() < PATIENCE, "no BYE"),
        }
    };
    assert!(bye.starts_with("BYE "), "{bye}");
    assert_eq!(values(&bye, "X-Authz-User"), ["alice"]);
}

#[test]
fn a_connection_of_a_registered_phone_keeps_its_place() {
    let world = World::with(&["--sip-connections", "8"]);
    let mut phone = Connection::from([127, 0, 0, 1], world.outside);
    let path = path(&world.register_over_tcp(&mut phone, "alice"));
    let answers = |stranger: &mut Connection| {
        stranger.send(Request::new("OPTIONS", "sip:x").via("SIP/2.0/TCP a;branch=z9hG4bKo").text());
        stranger.try_response().is_some()
    };
    let mut strangers: Vec<_> = (0..40)
        .map(|_| {
            let mut stranger = Connection::from([127, 0, 0, 1], world.outside);
            assert!(answers(&mut stranger));
            stranger
        })
        .collect();
    world.pbx.send(world.to_phone("MESSAGE", &[&path]).text(), world.inside);
    assert!(phone.response().starts_with("MESSAGE "));
    // the older strangers lose theirs
    while strangers.iter_mut().map(Connection::is_open).filter(|open| *open).count() > 7 {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(strangers.iter_mut().rev().take(7).all(Connection::is_open));
}

#[test]
fn keep_alives_are_answered_or_dropped() {
    let world = World::with(&["--metrics", "127.0.0.1:0"]);
    let phone = Socket::new();
    let binding = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
    phone.send(binding, world.outside);
    let (answer, from) = phone.receive_bytes();
    assert_eq!(from, world.outside);
    assert_eq!((&answer[..4], answer.len()), (&[1, 1, 0, 12][..], 32));
    assert_eq!(answer[4..20], binding[4..]);
    let port = u16::from_be_bytes([answer[26] ^ 0x21, answer[27] ^ 0x12]);
    assert_eq!(port, phone.address().port());
    // none of these has an answer
    for silent in [
        &b"\r\n"[..],
        b"\r\n\r\n",
        b"\0",
        b"\0\0\0\0",
        b"",
        b"\0\x11\0\0\x21\x12\xa4\x42abcdefghijkl",
    ] {
        phone.send(silent, world.outside);
    }
    let still = phone.ask(&Request::new("OPTIONS", "sip:127.0.0.1").text(), world.outside);
    assert_eq!(status(&still), 200);
    // on a stream, also in parts and between messages
    let mut stream = Connection::from([127, 0, 0, 1], world.outside).stream;
    let mut pong = [0; 2];
    for parts in [&[&b"\r\n\r\n"[..]][..], &[b"\r", b"\n", b"\r", b"\n"], &[b"\r\n", b"\r\n"]] {
        for part in parts {
            stream.write_all(part).unwrap();
        }
        stream.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n");
    }
    let url = address(&world.server.stdout);
    let count = |outcome: &str, reason: &str| {
        format!("sip_authz_other_messages_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}")
    };
    let expected = [
        (count("ignored", "keep-alive"), 5.0),
        (count("answered", "stun binding"), 1.0),
        (count("ignored", "stun"), 1.0),
    ];
    wait_for_all(&url, &expected);
}

#[test]
fn a_pbx_that_challenges_in_the_realm_of_the_edge_is_named() {
    let world = World::with(&["--metrics", "127.0.0.1:0"]);
    let phone = Socket::new();
    for (number, realm, status_line) in [
        (1, "elsewhere", "401 Unauthorized"),
        (2, DOMAIN, "407 Proxy Authentication Required"),
        (3, DOMAIN, "401 Unauthorized"),
    ] {
        let fresh = register("alice", "127.0.0.1").call_id(&format!("challenged-{number}"));
        let challenge = phone.ask(&fresh.text(), world.outside);
        phone.send(fresh.authorized(&challenge, "alice", PASSWORD).text(), world.outside);
        let (forwarded, _) = world.pbx.receive();
        let answer = response(&forwarded, status_line, "r").replace(
            "Contact:",
            &format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"\r\nContact:"),
        );
        world.pbx.send(answer, world.inside);
        let (relayed, _) = phone.receive();
        assert!(relayed.starts_with(&format!("SIP/2.0 {status_line}\r\n")), "{relayed}");
    }
    let line = world.server.stderr.wait_for("challenges in the realm");
    let hop = format!("sip-authz: warning: hop 127.0.0.1 (udp {})", world.pbx.address());
    assert!(line.starts_with(&hop) && line.contains(&format!("`{DOMAIN}`")), "{line}");
    let url = address(&world.server.stdout);
    let series = "sip_authz_other_messages_total{outcome=\"forwarded\",\
                  reason=\"challenge of a next hop in a realm of the edge\"}";
    wait_for(&url, series, 2.0);
}

#[test]
fn the_method_is_in_logs_metrics_and_explanations() {
    let log = file("decisions.json", "");
    let world = World::with(&[
        "--metrics",
        "127.0.0.1:0",
        "--log",
        "decisions",
        "--decision-log",
        log.to_str().unwrap(),
    ]);
    let phone = Socket::new();
    world.register(&phone, "alice");
    let call = Request::invite(&format!("sip:1@{DOMAIN}"));
    assert_eq!(status(&phone.ask(&call.text(), world.outside)), 407);
    let url = address(&world.server.stdout);
    let series = |method: &str, outcome: &str| {
        format!("sip_authz_method_decisions_total{{method=\"{method}\",outcome=\"{outcome}\"}}")
    };
    let expected = [
        ("INVITE", "challenge", 1.0),
        ("REGISTER", "challenge", 1.0),
        ("REGISTER", "accept", 1.0),
        ("REGISTER", "reject", 0.0),
        ("INVITE", "accept", 0.0),
        ("other", "accept", 0.0),
    ];
    let expected = expected.map(|(method, outcome, count)| (series(method, outcome), count));
    wait_for_all(&url, &expected);
    let line = world.server.stderr.wait_for("accept target=");
    assert!(line.contains(" transport=udp method=REGISTER list="), "{line}");
    let line = world.server.stderr.wait_for("status=407");
    assert!(!line.contains("method="), "{line}");
    world.server.end("TERM");
    let lines = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let methods: Vec<_> = lines
        .iter()
        .map(|line| (line["method"].as_str().unwrap(), line["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        methods,
        [("REGISTER", "challenge"), ("REGISTER", "accept"), ("INVITE", "challenge")]
    );
}

#[test]
fn check_explains_a_registration() {
    let config = file(
        "edge.toml",
        "realm = 'r'\n[[credential_lists]]\nname = 'phones'\ncredentials = [{ username = 'a', password = 'b' }]\n\
         [[domains]]\nname = 'sip.example.com'\nregistrations = ['phones']\non_accept = 'ok'\n",
    );
    let request = config.with_file_name("register.sip");
    std::fs::write(&request, register("a", "192.0.2.1").text()).unwrap();
    let (config, request) = (config.to_str().unwrap(), request.to_str().unwrap());
    let args = ["check", "--config", config, "--source", "192.0.2.7", request];
    let (code, printed, error) = outcome(&run(&args));
    assert_eq!(code, Some(1), "{error}");
    assert!(printed.contains("registrations: 1 list mapped"), "{printed}");
    assert!(printed.contains("401"), "{printed}");
}

#[test]
fn a_start_without_an_inside_listener_warns() {
    let warning = "phones can register, but no listener is marked `inside`";
    let config = file(
        "edge.toml",
        "realm = 'r'\n[[credential_lists]]\nname = 'phones'\n\
         [[domains]]\nname = 'sip.example.com'\nregistrations = ['phones']\n",
    );
    let config = ["--config", config.to_str().unwrap(), "--hop-probe", "0"];
    let forward = [&config[..], &["--on-accept", "forward:127.0.0.1:9"]].concat();
    Server::start(&forward).stderr.wait_for(warning);
    for more in [&["--sip", "127.0.0.1:0,inside"][..], &["--on-accept", "ok"]] {
        let args = if more[0] == "--sip" { &forward[..] } else { &config[..] };
        let server = Server::start(&[args, more].concat());
        let caller = Caller::new(&server);
        assert_eq!(status(&caller.ask(&Request::new("OPTIONS", "sip:x").text())), 200);
        let lines = server.stderr.all();
        assert!(!lines.iter().any(|line| line.contains(warning)), "{lines:?}");
    }
}

#[test]
fn a_start_with_an_inside_listener_on_all_addresses_warns() {
    let forward = ["--demo", "--hop-probe", "0", "--on-accept", "forward:127.0.0.1:9"];
    for (listener, warns) in [
        ("0.0.0.0:0,inside", true),
        (":0,inside", true),
        ("127.0.0.1:0,inside", false),
        ("0.0.0.0:0", false),
    ] {
        let server = Server::start(&[&forward[..], &["--sip", listener]].concat());
        // the listeners are open after the warnings
        let caller = Caller::new(&server);
        assert_eq!(status(&caller.ask(&Request::new("OPTIONS", "sip:x").text())), 200);
        let lines = server.stderr.all();
        let warned =
            lines.iter().any(|line| line.contains("`inside` and listens on all addresses"));
        assert_eq!(warned, warns, "{listener}: {lines:?}");
    }
}

#[test]
fn nothing_is_registered_where_calls_are_not_forwarded() {
    let server = Server::demo();
    let phone = Caller::new(&server);
    let answer = phone.ask(&Request::new("REGISTER", "sip:by-password.example").text());
    assert_eq!(status(&answer), 405, "{answer}");
    let world = World::new();
    let phone = Socket::new();
    let ask = |host: &str| {
        let request = register("alice", "127.0.0.1").text().replace(DOMAIN, host);
        status(&phone.ask(&request, world.outside))
    };
    assert_eq!([ask("answered.example.com"), ask("none.example.com")], [405, 403]);
}
