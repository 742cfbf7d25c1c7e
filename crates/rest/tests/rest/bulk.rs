//! Import and export of documents of any size.

use std::time::Duration;

use axum::body::Bytes;
use futures_util::{StreamExt as _, stream};
use sip_authz_rest::bulk::{ImportLine, ImportProgress};
use tokio::sync::mpsc;

use super::*;

/// More entries than one commit has, with the account and the list.
const MANY: usize = 10_100;

struct Records {
    store: MemoryStore,
    site: Site,
}

impl Records {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let site = Site::on(store.clone(), RestOptions::default(), Limits::default()).await;
        Self { store, site }
    }

    async fn head(&self) -> u64 {
        self.store.head().await.unwrap().number
    }

    async fn import(&self, query: &str, document: impl Into<Body>) -> Answer {
        self.site.send(self.request(query, "*/*", document.into())).await
    }

    fn request(&self, query: &str, accept: &str, body: Body) -> Request<Body> {
        let (user, token) = &self.site.admin;
        Request::builder()
            .method("POST")
            .uri(format!("/admin/import{query}"))
            .header(header::AUTHORIZATION, basic(user, token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .body(body)
            .unwrap()
    }

    /// The lines of an import with progress.
    async fn lines(&self, query: &str, document: &str) -> Vec<ImportLine> {
        let body = Body::from(document.to_owned());
        let answer = self.site.send(self.request(query, "application/x-ndjson", body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn credentials(&self) -> usize {
        let all = self.site.call_as(&self.site.admin, "GET", "/admin/export", "").await.json();
        all["credentials"].as_array().map_or(0, Vec::len)
    }
}

fn user(n: usize) -> String {
    let (list, ha1) = (DIGITS, "0123456789abcdef".repeat(2));
    format!(
        r#"{{"sid":"CR{n:032x}","credential_list_sid":"CL{list}","username":"u{n}","ha1":{{"md5":"{ha1}"}}}}"#
    )
}

/// A document with an account, a list, and users that `change` replaces.
fn document(users: usize, change: impl Fn(usize) -> Option<String>) -> String {
    let users: Vec<_> = (0..users).map(|n| change(n).unwrap_or_else(|| user(n))).collect();
    format!(
        r#"{{"format":"sip-authz/1","accounts":[{{"sid":"AC{DIGITS}"}}],"credential_lists":[{{"sid":"CL{DIGITS}","account_sid":"AC{DIGITS}","realm":"r"}}],"credentials":[{}]}}"#,
        users.join(",")
    )
}

/// A user of a list that does not exist.
fn lost(n: usize) -> String {
    user(n).replace(DIGITS, &"f".repeat(32))
}

#[tokio::test]
async fn a_document_of_one_commit_is_applied_as_a_whole() {
    let records = Records::new().await;
    let before = records.head().await;
    let wrong = document(9_000, |n| (n == 8_999).then(|| lost(n)));
    let answer = records.import("", wrong).await;
    assert_eq!((answer.status, records.head().await), (400, before), "{}", answer.text);
    assert!(!answer.text.contains("resume"), "{}", answer.text);
    // in any order
    let answer = records
        .import(
            "",
            format!(
                r#"{{"credentials":[{}],"credential_lists":[{{"realm":"r","sid":"CL{DIGITS}","account_sid":"AC{DIGITS}"}}],"accounts":[{{"sid":"AC{DIGITS}"}}],"format":"sip-authz/1"}}"#,
                user(0)
            ),
        )
        .await;
    assert_eq!((answer.status, records.head().await), (200, before + 1), "{}", answer.text);
    assert_eq!(answer.json()["new"], 3);
}

#[tokio::test]
async fn a_larger_document_is_applied_in_parts_while_it_arrives() {
    let records = Records::new().await;
    let before = records.head().await;
    let document = document(MANY, |_| None);
    let refused = records.import("?dry_run=true", document.clone()).await;
    assert_eq!((refused.status, refused.code()), (400, 20_001), "{}", refused.text);
    assert_eq!(records.head().await, before);

    // the last bytes come only after most users are applied
    let (text, end) = document.split_at(document.len() - 10);
    let (more, arrives) = mpsc::unbounded_channel();
    for piece in text.as_bytes().chunks(8_192) {
        more.send(Bytes::copy_from_slice(piece)).unwrap();
    }
    let body = stream::unfold(arrives, async |mut arrives| {
        let piece: Bytes = arrives.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), arrives))
    });
    let importing = records.import("", Body::from_stream(body.boxed()));
    let finishing = async {
        while records.head().await < before + 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        more.send(Bytes::copy_from_slice(end.as_bytes())).unwrap();
        drop(more);
    };
    let (answer, ()) = tokio::join!(importing, finishing);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["new"], MANY + 2);
    assert_eq!(records.credentials().await, MANY);

    // again: nothing changes, and no commit is written
    let before = records.head().await;
    let answer = records.import("", document).await.json();
    assert_eq!((&answer["unchanged"], records.head().await), (&(MANY + 2).into(), before));
}

