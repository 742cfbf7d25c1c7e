//! Login and logout.

use askama::Template;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use sha2::{Digest, Sha256};
use sip_authz_rest::{FailedLogin, LoginUser, PeerAddress};
use sip_authz_store::Store;
use subtle::ConstantTimeEq;

use super::App;
use super::assets::{SCRIPT, STYLE};
use super::client::source;
use super::failures::DELAY;
use super::fields::Fields;
use super::guard::{Root, is_secure, text};
use super::problem::{Problem, html, redirect};
use super::sessions::{Holder, random};
use super::visit::{Change, Visit, cookie, cookie_name, form as read_form};

/// The user name of the admin.
const ADMIN: &str = "admin";

/// The suffix of the cookie that binds a login form to a browser.
const FORM_COOKIE: &str = "-form";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    root: &'a str,
    style: String,
    script: String,
    token: String,
    next: &'a str,
    user: &'a str,
    error: &'a str,
    has_admin: bool,
}

/// A page that a link from another site opened: it goes on by itself, now from this site, so that the
/// browser sends the cookie.
#[derive(Template)]
#[template(path = "onward.html")]
struct OnwardPage<'a> {
    style: String,
    to: &'a str,
}

/// `GET /console`: the way to the first page.
pub(crate) async fn to_console() -> Response {
    redirect("console/")
}

