//! The content of the pages.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use sip_authz::Cause;
use sip_authz::model::Mapping;
use sip_authz_rest::decisions::SilentEdge;

use crate::site::*;

#[tokio::test(start_paused = true)]
async fn each_page_has_its_title_and_marks_its_view() {
    let site = Site::new().await;
    let sid = site.refused(1, |_| {});
    let mut browser = site.admin().await;
    let mut titles = std::collections::BTreeSet::new();
    for page in pages(&site.acme, &sid) {
        let answer = browser.get(&page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        if page.ends_with("?part") {
            assert!(!answer.body.contains("<html"), "{page}");
            continue;
        }
        let (_, title) = answer.body.split_once("<title>").unwrap();
        titles.insert(title.split_once(" · sip-authz</title>").unwrap().0.to_owned());
        assert_eq!(answer.body.matches("aria-current=\"page\"").count(), 1, "{page}");
        assert_eq!(answer.body.matches("<h1").count(), 1, "{page}");
        assert!(
            answer.body.contains("in force</span> <b>18,204</b> (2 s ago)")
                || answer.body.contains("in force <b>18,204</b> (2 s ago)"),
            "{page}"
        );
    }
    assert!(titles.len() >= 16, "{titles:?}");
}

#[tokio::test(start_paused = true)]
async fn each_cause_is_shown_with_its_meaning_and_advice() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    for (number, cause) in Cause::ALL.iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let sid = site.refused(number, |record| record.cause = Some(cause.as_str().to_owned()));
        let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
        let unescaped = body.replace("&#39;", "'");
        assert!(unescaped.contains(cause.advice()), "{cause:?}\n{body}");
        assert!(unescaped.contains(cause.meaning()), "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_decision_have_their_meaning_and_advice() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    for (number, (outcome, reason, status, meaning, advice)) in (1..).zip([
        (
            "answered",
            "method not allowed",
            Some(405),
            "the edge does not serve the method here",
            "nothing if the client can do without",
        ),
        (
            "answered",
            "bad cseq",
            Some(400),
            "CSeq is not a number and a method",
            "report the request to the maker of the client",
        ),
        (
            "dropped",
            "not sip",
            None,
            "the message is not SIP",
            "see which program sends to the port of the edge",
        ),
    ]) {
        let sid = site.refused(number, |record| {
            record.cause = None;
            (record.outcome, record.reason) = (outcome.to_owned(), reason.to_owned());
            record.status = status;
        });
        let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
        let unescaped = body.replace("&#39;", "'");
        assert!(unescaped.contains(&format!("failed: </span>{meaning}")), "{reason}\n{body}");
        assert!(unescaped.contains(advice), "{reason}\n{body}");
        let rows = browser.get("/console/").await.body;
        assert!(rows.contains(&format!("<span class=\"why\">{meaning}</span>")), "{rows}");
    }
}

