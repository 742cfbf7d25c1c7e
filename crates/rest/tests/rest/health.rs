//! The checks for load balancers and supervisors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use sip_authz_directory::Limits;
use sip_authz_rest::{PartHealth, ProgramHealth, RestOptions, SharedHealth};

use crate::site::Site;

type Parts = BTreeMap<&'static str, PartHealth>;

struct Program(Arc<Mutex<Parts>>);

impl ProgramHealth for Program {
    fn parts(&self) -> Parts {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn health_names_the_ill_part_and_ready_only_asks_for_calls() {
    let parts = Arc::<Mutex<Parts>>::default();
    let health = SharedHealth(Arc::new(Program(Arc::clone(&parts))));
    let options = RestOptions::default().with_health(Some(health));
    let site = Site::with(options, Limits::default()).await;
    let ask = async |path: &str| {
        let answer = site.send(Request::get(path).body(Body::empty()).unwrap()).await;
        (answer.status, answer.text)
    };
    let calls = |part: PartHealth| parts.lock().unwrap().insert("calls", part);
    let store = r#""store":{"state":"ok"}"#;

    calls(PartHealth::ok("decided"));
    let well = r#""calls":{"state":"decided"}"#;
    let body = format!(r#"{{"status":"ok","parts":{{{well},{store}}}}}"#);
    assert_eq!(ask("/health").await, (200, body));
    assert_eq!(ask("/ready").await, (200, format!(r#"{{"status":"ok","parts":{{{well}}}}}"#)));

    parts.lock().unwrap().insert("follower", PartHealth::failed("away", "no commits"));
    let ill = r#""follower":{"state":"away","error":"no commits"}"#;
    let body = format!(r#"{{"status":"degraded","parts":{{{well},{ill},{store}}}}}"#);
    assert_eq!(ask("/health").await, (503, body));
    let body = format!(r#"{{"status":"degraded","parts":{{{well},{ill}}}}}"#);
    assert_eq!(ask("/ready").await, (200, body));

    parts.lock().unwrap().remove("follower");
    calls(PartHealth::failed("refused", "not confirmed").refusing_calls());
    let refused = r#""calls":{"state":"refused","error":"not confirmed"}"#;
    let body = format!(r#"{{"status":"refusing","parts":{{{refused},{store}}}}}"#);
    assert_eq!(ask("/health").await, (503, body));
    let body = format!(r#"{{"status":"refusing","parts":{{{refused}}}}}"#);
    assert_eq!(ask("/ready").await, (503, body));
}
