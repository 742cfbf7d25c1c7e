//! A console on a store in memory, with two accounts, and a browser that keeps cookies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures_util::StreamExt as _;
use sip_authz::model::{Credential, CredentialList, Domain, Mapping, Password};
use sip_authz::{AccountSid, DecisionSid};
use sip_authz_console::{
    Console, ConsoleOptions, ConsoleState, Head, Level, Row, Section, SharedState,
};
use sip_authz_directory::{Directory, Secret, Settings};
use sip_authz_rest::decisions::{
    Answered, Asker, DecisionRecord, Decisions, Event, ExplainError, Explained, ExplainedStep,
    Filter, Followed, Found, Held, Later, Query, Question, Released, SilentEdge,
};
use sip_authz_rest::{AdminToken, PeerAddress, SharedDecisions};
use sip_authz_store::MemoryStore;
use tower::ServiceExt;

pub(crate) const ADMIN_TOKEN: &str = "an-admin-token";
pub(crate) const HOST: &str = "127.0.0.1:8080";
pub(crate) const PASSWORD: &str = "Correct-horse-9-battery";

/// Text that would be markup if a page did not escape it.
pub(crate) const EVIL: &str =
    "<img src=x onerror=alert(1)>\"'&amp;</script><script>alert(2)</script>";

/// Decisions from a list, and a record of the questions.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) records: Mutex<Vec<DecisionRecord>>,
    pub(crate) held: Mutex<Vec<Held>>,
    pub(crate) released: Mutex<Vec<(Asker, String)>>,
    pub(crate) explained: Mutex<Vec<(Asker, Question)>>,
    pub(crate) silent: Mutex<Vec<SilentEdge>>,
    pub(crate) live: Mutex<Vec<Event>>,
    pub(crate) refuses_followers: Mutex<bool>,
    pub(crate) keeps_none: Mutex<bool>,
    /// The reason of explained requests, if it is not markup.
    pub(crate) reason: Mutex<Option<String>>,
}

fn sees(asker: Asker, account: Option<&str>) -> bool {
    asker.account.is_none_or(|own| account == Some(own.to_string().as_str()))
}

fn ready<T: Send + 'static>(value: T) -> Later<'static, T> {
    Box::pin(std::future::ready(value))
}

impl Decisions for Kept {
    fn keeps(&self) -> bool {
        !*self.keeps_none.lock().unwrap()
    }

    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        let records = self.records.lock().unwrap();
        let fits = |record: &&DecisionRecord| {
            sees(asker, record.account.as_deref())
                && query.filter.selects(record)
                && record.place().is_some_and(|place| query.start.admits(place))
        };
        let mut rows: Vec<_> = records.iter().rev().filter(fits).cloned().collect();
        let has_more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let silent = self.silent.lock().unwrap().clone();
        ready(Found { answered: Answered { rows, silent }, has_more })
    }

    fn find(&self, asker: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>> {
        let records = self.records.lock().unwrap();
        let is_it = |record: &&DecisionRecord| {
            record.sid == sid.to_string() && sees(asker, record.account.as_deref())
        };
        let rows = records.iter().filter(is_it).cloned().collect();
        ready(Answered { rows, silent: self.silent.lock().unwrap().clone() })
    }

    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed> {
        if *self.refuses_followers.lock().unwrap() {
            return None;
        }
        let events = self.live.lock().unwrap().clone();
        let fits = events.into_iter().filter(move |event| match event {
            Event::Decision(record) => {
                sees(asker, record.account.as_deref()) && filter.selects(record)
            }
            _ => true,
        });
        let fits: Vec<_> = fits.collect();
        Some(Box::pin(futures_util::stream::iter(fits).chain(futures_util::stream::pending())))
    }

    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>> {
        let is_evil = question.message.windows(4).any(|part| part == b"<img");
        self.explained.lock().unwrap().push((asker, question));
        if is_evil {
            return ready(Err(ExplainError::Message(format!("unreadable: {EVIL}"))));
        }
        ready(Ok(Explained {
            steps: vec![ExplainedStep { text: format!("step {EVIL}"), passed: Some(false) }],
            outcome: "reject".to_owned(),
            status: 403,
            reason: self.reason.lock().unwrap().clone().unwrap_or(format!("reason {EVIL}")),
            cause: Some("address-not-listed".to_owned()),
            meaning: Some(format!("meaning {EVIL}")),
            advice: Some(format!("advice {EVIL}")),
            snapshot: 18_204,
            edge: format!("edge {EVIL}"),
        }))
    }

    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>> {
        let held = self.held.lock().unwrap();
        let rows = held.iter().filter(|held| sees(asker, Some(&held.account))).cloned().collect();
        ready(Answered { rows, silent: self.silent.lock().unwrap().clone() })
    }

    fn release(&self, asker: Asker, id: String) -> Later<'_, Released> {
        let held = self.held.lock().unwrap();
        let is_held = held.iter().any(|held| held.id == id && sees(asker, Some(&held.account)));
        self.released.lock().unwrap().push((asker, id));
        ready(if is_held { Released::Done } else { Released::NotHeld })
    }
}

