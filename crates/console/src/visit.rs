//! A request with a session.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use sip_authz::AccountSid;
use sip_authz::model::{Account, AccountStatus, TokenHash};
use sip_authz_directory::DirectoryError;
use sip_authz_rest::decisions::Asker;
use sip_authz_store::Store;
use zeroize::Zeroizing;

use super::App;
use super::fields::Fields;
use super::guard::{Root, port, text};
use super::problem::Problem;
use super::sessions::{Holder, Session};

/// The longest body of a form in bytes.
const MAX_BODY: usize = 96 << 10;

/// A request with a session whose holder may still log in.
pub(crate) struct Visit {
    pub(crate) session: Session,
    /// The account of the session; none for the admin.
    pub(crate) own: Option<Account>,
    /// The account that the admin has chosen.
    pub(crate) chosen: Option<Account>,
    pub(crate) query: Fields,
    /// The way to `/console/`.
    pub(crate) root: String,
    /// Whether the script asks for a part of a page.
    pub(crate) part: bool,
}

impl Visit {
    /// The account whose resources and decisions the page shows; none for all.
    pub(crate) fn account(&self) -> Option<AccountSid> {
        self.own.as_ref().or(self.chosen.as_ref()).map(|account| account.sid)
    }

    /// Whether the session is the admin's.
    pub(crate) fn is_admin(&self) -> bool {
        self.own.is_none()
    }

    /// The sender of questions about decisions.
    pub(crate) fn asker(&self) -> Asker {
        Asker { account: self.account(), asks_fleet: true }
    }

    /// The owner of a resource, if the holder of the session may see it.
    pub(crate) fn may_see(&self, owner: AccountSid) -> bool {
        self.own.as_ref().is_none_or(|own| own.sid == owner)
    }

    /// Opens the page of a resource, if the holder of the session may see those of its owner. The admin's page
    /// is then that of the owner. Otherwise the answer is `unknown`, as if there were no such resource.
    pub(crate) async fn open<S: Store>(
        &mut self,
        app: &App<S>,
        owner: AccountSid,
        unknown: impl FnOnce() -> Problem,
    ) -> Result<(), Problem> {
        if !self.may_see(owner) {
            return Err(unknown());
        }
        if self.own.is_none() {
            self.chosen = Some(app.directory.account(owner).await?);
        }
        Ok(())
    }

    /// The SID of the chosen account, for links; empty if there is none.
    pub(crate) fn chosen_sid(&self) -> String {
        self.chosen.as_ref().map(|account| account.sid.to_string()).unwrap_or_default()
    }
}

/// A form of a session, with the right token.
pub(crate) struct Change {
    pub(crate) visit: Visit,
    pub(crate) form: Fields,
}

impl Change {
    /// Fails if no records can be changed.
    pub(crate) fn writes<S: Store>(&self, app: &App<S>) -> Result<(), Problem> {
        if app.console.options.read_only { Err(Problem::read_only()) } else { Ok(()) }
    }
}

impl<S: Store> FromRequestParts<App<S>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<S>) -> Result<Self, Problem> {
        let root = parts.extensions.get::<Root>().map(|root| root.0.clone()).unwrap_or_default();
        let query = Fields::read(parts.uri.query().unwrap_or_default());
        // an open stream and the check of the session itself are no activity
        let path = parts.uri.path();
        let uses = path != "/console/stream" && !query.has("idle");
        let part = query.has("part") || path == "/console/stream" || path == "/console/session";
        let id = cookie(&parts.headers, &cookie_name(&parts.headers));
        let session = id.and_then(|id| app.console.sessions.find(id, uses));
        let Some(session) = session else { return Err(no_session(parts, &root, part)) };
        let own = match session.holder {
            Holder::Admin => None,
            Holder::Account(sid, token) => match holder(app, sid, &token).await? {
                Some(account) => Some(account),
                None => {
                    app.console.sessions.end(&session.key);
                    return Err(no_session(parts, &root, part));
                }
            },
        };
        let chosen = match query.get("account") {
            sid if own.is_none() && !sid.is_empty() => {
                let unknown = || Problem::not_found("There is no such account.");
                Some(app.directory.account(sid.parse().map_err(|_| unknown())?).await?)
            }
            _ => None,
        };
        Ok(Self { session, own, chosen, query, root, part })
    }
}

/// The account of a session, if its token is still that of the login and it is active.
pub(crate) async fn holder<S: Store>(
    app: &App<S>,
    sid: AccountSid,
    token: &[u8; 32],
) -> Result<Option<Account>, DirectoryError> {
    match app.directory.account(sid).await {
        Ok(account) => {
            let is_held = account.has_token(TokenHash(*token));
            Ok(Some(account).filter(|account| is_held && account.status == AccountStatus::Active))
        }
        Err(DirectoryError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The login form for a page, and 401 for the script.
fn no_session(parts: &Parts, root: &str, part: bool) -> Problem {
    if part {
        return Problem::logged_out();
    }
    let asked = parts.uri.path_and_query().map_or("", |asked| asked.as_str());
    let next = match parts.method {
        Method::GET => asked.strip_prefix("/console/").unwrap_or_default(),
        _ => "",
    };
    Problem::log_in(root, next)
}

impl<S: Store> FromRequest<App<S>> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App<S>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        // first of all, so that the body of an unknown sender is never read
        let mut visit = Visit::from_request_parts(&mut parts, app).await?;
        let form = form(&parts.headers, body).await?;
        if !visit.session.owns_token(form.raw("csrf")) {
            return Err(Problem::stale_form());
        }
        visit.part = false;
        Ok(Self { visit, form })
    }
}

/// Reads the body of a form.
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let kind = text(headers, "content-type").and_then(|kind| kind.split(';').next());
    let is_form = kind
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    if !is_form {
        let text = "A form must be sent as application/x-www-form-urlencoded.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid input", text));
    }
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| {
        let text = format!("A form may have {MAX_BODY} bytes at most.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Input too long", text)
    })?;
    let body = Zeroizing::new(Vec::from(body.to_bytes()));
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad("The form is not UTF-8."))?;
    Ok(Fields::read(text))
}

/// The name of the cookie of a session. Cookies are shared by all ports of a host, so the name has the port.
pub(crate) fn cookie_name(headers: &HeaderMap) -> String {
    match port(headers) {
        Some(port) => format!("sip-authz-console-{port}"),
        None => "sip-authz-console".to_owned(),
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}