/// `GET /console/session`: whether the session is open, for the script.
pub(crate) async fn session<S: Store>(_: State<App<S>>, _: Visit) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /console/login`.
pub(crate) async fn form<S: Store>(State(app): State<App<S>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let query = Fields::read(parts.uri.query().unwrap_or_default());
    let next = safe_next(query.get("next"));
    // a link from another site brings no cookie of a session, which is SameSite=Strict
    let foreign = text(&parts.headers, "sec-fetch-site") == Some("cross-site");
    if foreign && !next.is_empty() {
        let to = format!("./{next}");
        return html(&OnwardPage { style: STYLE.link(), to: &to });
    }
    match page(&app, &parts, next, "", "") {
        Ok(page) => page,
        Err(problem) => problem.response(),
    }
}

/// The login form. Its token belongs to a cookie that only this site can read.
fn page<S: Store>(
    app: &App<S>,
    parts: &Parts,
    next: &str,
    user: &str,
    error: &str,
) -> Result<Response, Problem> {
    let name = format!("{}{FORM_COOKIE}", cookie_name(&parts.headers));
    let known = cookie(&parts.headers, &name).filter(|id| id.len() == 64).map(str::to_owned);
    let id = known.map_or_else(|| random().map(hex::encode), Ok)?;
    let root = parts.extensions.get::<Root>().map_or("", |root| root.0.as_str());
    let options = &app.console.options;
    let (style, script) = (STYLE.link(), SCRIPT.link());
    let (token, has_admin) = (form_token(app, &id), options.admin.is_some());
    let page = LoginPage { root, style, script, token, next, user, error, has_admin };
    let mut response = html(&page);
    let cookie = set_cookie(app, parts, &name, &id, "");
    response.headers_mut().append(header::SET_COOKIE, cookie?);
    Ok(response)
}

/// `POST /console/login`.
pub(crate) async fn submit<S: Store>(
    State(app): State<App<S>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body): (Parts, Body) = request.into_parts();
    let form = read_form(&parts.headers, body).await?;
    let name = cookie_name(&parts.headers);
    let form_name = format!("{name}{FORM_COOKIE}");
    let next = safe_next(form.get("next"));
    let token = cookie(&parts.headers, &form_name).map(|id| form_token(&app, id));
    let owns =
        token.is_some_and(|token| token.as_bytes().ct_eq(form.raw("csrf").as_bytes()).into());
    if !owns {
        let mut response =
            page(&app, &parts, next, form.get("user"), "The form was out of date. Try again.")?;
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    let failures = &app.console.failures;
    let counted = failures.attempt(source(&parts.extensions)).map_err(|wait| {
        let text = "There were too many failed logins from this address. Wait, then try again.";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many failed logins", text);
        problem.retry_after(wait.as_secs() + 1)
    })?;
    let user = form.get("user");
    let Some(holder) = identify(&app, user, form.get("token")).await? else {
        report(&app, user, &parts);
        tokio::time::sleep(DELAY).await;
        // both causes have one text, so that no account is revealed
        let error = "The name or the token is wrong, or the account is not active.";
        let mut response = page(&app, &parts, next, user, error)?;
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    };
    failures.succeeded(counted);
    // a session that was open in this browser is over
    if let Some(session) =
        cookie(&parts.headers, &name).and_then(|id| app.console.sessions.find(id, false))
    {
        app.console.sessions.end(&session.key);
    }
    let id = app.console.sessions.open(holder)?;
    let mut response = redirect(&format!("./{next}"));
    let cookies = [
        set_cookie(&app, &parts, &name, &id, ""),
        set_cookie(&app, &parts, &form_name, "", "; Max-Age=0"),
    ];
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie?);
    }
    Ok(response)
}

/// `POST /console/logout`.
pub(crate) async fn logout<S: Store>(
    State(app): State<App<S>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let name = cookie_name(&parts.headers);
    let gone = set_cookie(&app, &parts, &name, "", "; Max-Age=0")?;
    let Change { visit, .. } = Change::from_request(Request::from_parts(parts, body), &app).await?;
    app.console.sessions.end(&visit.session.key);
    let mut response = redirect("./login");
    response.headers_mut().append(header::SET_COOKIE, gone);
    Ok(response)
}

/// The holder with this name and token.
async fn identify<S: Store>(
    app: &App<S>,
    user: &str,
    token: &str,
) -> Result<Option<Holder>, Problem> {
    if user == ADMIN {
        let admin = app.console.options.admin.as_ref();
        return Ok(admin.filter(|admin| admin.matches(token)).map(|_| Holder::Admin));
    }
    let Ok(sid) = user.parse() else { return Ok(None) };
    let login = app.directory.authenticate(sid, token).await?;
    Ok(login.map(|login| Holder::Account(sid, login.token.0)))
}

/// Reports a failed login to the program.
fn report<S: Store>(app: &App<S>, user: &str, parts: &Parts) {
    if let Some(on_failed) = &app.console.options.on_failed_login {
        let source = parts.extensions.get().map(|PeerAddress(address)| *address);
        let user = match user {
            ADMIN => LoginUser::Admin,
            sid => LoginUser::Account(sid.parse().ok()),
        };
        on_failed.report(&FailedLogin::new(user, source));
    }
}

/// The token of the login form for the browser with this cookie.
fn form_token<S: Store>(app: &App<S>, id: &str) -> String {
    let hash = Sha256::new().chain_update(app.console.login_key).chain_update(id).finalize();
    hex::encode(hash)
}

/// A cookie for the pages of the console only. Behind a proxy that strips a prefix, the path is left to the
/// browser, which takes the folder of the login form.
fn set_cookie<S: Store>(
    app: &App<S>,
    parts: &Parts,
    name: &str,
    value: &str,
    more: &str,
) -> Result<HeaderValue, Problem> {
    let options = &app.console.options;
    let path = if options.prefix().is_empty() { "; Path=/console/" } else { "" };
    let secure = if is_secure(options, parts) { "; Secure" } else { "" };
    let text = format!("{name}={value}; HttpOnly; SameSite=Strict{path}{secure}{more}");
    HeaderValue::from_str(&text).map_err(|_| Problem::bad("The host is unreadable."))
}

/// The path below `/console/` to go to after the login; empty if it could lead elsewhere.
pub(crate) fn safe_next(next: &str) -> &str {
    let path = next.split_once('?').map_or(next, |(path, _)| path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
    let is_safe = path.chars().all(plain)
        && !path.starts_with('/')
        && !path.contains("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic())
        && next.len() <= 2_000;
    if is_safe && !path.starts_with("login") { next } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_into_the_console_only() {
        for next in ["", "decisions/NO1", "lists/users/CL1?q=a%20b&x=//c", "?domain=a.example"] {
            assert_eq!(safe_next(next), next);
        }
        let long = "a".repeat(2_001);
        for next in [
            "//evil.example",
            "/evil",
            "https://evil.example",
            "javascript:alert(1)",
            "..//x",
            "a\\b",
            "a\r\nb",
            "a//b",
            "../x",
            "x?\u{e9}",
            "login?next=login",
            &long,
        ] {
            assert_eq!(safe_next(next), "", "{next}");
        }
    }
}