/// A program with markup in its facts.
pub(crate) struct Program;

impl ConsoleState for Program {
    fn head(&self) -> Head {
        Head {
            edge: format!("edge {EVIL}"),
            number: 18_204,
            confirmed: Some(std::time::Duration::from_secs(2)),
            decides: true,
            has_tls: false,
        }
    }

    fn sections(&self) -> std::pin::Pin<Box<dyn Future<Output = Vec<Section>> + Send + '_>> {
        let row = Row::new(format!("name {EVIL}"), format!("value {EVIL}"));
        let open = Section::new("Decisions", vec![row.clone().with_level(Level::Warning)]);
        let secret = Section::new("Certificates", vec![Row::new("File", "/etc/secret.pem")]);
        Box::pin(std::future::ready(vec![open, secret.for_admin()]))
    }
}

/// An account with a domain, a list with a user, and an access list.
pub(crate) struct Tenant {
    pub(crate) account: AccountSid,
    pub(crate) token: String,
    pub(crate) domain: Domain,
    pub(crate) list: CredentialList,
    pub(crate) user: Credential,
    pub(crate) addresses: String,
    pub(crate) address: String,
}

pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) directory: Arc<Directory<MemoryStore>>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) acme: Tenant,
    pub(crate) other: Tenant,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(|options| options).await
    }

    pub(crate) async fn with(change: impl FnOnce(ConsoleOptions) -> ConsoleOptions) -> Self {
        let settings = Settings::new("sip.example.com".parse().unwrap());
        let directory = Arc::new(Directory::new(MemoryStore::new(), settings, None));
        let acme = tenant(&directory, "acme", "sip.acme.example", "alice").await;
        let other = tenant(&directory, "other", "sip.other.example", "olga").await;
        let kept = Arc::new(Kept::default());
        let options = ConsoleOptions::default()
            .with_admin(AdminToken::new(ADMIN_TOKEN))
            .with_decisions(Some(SharedDecisions(kept.clone())))
            .with_state(Some(SharedState(Arc::new(Program))))
            .with_local(true);
        let console = Arc::new(Console::new(change(options)).unwrap());
        let router = console.router(Arc::clone(&directory));
        Self { router, directory, kept, acme, other }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser {
            router: self.router.clone(),
            cookies: Vec::new(),
            host: HOST.to_owned(),
            address: "127.0.0.1:40000".parse().unwrap(),
        }
    }

    /// A browser of the admin.
    pub(crate) async fn admin(&self) -> Browser {
        let mut browser = self.browser();
        assert_eq!(browser.log_in("admin", ADMIN_TOKEN).await.status, StatusCode::SEE_OTHER);
        browser
    }

    /// A browser of the first account.
    pub(crate) async fn account(&self) -> Browser {
        let mut browser = self.browser();
        let (sid, token) = (self.acme.account.to_string(), self.acme.token.clone());
        assert_eq!(browser.log_in(&sid, &token).await.status, StatusCode::SEE_OTHER);
        browser
    }

    /// Keeps a refused call of a user of the first account. Returns its SID.
    pub(crate) fn refused(&self, number: u8, change: impl FnOnce(&mut DecisionRecord)) -> String {
        let record = refused(&self.acme, number, change);
        let sid = record.sid.clone();
        self.kept.records.lock().unwrap().push(record);
        sid
    }
}

pub(crate) fn refused(
    tenant: &Tenant,
    number: u8,
    change: impl FnOnce(&mut DecisionRecord),
) -> DecisionRecord {
    let mut record = DecisionRecord::default();
    record.sid = DecisionSid::from_bytes([number; 16]).to_string();
    record.edge = "edge-1".to_owned();
    record.time = format!("2026-11-29T14:03:{:02}Z", number % 60);
    record.transport = "udp".to_owned();
    record.outcome = "reject".to_owned();
    record.reason = "wrong-credentials".to_owned();
    record.cause = Some("user-disabled".to_owned());
    record.status = Some(403);
    record.snapshot = Some(18_204);
    record.account = Some(tenant.account.to_string());
    record.target = Some(tenant.domain.sid.to_string());
    record.name = Some(tenant.domain.name.to_string());
    record.host = Some(tenant.domain.name.to_string());
    record.claimed_user = Some(tenant.user.username.to_string());
    record.claimed = Some(tenant.user.sid.to_string());
    record.realm = Some("sip.example.com".to_owned());
    record.algorithm = Some("MD5".to_owned());
    record.source = Some("192.0.2.7:5060".to_owned());
    record.called = Some("14155550100".to_owned());
    record.call_id = Some("a84b4c76e66710".to_owned());
    record.user_agent = Some("Yealink T46".to_owned());
    change(&mut record);
    record
}

