//! Questions of other edges: what their code admits, and that it admits nothing else.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use sip_authz::{AccountSid, DecisionSid};
use sip_authz_rest::SharedDecisions;
use sip_authz_rest::decisions::{
    Answered, Asker, DecisionRecord, Decisions, ExplainError, Explained, Filter, Followed, Found,
    Held, Later, Query, Question, Released, SilentEdge, Start,
};
use sip_authz_rest::edges::{
    EdgeAddress, EdgeAnswer, EdgeKey, EdgeQuestion, EdgeQuestionKind, EdgeRows, PATH,
};

use super::*;

const URL: &str = "https://one.example:8080";

/// Answers each question with one row, and keeps the questions.
#[derive(Default)]
struct Kept(Mutex<Vec<(Asker, String)>>);

impl Kept {
    fn note(&self, asker: Asker, what: impl std::fmt::Debug) {
        self.0.lock().unwrap().push((asker, format!("{what:?}")));
    }

    fn take(&self) -> Vec<(Asker, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn record() -> DecisionRecord {
    let mut record = DecisionRecord::default();
    record.outcome = "reject".to_owned();
    record.called = Some("100".to_owned());
    record
}

/// The edge that is asked keeps no limits, for example.
fn silent() -> Vec<SilentEdge> {
    vec![SilentEdge { edge: "one".to_owned(), reason: "keeps none".to_owned() }]
}

impl Decisions for Kept {
    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        self.note(asker, query);
        let answered = Answered { rows: vec![record()], silent: silent() };
        Box::pin(async { Found { answered, has_more: true } })
    }

    fn find(&self, asker: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>> {
        self.note(asker, sid);
        Box::pin(async { Answered { rows: vec![], silent: silent() } })
    }

    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed> {
        self.note(asker, filter);
        None
    }

    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>> {
        self.note(asker, question);
        Box::pin(async { Err(ExplainError::NotYours) })
    }

    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>> {
        self.note(asker, "held");
        Box::pin(async { Answered { rows: vec![], silent: silent() } })
    }

    fn release(&self, asker: Asker, id: String) -> Later<'_, Released> {
        let done = id == "held";
        self.note(asker, id);
        Box::pin(async move { if done { Released::Done } else { Released::NotHeld } })
    }
}

async fn site() -> (Site, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let edge = EdgeAddress { name: "one".to_owned(), url: URL.to_owned() };
    let shared: Arc<dyn Decisions> = Arc::<Kept>::clone(&kept);
    let options =
        RestOptions::default().with_decisions(Some(SharedDecisions(shared))).with_edge(Some(edge));
    (Site::with(options, Limits::default()).await, kept)
}

fn key(token: &str) -> EdgeKey {
    EdgeKey::new(&AdminToken::new(token).unwrap())
}

fn question(account: Option<AccountSid>, what: EdgeQuestionKind) -> Vec<u8> {
    EdgeQuestion { account, what }.to_json()
}

async fn ask(site: &Site, authorization: &str, body: &[u8]) -> Answer {
    let request = Request::post(PATH).header(header::AUTHORIZATION, authorization);
    site.send(request.body(Body::from(body.to_vec())).unwrap()).await
}

#[tokio::test]
async fn an_edge_asks_for_itself_or_an_account() {
    let (site, kept) = site().await;
    let key = key("the admin token");
    let sid = DecisionSid::from_bytes([3; 16]);
    let account = Some(AccountSid::from_name(&["a"]));
    let recent =
        EdgeQuestionKind::Recent { filter: Box::default(), limit: 5_000, start: Start::Newest };
    let decisions = |rows, has_more| EdgeRows::Decisions { rows, has_more };
    for (what, rows, noted) in [
        (recent, decisions(vec![record()], true), "limit: 1000, start: Newest"),
        (EdgeQuestionKind::Find(sid), decisions(vec![], false), "NO0303"),
        (EdgeQuestionKind::Held, EdgeRows::Held { rows: vec![] }, "held"),
        (EdgeQuestionKind::Release("held".to_owned()), EdgeRows::Released { done: true }, "held"),
        (EdgeQuestionKind::Release("x".to_owned()), EdgeRows::Released { done: false }, "x"),
    ] {
        for account in [None, account] {
            let body = question(account, what.clone());
            let header = key.authorization(URL, SystemTime::now(), &body);
            let answer = ask(&site, &header, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let read: EdgeAnswer = serde_json::from_str(&answer.text).unwrap();
            assert_eq!((read.edge.as_str(), &read.rows), ("one", &rows));
            let is_release = matches!(what, EdgeQuestionKind::Release(_));
            assert_eq!(read.missing.as_deref(), (!is_release).then_some("keeps none"));
            let [(asker, text)] = kept.take().try_into().unwrap();
            assert_eq!(asker, Asker { account, asks_fleet: false });
            assert!(text.contains(noted), "{text}");
        }
    }
}

#[tokio::test]
async fn other_callers_and_other_codes_are_refused() {
    let (site, kept) = site().await;
    let body = question(None, EdgeQuestionKind::Held);
    let (now, right) = (SystemTime::now(), key("the admin token"));
    let late = Duration::from_secs(60);
    for (header, why) in [
        (key("the admin").authorization(URL, now, &body), "different admin tokens"),
        (right.authorization("https://two.example:8080", now, &body), "different admin tokens"),
        (right.authorization(URL, now, b"{}"), "different admin tokens"),
        (right.authorization(URL, now - late, &body), "clocks"),
        (right.authorization(URL, now + late, &body), "clocks"),
    ] {
        let answer = ask(&site, &header, &body).await;
        assert_eq!((answer.status, answer.code()), (403, 20003), "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    for (user, token) in [&site.login, &site.admin] {
        assert_eq!(ask(&site, &basic(user, token), &body).await.status, 401);
    }
    let header = right.authorization(URL, now, &body);
    let pair = Request::post(PATH)
        .header(header::AUTHORIZATION, basic("admin", &site.admin.1))
        .header(header::AUTHORIZATION, &header);
    let pair = pair.body(Body::from(body.clone())).unwrap();
    assert_eq!(site.send(pair).await.status, 401);
    for method in ["GET", "DELETE", "PUT"] {
        let request = Request::builder().method(method).uri(PATH);
        let request = request.header(header::AUTHORIZATION, &header);
        assert_eq!(site.send(request.body(Body::from(body.clone())).unwrap()).await.status, 405);
    }
    let long = vec![b' '; 20_000];
    let header = right.authorization(URL, now, &long);
    assert_eq!(ask(&site, &header, &long).await.status, 413);
    let header = right.authorization(URL, now, b"{}");
    assert_eq!(ask(&site, &header, b"{}").await.status, 400);
    assert_eq!(kept.take(), []);
}

#[tokio::test]
async fn the_code_of_an_edge_is_taken_on_no_other_path() {
    let (site, kept) = site().await;
    let full = site.full().await;
    let document = site.call_as(&site.admin, "GET", "/openapi.json", "").await.json();
    let mut paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    for more in [
        "/admin/export",
        "/admin/import",
        "/v1/Edges",
        "/v1/Decisions",
        "/v1/Decisions/Stream",
        "/v1/Decisions/Explain",
        "/v1/Decisions/Limits",
        "/v1/Decisions/Limits/x",
        "/v1/Alerts",
        "/console",
    ] {
        paths.push(more.to_owned());
    }
    let body = question(None, EdgeQuestionKind::Held);
    let empty = key("the admin token").authorization(URL, SystemTime::now(), b"");
    let header = key("the admin token").authorization(URL, SystemTime::now(), &body);
    let mut tried = 0;
    for path in &paths {
        let path = path
            .replace("{AccountSid}", &site.sid)
            .replace("{DomainSid}", &full.domain)
            .replace("{TrunkSid}", &full.trunk);
        let path: String = path.split('{').map(|part| part.rsplit('}').next().unwrap()).collect();
        for method in ["GET", "POST", "DELETE"] {
            for (header, body) in [(&header, body.as_slice()), (&empty, b"")] {
                let request = Request::builder().method(method).uri(&path);
                let request = request.header(header::AUTHORIZATION, header);
                let answer = site.send(request.body(Body::from(body.to_vec())).unwrap()).await;
                // documents and unknown paths are the same for everyone
                let public = matches!(answer.status, 404 | 405)
                    || path == "/health"
                    || path == "/openapi.json"
                    || path.starts_with("/errors");
                assert!(public || answer.status == 401, "{method} {path}: {}", answer.text);
                tried += usize::from(answer.status == 401);
            }
        }
    }
    assert!(tried > 100, "{tried}");
    assert_eq!(kept.take(), []);
    assert_eq!(site.get(&sip(&format!("Domains/{}", full.domain))).await.status, 200);
}

#[tokio::test]
async fn an_edge_without_an_address_or_decisions_answers_no_edge() {
    let body = question(None, EdgeQuestionKind::Held);
    let header = key("the admin token").authorization(URL, SystemTime::now(), &body);
    let edge = || EdgeAddress { name: "one".to_owned(), url: URL.to_owned() };
    let decisions = || SharedDecisions(Arc::new(Kept::default()));
    for options in [
        RestOptions::default(),
        RestOptions::default().with_edge(Some(edge())),
        RestOptions::default().with_decisions(Some(decisions())),
    ] {
        let site = Site::with(options, Limits::default()).await;
        assert_eq!(ask(&site, &header, &body).await.status, 404);
    }
}
