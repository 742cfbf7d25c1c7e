use sip_authz::Transport;
use sip_authz::model::{Account, Domain, GuessPolicy, Policy, Record};
use sip_authz_testing::kit::{self, HOST, Header, OUTSIDE, PASSWORD, Request, World};

use super::*;

fn explain(
    world: &World,
    message: &[u8],
    account: Option<AccountSid>,
    sources: &str,
) -> Result<Explained, ExplainError> {
    let sources: Vec<_> =
        sources.split(',').filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()).collect();
    let explainer = Explainer {
        authorizer: &world.authorizer,
        default_domain: &sources,
        account,
        counts_guesses: true,
        edge: "edge-1",
    };
    let source = OUTSIDE.parse().unwrap();
    let question = Question { message: message.to_vec(), source, transport: Transport::Udp };
    explainer.explain(&question, &mut Names::default())
}

#[test]
fn the_steps_have_the_names_that_the_snapshot_knows() {
    let world = World::new();
    let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    // as from an editor
    let text = String::from_utf8(request.bytes()).unwrap().replace("\r\n", "\n");
    let explained = explain(&world, text.as_bytes(), None, "").unwrap();
    assert_eq!(
        (&*explained.outcome, explained.status, &*explained.reason),
        ("accept", 200, "passed")
    );
    assert_eq!((&explained.cause, &explained.advice), (&None, &None));
    assert_eq!(
        (&*explained.edge, explained.snapshot),
        ("edge-1", world.authorizer.snapshot().number())
    );
    let all: Vec<_> = explained.steps.iter().map(|step| step.text.as_str()).collect();
    let domain = kit::domain(HOST);
    assert!(all[0].contains(&format!("{domain} ({HOST})")), "{all:?}");
    let user = kit::credential(kit::LIST, "alice");
    assert!(all.iter().any(|it| it.contains(&format!("{user} (alice), the digest is right"))));
    assert!(explained.steps.iter().all(|step| step.passed != Some(false)), "{all:?}");
}

#[test]
fn a_refusal_has_its_cause_and_advice() {
    let world = World::new();
    let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", "a guess");
    let explained = explain(&world, &request.bytes(), None, "").unwrap();
    assert_eq!((&*explained.outcome, explained.status), ("reject", 403));
    assert_eq!(explained.cause.as_deref(), Some(Cause::WrongPassword.as_str()));
    assert_eq!(explained.meaning.as_deref(), Some(Cause::WrongPassword.meaning()));
    assert_eq!(explained.advice.as_deref(), Some(Cause::WrongPassword.advice()));
    let failed: Vec<_> = explained.steps.iter().filter(|it| it.passed == Some(false)).collect();
    assert!(failed.len() == 1 && failed[0].text.ends_with("the digest is wrong"), "{failed:?}");
}

#[test]
fn a_message_that_is_not_decided_has_a_defect_in_words() {
    let world = World::new();
    let invite = Request::to(HOST);
    let defect = |message: &[u8]| match explain(&world, message, None, "") {
        Err(ExplainError::Message(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(defect(b"hello"), "not a SIP message");
    let text = String::from_utf8(invite.bytes()).unwrap();
    assert_eq!(defect(text.replace("Call-ID", "X").as_bytes()), "missing header `Call-ID`");
    let bye = invite.with_method("BYE").bytes();
    assert_eq!(defect(&bye), "BYE belongs to a call, and is not decided");
}

#[test]
fn an_account_learns_nothing_about_the_hosts_of_others() {
    let world = World::new();
    let theirs = AccountSid::from_name(&["neighbour"]);
    world.apply(|commit| {
        commit.put(Record::from(Account::new(theirs)));
        let host = "neighbour.example.com";
        commit.put(Domain::new(kit::domain(host), theirs, host.parse().unwrap()).into());
    });
    let ask = |uri: &str, sources: &str| {
        let bytes = Request { uri: uri.to_owned(), ..Request::to(HOST) }.bytes();
        explain(&world, &bytes, Some(theirs), sources)
    };
    for uri in [HOST, "nobody.example.com", "DIGEST.example.com:5080;transport=tcp"] {
        assert_eq!(ask(&format!("sip:1@{uri}"), ""), Err(ExplainError::NotYours), "{uri}");
        // To names the domain of the other account, and the source of the name may be known or not
        for sources in ["to", HOST, "nobody.example.com"] {
            let uri = format!("sip:1@{uri}");
            assert_eq!(ask(&uri, sources), Err(ExplainError::NotYours), "{uri} {sources}");
            assert_eq!(ask("tel:911", sources), Err(ExplainError::NotYours), "{sources}");
        }
    }
    // a URI that cannot be read has the same defect whatever its host is
    let defects = [HOST, "nobody.example.com"].map(|host| ask(&format!("sip:1 @{host}"), ""));
    assert_eq!(defects[0], defects[1]);
    let own = ask("sip:1@neighbour.example.com", "").unwrap();
    assert!(own.steps[0].text.contains("neighbour.example.com"));
    let own = ask("tel:911", "neighbour.example.com").unwrap();
    assert_eq!(own.steps[1].text, "default domain: `neighbour.example.com` gives that host");
}

#[test]
fn wrong_digests_of_an_asker_are_held_by_the_guess_limit() {
    let rate = sip_authz::digest::GuessRate {
        burst: 3.try_into().unwrap(),
        refill_ms: 3_600_000.try_into().unwrap(),
    };
    let guesses = GuessPolicy::default().with_pair(rate);
    let world = World::with_policy(Policy::default().with_guesses(guesses));
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let ask = |password: &str| {
        let header = Header::answer(&challenge.values[0], &request, "alice", password);
        explain(&world, &request.clone().with(&header.text()).bytes(), None, "").unwrap()
    };
    let cause = |explained: Explained| explained.cause.unwrap();
    for _ in 0..3 {
        assert_eq!(cause(ask("a guess")), Cause::WrongPassword.as_str());
    }
    let held = ask(PASSWORD);
    assert!(held.steps.iter().all(|step| !step.text.contains("the digest is")), "{held:?}");
    assert_eq!(cause(held), Cause::GuessLimit.as_str());
}
