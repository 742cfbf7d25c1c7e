//! `?Wait=applied` with edges that lag or cannot be read, and the errors that `on_fault` receives. The
//! reports of the edges are simulated; everything else is real.

use std::sync::Mutex;
use std::time::Duration;

use sip_authz::model::{Commit, Key, Record};
use sip_authz_rest::OnFault;
use sip_authz_store::{
    Collection, CommitOutcome, Edge, Format, Head, LocalFeed, Lookup, StoreError, StoreSnapshot,
};

use super::*;

const AWAY: &str = "connection refused";
const WAIT: &str = "Wait=applied&WaitSeconds=1";

/// A store in memory with simulated edge reports and a simulated health check.
#[derive(Clone)]
pub(crate) struct Fleet {
    inner: MemoryStore,
    edges: Arc<Mutex<Result<Vec<Edge>, StoreError>>>,
    health: Arc<Mutex<Result<(), StoreError>>>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::of(MemoryStore::new())
    }

    pub(crate) fn of(inner: MemoryStore) -> Self {
        Self {
            inner,
            edges: Arc::new(Mutex::new(Ok(vec![]))),
            health: Arc::new(Mutex::new(Ok(()))),
        }
    }

    pub(crate) fn set_edges(&self, edges: Result<Vec<Edge>, StoreError>) {
        *self.edges.lock().unwrap() = edges;
    }
}

/// The report of an edge that has applied this number of commits; `u64::MAX` for all.
pub(crate) fn edge(name: &str, applied: u64) -> Edge {
    let applied = Head { number: applied, ..Head::default() };
    Edge::new(name, applied)
}

pub(crate) fn away() -> StoreError {
    StoreError::Unreachable(AWAY.to_owned())
}

impl Store for Fleet {
    type Feed = LocalFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.health.lock().unwrap().clone()
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        self.inner.get(key).await
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        self.inner.find(lookup).await
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.range(collection, after, limit).await
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        self.inner.count(collection).await
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.inner.commit(head, commit).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.inner.raise_format(head, format).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.inner.load().await
    }

    async fn follow(&self, from: Head) -> Result<LocalFeed, StoreError> {
        self.inner.follow(from).await
    }

    async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        let head = self.inner.head().await?;
        let mut edges = self.edges.lock().unwrap().clone()?;
        for edge in edges.iter_mut().filter(|edge| edge.applied.number == u64::MAX) {
            edge.applied = head;
        }
        Ok(edges)
    }

    async fn pause(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}

/// A site with simulated edges, and the errors that `on_fault` received.
async fn site() -> (Site, Fleet, Arc<Mutex<Vec<String>>>) {
    let (fleet, reported) = (Fleet::new(), Arc::new(Mutex::new(Vec::new())));
    let on_fault = OnFault::new({
        let reported = Arc::clone(&reported);
        move |error| reported.lock().unwrap().push(error.to_string())
    });
    let options = RestOptions::default().with_on_fault(Some(on_fault));
    (Site::on(fleet.clone(), options, Limits::default()).await, fleet, reported)
}

fn waiting(path: &str) -> String {
    format!("{path}?{WAIT}")
}

