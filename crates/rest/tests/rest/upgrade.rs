//! `/v1/Upgrade`: the format of the store, and the secondary auth tokens that need format 2.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use sip_authz_directory::Limits;
use sip_authz_rest::RestOptions;
use sip_authz_store::{Edge, Format, Head, MemoryStore, Records, StoreSnapshot};

use crate::site::{Answer, Site, basic};
use crate::waiting::{Fleet, edge};

const UPGRADE: &str = "/v1/Upgrade";
const SECONDARY: &str = "/v1/AuthTokens/Secondary";
const PROMOTE: &str = "/v1/AuthTokens/Promote";

/// The message of a refusal with this status and code.
fn refused(answer: &Answer, status: u16, code: u64) -> String {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    answer.text_of("message")
}

async fn import(site: &Site, document: &str) -> Answer {
    let request = Request::post("/admin/import")
        .header(header::AUTHORIZATION, basic(&site.admin.0, &site.admin.1))
        .header(header::CONTENT_TYPE, "application/json");
    site.send(request.body(Body::from(document.to_owned())).unwrap()).await
}

fn old_store() -> MemoryStore {
    let head = Head { number: 1, ..Head::default() };
    MemoryStore::from(Records::from(StoreSnapshot::new(head, vec![]).unwrap()))
}

#[tokio::test]
async fn the_admin_raises_the_format_once_all_edges_support_it() {
    let fleet = Fleet::of(old_store());
    let site = Site::on(fleet.clone(), RestOptions::default(), Limits::default()).await;
    let old = Edge { newest_format: Format::FIRST, ..edge("south", 0) };
    fleet.set_edges(Ok(vec![old, edge("north", 0)]));
    let edges = json!([
        {"name": "north", "newest_format": 2},
        {"name": "south", "newest_format": 1},
    ]);
    let body = json!({"format": 1, "newest_format": 2, "edges": edges});
    let shown = site.call_as(&site.admin, "GET", UPGRADE, "").await;
    assert_eq!((shown.status, shown.json()), (200, body.clone()), "{}", shown.text);
    let answer = site.call("POST", SECONDARY, "").await;
    assert_eq!((answer.status, answer.code()), (409, 20_409), "{}", answer.text);
    assert!(answer.text_of("message").contains("`sip-authz upgrade finish`"), "{}", answer.text);
    let answer = site.call_as(&site.admin, "POST", UPGRADE, "").await;
    assert_eq!((answer.status, answer.code()), (409, 20_409), "{}", answer.text);
    let message = "format 2 needs an upgrade of these edges: south";
    assert_eq!(answer.text_of("message"), message);
    // nothing has changed
    assert_eq!(site.call_as(&site.admin, "GET", UPGRADE, "").await.json(), body);

    fleet.set_edges(Ok(vec![edge("north", 0)]));
    let body = json!({
        "format": 2, "newest_format": 2, "edges": [{"name": "north", "newest_format": 2}],
    });
    for (method, path) in [("POST", UPGRADE), ("POST", UPGRADE), ("GET", UPGRADE)] {
        let answer = site.call_as(&site.admin, method, path, "").await;
        assert_eq!((answer.status, answer.json()), (200, body.clone()), "{}", answer.text);
    }
    assert_eq!(site.call("POST", SECONDARY, "").await.status, 201);
}

#[tokio::test]
async fn only_the_admin_sees_and_raises_the_format() {
    let site = Site::new().await;
    for method in ["GET", "POST"] {
        let answer = site.call(method, UPGRADE, "").await;
        let message = refused(&answer, 403, 20_003);
        assert_eq!(message, "only the admin may raise the format of the store");
        let stranger = (site.sid.clone(), "wrong".to_owned());
        refused(&site.call_as(&stranger, method, UPGRADE, "").await, 401, 20_003);
    }
}

#[tokio::test]
async fn a_client_rotates_its_token_without_a_gap() {
    let site = Site::new().await;
    let own = "/2010-04-01/Accounts/{ac}.json";
    let works = async |token: &str| {
        let login = (site.sid.clone(), token.to_owned());
        site.call_as(&login, "GET", own, "").await.status == 200
    };
    refused(&site.call("POST", PROMOTE, "").await, 404, 20_404);
    refused(&site.call("DELETE", SECONDARY, "").await, 404, 20_404);
    let made = site.call("POST", SECONDARY, "").await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.text_of("account_sid"), site.sid);
    let second = made.text_of("secondary_auth_token");
    assert!(made.text_of("url").ends_with(SECONDARY), "{}", made.text);
    assert!(works(&site.login.1).await && works(&second).await);
    let twice = site.call("POST", SECONDARY, "").await;
    assert!(refused(&twice, 400, 20_001).contains("promote or delete it first"));

    let promoted = site.call_as(&(site.sid.clone(), second.clone()), "POST", PROMOTE, "").await;
    assert_eq!(promoted.status, 200, "{}", promoted.text);
    assert_eq!(promoted.json()["auth_token"], json!(null));
    assert!(!works(&site.login.1).await && works(&second).await);

    let login = (site.sid.clone(), second.clone());
    let third = site.call_as(&login, "POST", SECONDARY, "").await.text_of("secondary_auth_token");
    assert_eq!(site.call_as(&login, "DELETE", SECONDARY, "").await.status, 204);
    assert!(works(&second).await && !works(&third).await);
}

/// An export of the records has both tokens, and an import restores them.
#[tokio::test]
async fn an_export_has_the_secondary_token() {
    let site = Site::new().await;
    let token = site.call("POST", SECONDARY, "").await.text_of("secondary_auth_token");
    let hidden = site.call_as(&site.admin, "GET", "/admin/export", "").await;
    assert!(!hidden.text.contains("token_sha256"), "{}", hidden.text);
    let exported = site.call_as(&site.admin, "GET", "/admin/export?secrets=true", "").await.text;
    assert!(exported.contains("secondary_token_sha256"), "{exported}");
    let other = Site::new().await;
    let imported = import(&other, &exported).await;
    assert_eq!(imported.status, 200, "{}", imported.text);
    let login = (site.sid.clone(), token);
    let own = format!("/2010-04-01/Accounts/{}.json", site.sid);
    assert_eq!(other.call_as(&login, "GET", &own, "").await.status, 200);
    // a store of the first format cannot have it
    let old = Site::on(old_store(), RestOptions::default(), Limits::default()).await;
    let message = refused(&import(&old, &exported).await, 409, 20_409);
    let expected = format!("`account {}` needs format 2, and the store has format 1", site.sid);
    assert!(message.contains(&expected), "{message}");
}
