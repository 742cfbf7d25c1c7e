//! `GET /v1/Edges`: the reports of the edges.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sip_authz_directory::Limits;
use sip_authz_rest::RestOptions;
use sip_authz_rest::edges::EdgeAddress;
use sip_authz_store::{Edge, Head, Incarnation, MemoryStore, Store as _};

use crate::refusals::refused;
use crate::site::Site;
use crate::waiting::{Fleet, away, edge};

const EDGES: &str = "/v1/Edges";

#[tokio::test]
async fn the_admin_sees_how_far_behind_each_edge_is() {
    let fleet = Fleet::new();
    let options = RestOptions::default().with_edge_name(Some("west".to_owned()));
    let site = Site::on(fleet.clone(), options, Limits::default()).await;
    site.make("/v1/Trunks", "FriendlyName=one").await;
    let head = fleet.head().await.unwrap();
    let restored = Incarnation { generation: 2, id: 7 };
    let south = Edge {
        lease: Some(Duration::from_secs(30)),
        api: Some("https://south.example".to_owned()),
        ..edge("south", head.number - 1)
    };
    let early = Edge {
        // of another history
        applied: Head { incarnation: restored, ..head },
        ..edge("early", 0)
    };
    // more than the head: the store was restored, and this edge reports its number alone
    fleet.set_edges(Ok(vec![edge("west", u64::MAX), south, early, edge("east", head.number + 9)]));
    let answer = site.call_as(&site.admin, "GET", EDGES, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let row = |name: &str, commit: u64, behind: Option<u64>| json!({"name": name, "commit": commit, "behind": behind, "lease_seconds": null, "api": null, "newest_format": 2});
    let mut south = row("south", head.number - 1, Some(1));
    south["lease_seconds"] = 30.into();
    south["api"] = "https://south.example".into();
    let expected = json!({
        "store": {
            "number": head.number,
            "records": head.records,
            "incarnation": head.incarnation.to_string(),
            "format": 2,
        },
        "edge": "west",
        "edges": [
            row("early", head.number, None),
            row("east", head.number + 9, Some(0)),
            south,
            row("west", head.number, Some(0)),
        ],
    });
    assert_eq!(answer.json(), expected);

    // an error of the store
    fleet.set_edges(Err(away()));
    let answer = site.call_as(&site.admin, "GET", EDGES, "").await;
    assert_eq!((answer.status, answer.code()), (503, 20_503), "{}", answer.text);
}

#[tokio::test]
async fn a_single_process_has_no_edges() {
    let url = "https://a.example".to_owned();
    let address = EdgeAddress { name: "alone".to_owned(), url };
    for (options, name) in [
        (RestOptions::default(), None),
        (RestOptions::default().with_edge(Some(address)), Some("alone")),
    ] {
        let site = Site::on(MemoryStore::new(), options, Limits::default()).await;
        let answer = site.call_as(&site.admin, "GET", EDGES, "").await.json();
        assert_eq!((&answer["edge"], &answer["edges"]), (&json!(name), &json!([])), "{answer}");
    }
}

#[tokio::test]
async fn only_the_admin_may_list_the_edges() {
    let site = Site::new().await;
    refused(&site, "GET", EDGES, "", 403, 20_003).await;
    refused(&site, "POST", EDGES, "", 405, 20_004).await;
    let answer = site.send(Request::get(EDGES).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.code()), (401, 20_003));
}