#[tokio::test]
async fn a_202_response_still_has_the_new_auth_token() {
    let (site, fleet, reported) = site().await;
    fleet.set_edges(Ok(vec![edge("west", 0), edge("south", u64::MAX), edge("east", 1)]));
    let fields = format!("{ACCOUNT}, auth_token, edges, message");
    let accounts = waiting("/2010-04-01/Accounts.json");
    let made = site.call_as(&site.admin, "POST", &accounts, "FriendlyName=Acme").await;
    assert_eq!((made.status, keys(&made.json())), (202, named(&fields)), "{}", made.text);
    assert_eq!(made.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(made.json()["edges"], serde_json::json!(["east", "west"]));
    assert_eq!(
        made.text_of("message"),
        "the change is committed, but these edges have not confirmed it"
    );
    assert_eq!([made.text_of("status"), made.text_of("friendly_name")], ["active", "Acme"]);
    let one = format!("/2010-04-01/Accounts/{}.json", made.text_of("sid"));
    let first = (made.text_of("sid"), made.text_of("auth_token"));
    assert_eq!(site.call_as(&first, "GET", &one, "").await.status, 200);

    let rotate = waiting(&one.replace(".json", "/AuthToken.json"));
    let rotated = site.call_as(&site.admin, "POST", &rotate, "").await;
    assert_eq!((rotated.status, keys(&rotated.json())), (202, named(&fields)), "{}", rotated.text);
    let second = (first.0.clone(), rotated.text_of("auth_token"));
    assert_eq!(site.call_as(&second, "GET", &one, "").await.status, 200);
    assert_eq!(site.call_as(&first, "GET", &one, "").await.status, 401);
    assert!(reported.lock().unwrap().is_empty());
}

#[tokio::test]
async fn unreadable_edge_reports_do_not_undo_a_change() {
    let (site, fleet, reported) = site().await;
    fleet.set_edges(Err(away()));
    let fields = format!("{ACCOUNT}, auth_token, edges, message");
    let rotate = waiting("/2010-04-01/Accounts/{ac}/AuthToken.json");
    let rotated = site.call_as(&site.admin, "POST", &rotate, "").await;
    assert_eq!((rotated.status, keys(&rotated.json())), (202, named(&fields)), "{}", rotated.text);
    assert_eq!(rotated.json()["edges"], Value::Null);
    assert_eq!(
        rotated.text_of("message"),
        "the change is committed, but the state of the edges could not be read"
    );
    let login = (site.sid.clone(), rotated.text_of("auth_token"));
    let form = "DomainName=a.example.com";
    let made = site.call_as(&login, "POST", &waiting(&sip("Domains")), form).await;
    assert_eq!(made.status, 202, "{}", made.text);
    let one = instance(&sip("Domains"), &made.text_of("sid"));
    let gone = site.call_as(&login, "DELETE", &waiting(&one), "").await;
    assert_eq!((gone.status, keys(&gone.json())), (202, named("edges, message, status")));
    assert_eq!((&gone.json()["status"], &gone.json()["edges"]), (&202.into(), &Value::Null));
    assert_eq!(site.call_as(&login, "GET", &one, "").await.status, 404);
    // the operator sees the causes that the responses hide
    assert_eq!(*reported.lock().unwrap(), [(); 3].map(|()| format!("the store: {AWAY}")));
}

#[tokio::test]
async fn a_202_response_has_the_fields_of_the_resource() {
    let (site, fleet, _) = site().await;
    let full = site.full().await;
    let users = sip(&format!("CredentialLists/{}/Credentials", full.users));
    let addresses = sip(&format!("IpAccessControlLists/{}/IpAddresses", full.addresses));
    let changes = [
        (sip("Domains"), "DomainName=NAME.example.com", DOMAIN),
        (instance(&sip("Domains"), &full.domain), "FriendlyName=NAME", DOMAIN),
        (sip("CredentialLists"), "FriendlyName=NAME", LIST),
        (users.clone(), "Username=NAME&Password=Correct-Horse-7", CREDENTIAL),
        (instance(&users, &full.credential), "Password=Correct-Horse-8", CREDENTIAL),
        (addresses, "FriendlyName=NAME&IpAddress=192.0.2.9", ADDRESS),
        ("/v1/Trunks".to_owned(), "FriendlyName=NAME", TRUNK),
        (roles(), "FriendlyName=NAME&Type=channel&Permission=addMember", ROLE),
    ];
    for (path, form, fields) in changes {
        fleet.set_edges(Ok(vec![edge("west", u64::MAX)]));
        let usual = site.call("POST", &waiting(&path), &form.replace("NAME", "one")).await;
        assert!([200, 201].contains(&usual.status), "{path}: {}", usual.text);
        assert_eq!(keys(&usual.json()), named(fields), "{path}");
        fleet.set_edges(Ok(vec![edge("west", 0)]));
        let form = form.replace("NAME", "two").replace("2.9", "2.10");
        let lagging = site.call("POST", &waiting(&path), &form).await;
        assert_eq!(lagging.status, 202, "{path}: {}", lagging.text);
        assert_eq!(keys(&lagging.json()), named(&format!("{fields}, edges, message")), "{path}");
    }
    // a failed change does not wait
    refused(&site, "POST", &waiting(&sip("Domains")), "", 400, 21231).await;
    let one = instance(&users, &full.credential);
    let gone = site.call("DELETE", &waiting(&one), "").await;
    assert_eq!((gone.status, keys(&gone.json())), (202, named("edges, message, status")));
    fleet.set_edges(Ok(vec![]));
    let list = site.make(&sip("CredentialLists"), "FriendlyName=three").await;
    let gone = site.call("DELETE", &waiting(&instance(&sip("CredentialLists"), &list)), "").await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
}

#[tokio::test]
async fn an_unhealthy_store_answers_503_and_is_reported() {
    let (site, fleet, reported) = site().await;
    let health = async || site.send(Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(health().await.status, 200);
    *fleet.health.lock().unwrap() = Err(away());
    let answer = health().await;
    let body = r#"{"status":"degraded","parts":{"store":{"state":"unreachable","error":"the store does not answer"}}}"#;
    assert_eq!((answer.status, answer.text.as_str()), (503, body));
    let ready = site.send(Request::get("/ready").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, 200);
    assert_eq!(reported.lock().unwrap().split_off(0), [format!("the store: {AWAY}")]);
    *fleet.health.lock().unwrap() = Ok(());
    assert_eq!(health().await.status, 200);
    // client errors are not reported
    assert_eq!(site.get("/nothing").await.status, 404);
    assert_eq!(site.get(&instance(&sip("Domains"), &format!("SD{DIGITS}"))).await.status, 404);
    assert!(reported.lock().unwrap().is_empty());
}
