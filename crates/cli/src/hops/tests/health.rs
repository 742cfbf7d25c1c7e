use super::*;

/// Two hops over UDP, and a forward to both.
async fn two() -> ([Arc<UdpHop>; 2], Forward) {
    let both = [UdpHop::start("127.0.0.1:0").await, UdpHop::start("127.0.0.1:0").await];
    let [a, b] = [&both[0], &both[1]].map(|hop| format!("{};transport=udp", hop.address));
    let forward = forward(&format!("{a},{b}"));
    (both, forward)
}

#[tokio::test(start_paused = true)]
async fn calls_move_to_the_hop_that_answers_and_come_back() {
    let ([a, b], forward) = two().await;
    let (hops, _) = hops(10);
    hops.set([&forward]);
    until(|| a.asked() > 0 && b.asked() > 0).await;
    sleep(SECOND).await;
    assert!(all_go_to(&hops, &forward, &[a.address, b.address]));
    a.set(0);
    let took = until(|| all_go_to(&hops, &forward, &[b.address])).await;
    // an interval, and two probes of 2 s
    assert!(took <= 16 * SECOND, "{took:?}");
    let state = &hops.states()[0];
    assert_eq!((state.is_up, state.reason.as_deref()), (false, Some("no answer to OPTIONS")));
    assert_eq!(state.status, Some(200));
    b.set(0);
    let took = until(|| hops.choose(&forward, false, false, b"1").is_none()).await;
    assert!(took <= 16 * SECOND, "{took:?}");
    a.set(404);
    let took = until(|| all_go_to(&hops, &forward, &[a.address])).await;
    assert!(took <= 12 * SECOND, "{took:?}");
    assert_eq!(hops.states()[0].status, Some(404));
    b.set(200);
    until(|| all_go_to(&hops, &forward, &[a.address, b.address])).await;
}

#[tokio::test(start_paused = true)]
async fn a_lower_priority_is_used_while_it_answers() {
    let ([a, b], _) = two().await;
    let (hops, _) = hops(10);
    let forward = forward(&format!(
        "{};transport=udp;priority=1,{};transport=udp;priority=2",
        a.address, b.address
    ));
    hops.set([&forward]);
    assert!(all_go_to(&hops, &forward, &[a.address]));
    a.set(0);
    until(|| all_go_to(&hops, &forward, &[b.address])).await;
    a.set(200);
    until(|| all_go_to(&hops, &forward, &[a.address])).await;
}

#[tokio::test(start_paused = true)]
async fn a_single_lost_probe_changes_nothing() {
    let ([a, b], forward) = two().await;
    let (hops, _) = hops(10);
    hops.set([&forward]);
    until(|| a.asked() > 0).await;
    for _ in 0..3 {
        let asked = a.asked();
        a.set(0);
        // the first and two retransmissions (RFC 3261 §17.1.2)
        until(|| a.asked() == asked + 3).await;
        a.set(200);
        until(|| a.asked() == asked + 4).await;
        assert!(all_go_to(&hops, &forward, &[a.address, b.address]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hop_that_answers_503_or_408_is_down_at_once() {
    let ([a, b], forward) = two().await;
    let (hops, _) = hops(10);
    hops.set([&forward]);
    for status in [503, 408] {
        a.set(status);
        let took = until(|| all_go_to(&hops, &forward, &[b.address])).await;
        assert!(took <= 12 * SECOND, "{took:?}");
        assert_eq!(hops.states()[0].status, Some(status));
        a.set(501);
        until(|| all_go_to(&hops, &forward, &[a.address, b.address])).await;
    }
    // provisional ones are no answer
    a.provisional.store(true, Ordering::Relaxed);
    a.set(0);
    until(|| all_go_to(&hops, &forward, &[b.address])).await;
}

#[tokio::test(start_paused = true)]
async fn probes_are_spread_and_follow_the_interval() {
    let ([a, b], forward) = two().await;
    let (hops, _) = hops(10);
    hops.set([&forward]);
    sleep(100 * SECOND).await;
    for hop in [&a, &b] {
        assert!((9..=12).contains(&hop.asked()), "{}", hop.asked());
    }
    // the same hops again are no new ones, and removed ones get no more probes
    let (asked, none) = (a.asked(), []);
    hops.set([&forward, &forward]);
    sleep(SECOND).await;
    assert!(a.asked() <= asked + 1);
    hops.set(none);
    let asked = a.asked();
    sleep(60 * SECOND).await;
    assert_eq!(a.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn without_probes_all_hops_are_up() {
    let ([a, b], forward) = two().await;
    let (hops, _) = hops(0);
    hops.set([&forward]);
    sleep(60 * SECOND).await;
    assert_eq!((a.asked(), b.asked()), (0, 0));
    assert!(all_go_to(&hops, &forward, &[a.address, b.address]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_another_address_or_with_another_call_id_is_none() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let (hops, _) = hops(10);
    let forward = forward(&format!("{};transport=udp", socket.local_addr().unwrap()));
    hops.set([&forward]);
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        loop {
            let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
            let right = answer(&buffer[..length], 200);
            other.send_to(&right, source).await.unwrap();
            let text = String::from_utf8(right).unwrap();
            let guessed = text.replace("Call-ID: ", "Call-ID: 0");
            socket.send_to(guessed.as_bytes(), source).await.unwrap();
            socket.send_to(b"garbage", source).await.unwrap();
        }
    });
    until(|| hops.choose(&forward, false, false, b"1").is_none()).await;
    assert_eq!(hops.states()[0].status, None);
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_the_state_of_each_hop() {
    use metrics::with_local_recorder;
    let ([a, b], _) = two().await;
    let (hops, _) = hops(10);
    b.set(0);
    let forward = forward(&format!("{0};transport=udp,{1};transport=udp", a.address, b.address));
    hops.set([&forward]);
    until(|| all_go_to(&hops, &forward, &[a.address])).await;
    let page = crate::observe::metrics::Page::default();
    with_local_recorder(&page, || hops.record());
    let text = page.text();
    for (hop, up) in [(&a, 1), (&b, 0)] {
        let address = hop.address;
        let line = format!(
            "sip_authz_hop_up{{hop=\"127.0.0.1\",address=\"{address}\",transport=\"udp\"}} {up}\n"
        );
        assert!(text.contains(&line), "{text}");
    }
}