async fn tenant(directory: &Directory<MemoryStore>, name: &str, host: &str, user: &str) -> Tenant {
    let new = directory.create_account(name).await.unwrap();
    let account = new.account.sid;
    let domain = directory.create_domain(account, host.parse().unwrap(), |_| {}).await.unwrap();
    let list = directory.create_credential_list(account, "phones", None).await.unwrap();
    let secret = Secret::Password(Password::new(PASSWORD.to_owned()));
    let user = directory
        .create_credential(account, list.sid, user.parse().unwrap(), secret, false, None)
        .await
        .unwrap();
    let addresses = directory.create_ip_access_control_list(account, "offices").await.unwrap();
    let prefix = "192.0.2.0/24".parse().unwrap();
    let address =
        directory.create_ip_address(account, addresses.sid, "office", prefix, false).await.unwrap();
    let mapping = Mapping::CredentialList(domain.sid.into(), list.sid);
    directory.map(account, mapping, None).await.unwrap();
    Tenant {
        account,
        token: new.token.as_str().to_owned(),
        domain,
        list,
        user,
        addresses: addresses.sid.to_string(),
        address: address.sid.to_string(),
    }
}

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn cookies(&self) -> Vec<String> {
        let all = self.headers.get_all(header::SET_COOKIE).iter();
        all.map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
    }

    /// The token of the first form.
    pub(crate) fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// A browser: it keeps cookies and sends them with the headers of the browsers of today.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) router: Router,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

impl Browser {
    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .extension(PeerAddress(self.address));
        if !self.cookies.is_empty() {
            let pairs: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        request
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        for cookie in answer.cookies() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self
            .request(Method::GET, path)
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-mode", "navigate")
            .body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Sends a form as it stands, without the token of a page.
    pub(crate) async fn post_raw(&mut self, path: &str, form: &str) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header(header::ORIGIN, format!("http://{}", self.host))
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()));
        self.send(request.unwrap()).await
    }

    /// Sends a form with the token of the session.
    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Answer {
        let csrf = self.get("/console/").await.csrf();
        self.post_raw(path, &format!("csrf={csrf}&{form}")).await
    }

    pub(crate) async fn log_in(&mut self, user: &str, token: &str) -> Answer {
        let csrf = self.get("/console/login").await.csrf();
        self.post_raw("/console/login", &format!("csrf={csrf}&user={user}&token={token}")).await
    }

    /// The first events of the stream, as far as they come at once.
    pub(crate) async fn events(&mut self, path: &str) -> (StatusCode, String) {
        let request = self.request(Method::GET, path).header("sec-fetch-site", "same-origin");
        let response =
            self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let mut data = response.into_body().into_data_stream();
        let mut text = String::new();
        while let Ok(Some(part)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), data.next()).await
        {
            text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
        }
        (status, text)
    }
}

/// Every page of the console that shows records, for an account with these resources.
pub(crate) fn pages(tenant: &Tenant, decision: &str) -> Vec<String> {
    let (list, user, addresses, address) =
        (tenant.list.sid, tenant.user.sid, &tenant.addresses, &tenant.address);
    let domain = tenant.domain.sid;
    vec![
        "/console/".to_owned(),
        "/console/?outcome=refused&domain=sip.acme.example&user=alice".to_owned(),
        format!("/console/decisions/{decision}"),
        format!("/console/decisions/{decision}?part"),
        format!("/console/domains?account={}", tenant.account),
        format!("/console/domains/{domain}"),
        format!("/console/domains/{domain}/unmap?list=users:{list}"),
        format!("/console/lists?account={}", tenant.account),
        format!("/console/lists/addresses/{addresses}"),
        format!("/console/lists/addresses/{addresses}/delete"),
        format!("/console/lists/addresses/{addresses}/{address}/delete"),
        format!("/console/lists/users/{list}"),
        format!("/console/lists/users/{list}?q=a"),
        format!("/console/lists/users/{list}/delete"),
        format!("/console/lists/users/{list}/{user}"),
        format!("/console/lists/users/{list}/{user}/disable"),
        format!("/console/lists/users/{list}/{user}/password"),
        format!("/console/lists/users/{list}/{user}/delete"),
        "/console/limits".to_owned(),
        "/console/try".to_owned(),
        "/console/state".to_owned(),
    ]
}