#[tokio::test]
async fn a_failed_import_in_parts_goes_on_after_its_token() {
    let records = Records::new().await;
    let wrong = document(MANY, |n| (n == MANY - 1).then(|| lost(n)));
    let lines = records.lines("", &wrong).await;
    let Some(ImportLine::Error(failure)) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((failure.status, failure.code), (400, 20_001));
    assert!(failure.message.contains("credential list CL"), "{}", failure.message);
    let ImportProgress { applied, new, resume, .. } = failure.applied.clone().unwrap();
    assert_eq!((applied, records.credentials().await), (new as u64, new - 2));
    assert!(new > MANY - 2_100, "{new}");

    // a token is that of one document
    let other = document(MANY, |n| (n == 7).then(|| user(n).replace("u7", "u-7")));
    let head = records.head().await;
    for (query, text) in [
        (format!("?resume={resume}"), &*other),
        (format!("?resume={resume}"), &*document(10, |_| None)),
        (format!("?resume=1{resume}"), &*wrong),
        ("?resume=".to_owned(), &*wrong),
        ("?resume=1-2".to_owned(), &*wrong),
    ] {
        let answer = records.import(&query, text.to_owned()).await;
        assert_eq!((answer.status, records.head().await), (400, head), "{query}: {}", answer.text);
    }
    // without progress, the error has the token too
    let answer = records.import(&format!("?resume={resume}"), wrong).await;
    let message = answer.text_of("message");
    let (_, resume) = message.rsplit_once("; go on with ?resume=").unwrap();
    let further: usize = resume.split_once('-').unwrap().0.parse().unwrap();
    assert!((new..MANY + 1).contains(&further), "{message}");
    assert_eq!(records.credentials().await, further - 2);

    let right = document(MANY, |_| None);
    let lines = records.lines(&format!("?resume={resume}"), &right).await;
    let Some(ImportLine::Result(result)) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((result.new, result.unchanged), (MANY + 2 - further, 0));
    assert_eq!(records.credentials().await, MANY);
}

#[tokio::test]
async fn entries_in_parts_come_after_those_that_they_refer_to() {
    let records = Records::new().await;
    let before = records.head().await;
    let text = document(MANY, |_| None);
    let last = text.replacen(r#""format":"sip-authz/1","#, "", 1);
    let last = format!(r#"{},"format":"sip-authz/1"}}"#, &last[..last.len() - 1]);
    let answer = records.import("", last).await;
    assert!(answer.text.contains("expected `format` first"), "{}", answer.text);
    let accounts = format!(r#""accounts":[{{"sid":"AC{DIGITS}"}}],"#);
    assert!(text.contains(&accounts));
    let answer = records.import("", text.replacen(&accounts, "", 1)).await;
    assert_eq!((answer.status, records.head().await), (400, before));
    assert!(answer.text.contains("must come after"), "{}", answer.text);
}

/// The warnings at the end are those of the whole document, and none is repeated.
#[tokio::test]
async fn an_import_in_parts_warns_once() {
    let records = Records::new().await;
    let text = document(MANY, |_| None);
    let domain = format!(
        r#","domains":[{{"sid":"SD{DIGITS}","account_sid":"AC{DIGITS}","domain_name":"a.example"}}],"policies":[{{"target_sid":"SD{DIGITS}","algorithms":["SHA-256"]}}],"mappings":[{{"target_sid":"SD{DIGITS}","list_sid":"CL{DIGITS}"}}]}}"#
    );
    let text = format!("{}{domain}", &text[..text.len() - 1]);
    for _ in 0..2 {
        let answer = records.import("", text.clone()).await.json();
        let warnings = answer["warnings"].as_array().unwrap();
        if answer["new"] == 0 {
            // nothing changed
            assert_eq!(warnings.len(), 0, "{warnings:?}");
            continue;
        }
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let warning = warnings[0].as_str().unwrap();
        assert!(warning.contains(&format!("and {MANY} users of CL")), "{warning}");
    }
}

#[tokio::test]
async fn small_documents_have_one_line() {
    let records = Records::new().await;
    let lines = records.lines("", &document(1, |_| None)).await;
    assert!(matches!(&*lines, [ImportLine::Result(result)] if result.new == 3), "{lines:?}");
    let lines = records.lines("", "{").await;
    let [ImportLine::Error(failure)] = &*lines else { panic!("{lines:?}") };
    assert_eq!((failure.status, &failure.applied), (400, &None));
    assert_eq!(failure.message, "invalid document: line 1: EOF while parsing an object");
}