#[tokio::test(start_paused = true)]
async fn steps_name_the_resources_of_the_record() {
    let site = Site::new().await;
    let acme = &site.acme;
    let sid = site.refused(1, |record| {
        record.cause = Some("wrong-password".to_owned());
        record.access_list = Some(acme.addresses.clone());
        record.address = Some(acme.address.clone());
    });
    let mut browser = site.account().await;
    let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
    for step in [
        "passed: </span>the host is that of the domain sip.acme.example",
        "passed: </span>the account acme is active",
        "passed: </span>the access list offices has the source 192.0.2.7:5060 (192.0.2.0/24)",
        "passed: </span>the credential list phones has the user alice",
        "failed: </span>the user exists, and the digest is wrong",
    ] {
        assert!(body.contains(step), "{step}\n{body}");
    }
    assert!(body.contains("<b>Answer:</b> 403 Forbidden"), "{body}");
    let sid = site.refused(2, |record| {
        record.outcome = "challenge".to_owned();
        record.cause = Some("no-credentials".to_owned());
    });
    let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
    let (_, steps) = body.split_once("<ol class=\"steps\"").unwrap();
    let (steps, _) = steps.split_once("</ol>").unwrap();
    assert!(steps.contains("noted: ") && !steps.contains("failed: "), "{steps}");
    let sid = site.refused(3, |record| {
        record.outcome = "accept".to_owned();
        record.cause = None;
        record.status = Some(200);
        record.username = record.claimed_user.take();
        record.credential = record.claimed.take();
    });
    let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
    for step in [
        "passed: </span>the credential list phones has the user alice",
        "passed: </span>the digest is right",
        "passed: </span>admitted by its password",
    ] {
        assert!(body.contains(step), "{step}\n{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_is_refused_if_the_filter_says_so() {
    let site = Site::new().await;
    for (number, (outcome, status)) in (1..).zip([
        ("reject", Some(403)),
        ("dropped", None),
        ("answered", Some(405)),
        ("answered", Some(200)),
        ("challenge", Some(407)),
        ("accept", Some(200)),
    ]) {
        site.refused(number, |record| {
            record.cause = None;
            (record.outcome, record.status) = (outcome.to_owned(), status);
        });
    }
    let mut browser = site.admin().await;
    let refused =
        "<span class=\"outcome bad\"><span aria-hidden=\"true\">\u{2717}</span> refused</span>";
    for page in ["/console/", "/console/?outcome=refused"] {
        let body = browser.get(page).await.body;
        assert_eq!(body.matches(refused).count(), 3, "{page}\n{body}");
        assert!(body.contains("<b id=\"refused\" class=\"bad\">3</b> refused"), "{page}\n{body}");
    }
    let body = browser.get("/console/?outcome=refused").await.body;
    assert_eq!(body.matches("<li class=\"row\"").count(), 3, "{body}");
}

#[tokio::test(start_paused = true)]
async fn pages_and_the_stream_keep_the_whole_filter() {
    let site = Site::new().await;
    for number in 0..101 {
        site.refused(number, |record| {
            record.time = format!("2026-11-29T14:{:02}:{:02}Z", number / 60, number % 60);
            record.cause = Some("user-disabled".to_owned());
        });
    }
    site.refused(102, |record| record.cause = Some("wrong-password".to_owned()));
    let mut browser = site.account().await;
    let filter = "reason=user-disabled&call-id=a84b4c76e66710";
    let first = browser.get(&format!("/console/?{filter}")).await.body;
    let escaped = filter.replace('&', "&#38;");
    assert!(first.contains(&format!("data-stream=\"stream?{escaped}\"")), "{first}");
    assert!(first.contains("<input type=\"hidden\" name=\"reason\" value=\"user-disabled\">"));
    assert!(first.contains("the reason or cause <b>user-disabled</b> and the Call-ID <b>a84b"));
    assert!(!first.contains("the digest is wrong"));
    let (_, rest) = first.split_once("rel=\"next\" href=\"./").unwrap();
    let next = rest.split_once('"').unwrap().0.replace("&#38;", "&");
    assert!(next.starts_with(&format!("?{filter}&before=")), "{next}");
    let second = browser.get(&format!("/console/{next}")).await.body;
    assert_eq!(second.matches("<li class=\"row\"").count(), 1, "{second}");
    assert!(second.contains(&format!("href=\"./?{escaped}\">Newest<")), "{second}");
    for wrong in ["outcome=none", "domain=a%20b", "user=a%00b", "call-id=a%0Ab", "source=x"] {
        let body = browser.get(&format!("/console/?{wrong}")).await.body;
        assert!(body.contains("role=\"alert\"") && body.contains("must be"), "{wrong}\n{body}");
        assert_eq!(body.matches("<li class=\"row\"").count(), 0, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_name_the_option_if_no_decisions_are_kept() {
    let site = Site::new().await;
    *site.kept.keeps_none.lock().unwrap() = true;
    let mut browser = site.admin().await;
    for page in ["/console/", "/console/limits"] {
        let body = browser.get(page).await.body;
        assert!(body.contains("<code>--recent 0</code>"), "{page}\n{body}");
        assert!(body.contains("serve --recent 65536 --console"), "{page}\n{body}");
        assert!(!body.contains("No call has been decided") && !body.contains("is held"), "{body}");
        assert!(!body.contains("data-stream"), "{body}");
    }
    let (status, _) = browser.events("/console/stream").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // an INVITE is decided without kept decisions
    let body = browser.get("/console/try").await.body;
    assert!(body.contains(">Decide</button>"), "{body}");
    *site.kept.keeps_none.lock().unwrap() = false;
    let body = browser.get("/console/").await.body;
    assert!(body.contains("No call has been decided yet"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn refusals_offer_what_can_be_done() {
    let site = Site::new().await;
    let account = site.acme.account;
    let addresses = &site.acme.addresses;
    let mapping =
        Mapping::IpAccessControlList(site.acme.domain.sid.into(), addresses.parse().unwrap());
    site.directory.map(account, mapping, None).await.unwrap();
    let (list, user) = (site.acme.list.sid, site.acme.user.sid);
    let mut browser = site.account().await;
    let cases = [
        ("wrong-password", format!("href=\"../lists/users/{list}/{user}/password\"")),
        ("hash-missing", format!("href=\"../lists/users/{list}/{user}/password\"")),
        ("user-unknown", format!("href=\"../lists/users/{list}?add=alice#add\"")),
        (
            "address-not-listed",
            format!("href=\"../lists/addresses/{addresses}?add=192.0.2.7#add\""),
        ),
        ("guess-limit", "href=\"../limits\"".to_owned()),
        ("nothing-mapped", format!("href=\"../domains/{}\"", site.acme.domain.sid)),
    ];
    for (number, (cause, link)) in (1..).zip(cases) {
        let sid = site.refused(number, |record| record.cause = Some(cause.to_owned()));
        let body = browser.get(&format!("/console/decisions/{sid}")).await.body;
        assert!(body.contains(&link), "{cause}: {link}\n{body}");
    }
    // the link fills the form
    let body =
        browser.get(&format!("/console/lists/addresses/{addresses}?add=192.0.2.7")).await.body;
    assert!(body.contains("name=\"prefix\" value=\"192.0.2.7\""), "{body}");
}

#[tokio::test(start_paused = true)]
async fn decisions_are_filtered_and_paged() {
    let site = Site::new().await;
    for number in 0..50 {
        site.refused(number, |record| {
            record.sid = sip_authz::DecisionSid::from_bytes([number; 16]).to_string();
        });
        site.refused(number, |record| {
            record.sid = sip_authz::DecisionSid::from_bytes([100 + number; 16]).to_string();
            record.outcome = "accept".to_owned();
            record.cause = None;
            record.username = record.claimed_user.take();
            record.source = Some("198.51.100.9:5060".to_owned());
        });
    }
    site.refused(55, |record| record.claimed_user = Some("Bob".to_owned()));
    let mut browser = site.account().await;
    let count = |body: &str| body.matches("<li class=\"row\"").count();
    let first = browser.get("/console/").await.body;
    assert_eq!(count(&first), 100);
    assert!(first.contains("data-stream=\"stream\""));
    let (_, rest) = first.split_once("rel=\"next\" href=\"./").unwrap();
    let next = rest.split_once('"').unwrap().0;
    let second = browser.get(&format!("/console/{next}")).await.body;
    assert_eq!(count(&second), 1);
    assert!(!second.contains("data-stream") && second.contains(">Newest<"));
    for (query, rows) in [
        ("outcome=accepted", 50),
        ("outcome=refused", 51),
        ("outcome=challenged", 0),
        ("user=Bob", 1),
        ("user=bob", 0),
        ("source=198.51.100.0%2F24", 50),
        ("domain=SIP.acme.example&user=Bob", 1),
        ("domain=sip.other.example", 0),
    ] {
        let body = browser.get(&format!("/console/?{query}")).await.body;
        assert_eq!(count(&body), rows, "{query}");
        let stream = format!("data-stream=\"stream?{}\"", query.replace('&', "&#38;"));
        assert!(body.contains(&stream), "{query}\n{body}");
    }
    let body = browser.get("/console/?source=192.0.2").await.body;
    assert!(body.contains("must be an address or a prefix") && count(&body) == 0);
    assert!(!body.contains("data-stream"));
    let (status, _) = browser.events("/console/stream?source=192.0.2").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_users_are_paged_and_searched() {
    let site = Site::new().await;
    let list = site.acme.list.sid;
    let mut commit = sip_authz::model::Commit::new();
    for number in 0..10_000_u32 {
        let mut user = site.acme.user.clone();
        let [a, b, c, d] = number.to_be_bytes();
        user.sid =
            sip_authz::CredentialSid::from_time(u64::MAX >> 17, [a, b, c, d, 0, 0, 0, 0, 0, 0]);
        user.username = format!("Phone-{number}").parse().unwrap();
        commit.put(sip_authz::model::Record::Credential(user));
    }
    site.directory.import(commit).await.unwrap();
    let mut browser = site.account().await;
    let page = format!("/console/lists/users/{list}");
    let body = browser.get(&page).await.body;
    assert_eq!(body.matches("<th scope=\"row\">").count(), 100);
    assert!(body.contains("10,001 users") && body.len() < 150_000, "{}", body.len());
    let body = browser.get(&format!("{page}?q=phone-9999")).await.body;
    assert_eq!(body.matches("<th scope=\"row\">").count(), 1);
    assert!(!body.contains("rel=\"next\""));
    let body = browser.get(&format!("{page}?q=phone-99")).await.body;
    // 99, 990 to 999 and 9900 to 9999
    assert_eq!(body.matches("<th scope=\"row\">").count(), 100);
    let (_, rest) = body.split_once("rel=\"next\" href=\"").unwrap();
    let next = rest.split_once('"').unwrap().0.replace("&#38;", "&").replace("../", "");
    let body = browser.get(&format!("/console/{next}")).await.body;
    assert_eq!(body.matches("<th scope=\"row\">").count(), 11);
}

#[tokio::test(start_paused = true)]
async fn domains_have_warnings_and_the_last_accepted_call() {
    let site = Site::new().await;
    let account = site.acme.account;
    let mut browser = site.account().await;
    let directory = &site.directory;
    let bare = directory.create_domain(account, "bare.acme.example".parse().unwrap(), |domain| {
        domain.secure = true;
        domain.settings.sip_registration = true;
    });
    let bare = bare.await.unwrap();
    let trunk = directory.create_trunk(account, |trunk| trunk.friendly_name = "north".to_owned());
    let trunk = trunk.await.unwrap();
    let body = browser.get("/console/domains").await.body;
    for text in [
        "No list is mapped, so every call is refused.",
        "Registrations are on, and no list is mapped for them",
        "Calls must arrive over TLS, and this edge has no TLS listener (--sips).",
        "The trunk has no host name, so no call reaches it.",
        "none kept",
        "phones",
        "north",
    ] {
        assert!(body.contains(text), "{text}\n{body}");
    }
    let empty = directory.create_credential_list(account, "vacant", None).await.unwrap();
    directory
        .map(account, Mapping::CredentialList(bare.sid.into(), empty.sid), None)
        .await
        .unwrap();
    let body = browser.get(&format!("/console/domains/{}", bare.sid)).await.body;
    assert!(body.contains("List “vacant” is empty: it admits no user."), "{body}");
    assert!(body.contains("<dt>nonce_lifetime</dt><dd>60</dd>") && body.contains("(default)"));
    assert_eq!(browser.get(&format!("/console/trunks/{}", trunk.sid)).await.status, StatusCode::OK);
    site.refused(7, |record| record.outcome = "accept".to_owned());
    let body = browser.get("/console/domains").await.body;
    assert!(body.contains("datetime=\"2026-11-29T14:03:07Z\""), "{body}");
}

#[tokio::test(start_paused = true)]
async fn silent_edges_are_named() {
    let site = Site::new().await;
    let sid = site.refused(1, |_| {});
    let silent = SilentEdge { edge: "edge-3".to_owned(), reason: "no answer in time".to_owned() };
    site.kept.silent.lock().unwrap().push(silent);
    let mut browser = site.admin().await;
    for page in ["/console/", "/console/limits"] {
        assert!(
            browser.get(page).await.body.contains("edge-3 does not answer (no answer in time)")
        );
    }
    let mut account = site.account().await;
    for page in
        ["/console/domains".to_owned(), format!("/console/domains/{}", site.acme.domain.sid)]
    {
        let body = account.get(&page).await.body;
        assert!(body.contains("edge-3 does not answer (no answer in time)"), "{page}\n{body}");
    }
    let gone = sid.replace("01", "0a");
    let body = browser.get(&format!("/console/decisions/{gone}")).await.body;
    assert!(body.contains("These did not answer: edge-3."), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_program_without_decisions_says_how_to_keep_them() {
    let site = Site::with(|options| options.with_decisions(None)).await;
    let mut browser = site.admin().await;
    for page in ["/console/", "/console/limits", "/console/try"] {
        let answer = browser.get(page).await;
        assert!(answer.status == StatusCode::OK && answer.body.contains("--recent"), "{page}");
    }
    assert_eq!(browser.events("/console/stream").await.0, StatusCode::NOT_FOUND);
    assert_eq!(browser.post("/console/try", "").await.status, StatusCode::NOT_FOUND);
    let site = Site::new().await;
    *site.kept.refuses_followers.lock().unwrap() = true;
    let mut browser = site.admin().await;
    assert_eq!(browser.events("/console/stream").await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn a_tried_invite_is_explained() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    let form = "host=sip.acme.example&called=100&source=192.0.2.7&transport=TLS";
    let body = browser.post("/console/try", form).await.body;
    assert!(body.contains("refused") && body.contains("by snapshot 18,204"), "{body}");
    let (_, asked) = site.kept.explained.lock().unwrap().remove(0);
    assert!(asked.message.starts_with(b"INVITE sip:100@sip.acme.example SIP/2.0\r\n"));
    assert_eq!(asked.transport, sip_authz::Transport::Tls);
    // the form keeps its values
    assert!(
        body.contains("value=\"sip.acme.example\"") && body.contains("<option selected>TLS"),
        "{body}"
    );
    // callers learn the public reason
    for (reason, answer) in
        [("too-many-guesses", "wrong-credentials"), ("address-not-allowed", "address-not-allowed")]
    {
        *site.kept.reason.lock().unwrap() = Some(reason.to_owned());
        let body = browser.post("/console/try", form).await.body;
        assert!(body.contains(&format!("<b>Answer:</b> 403 ({answer})")), "{reason}\n{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn files_have_a_version_and_are_not_sent_twice() {
    let site = Site::new().await;
    let mut browser = site.browser();
    for (file, kind) in [
        ("console.css", "text/css; charset=utf-8"),
        ("console.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let path = format!("/console/static/{file}");
        let answer = browser.get(&path).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, kind));
        assert!(answer.header("cache-control").contains("immutable"));
        let tag = answer.header("etag").to_owned();
        let request =
            browser.request(Method::GET, &path).header("if-none-match", format!("\"x\", {tag}"));
        let again = browser.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        let login = browser.get("/console/login").await.body;
        if file != "icon.svg" {
            assert!(
                login.contains(&format!("static/{file}?v={}", tag.trim_matches('"'))),
                "{login}"
            );
        }
    }
}
