//! The checks before each request, and the headers of each response.

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sip_authz_store::Store;
use std::net::IpAddr;

use super::App;
use super::options::ConsoleOptions;
use super::problem::{self, Problem};

/// No inline script or style, and no request to another host.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The headers of each response. The referrer policy is not `no-referrer`, because browsers then send the
/// origin `null` with forms.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// The maximum number of slashes in the path of a page below `/console/`.
const MAX_DEPTH: usize = 8;

/// The way from the page of a request to `/console/`: as many `../` as it needs. Links are relative, so that
/// the pages work under any prefix that a proxy strips.
#[derive(Clone, Debug)]
pub(crate) struct Root(pub(crate) String);

impl Root {
    pub(crate) fn of(path: &str) -> Self {
        match path.strip_prefix("/console/") {
            // a longer path has no page; its answer must not grow with it
            Some(rest) => Self("../".repeat(rest.matches('/').take(MAX_DEPTH).count())),
            None => Self("console/".to_owned()),
        }
    }
}

/// Checks a request, and adds the headers to its response.
pub(crate) async fn guard<S: Store>(
    State(app): State<App<S>>,
    mut request: Request,
    next: Next,
) -> Response {
    let root = Root::of(request.uri().path());
    request.extensions_mut().insert(root.clone());
    let mut response = match check(&app.console.options, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.response(),
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = Problem::wrong_method().response();
        allow.into_iter().for_each(|allow| {
            response.headers_mut().insert(header::ALLOW, allow);
        });
    }
    let mut response = problem::rendered(response, &root.0);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(options: &ConsoleOptions, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = host(request).ok_or_else(Problem::wrong_host)?;
    if !admits_host(options, &host) {
        return Err(Problem::wrong_host());
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && request.method() != Method::POST {
        return Err(Problem::wrong_method());
    }
    let site = text(headers, "sec-fetch-site");
    let foreign = matches!(site, Some("cross-site" | "same-site"));
    if is_read {
        // a link from another site opens a page, which reads nothing of it; all else is refused
        let opens_page = text(headers, "sec-fetch-mode") == Some("navigate")
            && text(headers, "sec-fetch-dest").is_none_or(|dest| dest == "document");
        return if foreign && !opens_page { Err(Problem::other_origin()) } else { Ok(()) };
    }
    let own = match origin(headers) {
        Some(origin) => is_own_origin(options, &host, origin),
        // browsers send an origin with each form; a client without one still needs the token of the form
        None => matches!(site, None | Some("same-origin")),
    };
    if own && !foreign { Ok(()) } else { Err(Problem::other_origin()) }
}

/// The one Host header, or the authority of the URI.
fn host(request: &Request) -> Option<Authority> {
    let mut all = request.headers().get_all(header::HOST).iter();
    match (all.next(), all.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        (None, _) => request.uri().authority().cloned(),
        _ => None,
    }
}

/// Whether the console answers under this host.
///
/// An IP address and `localhost` are always admitted. With a public URL, its host and port are admitted too,
/// and every other name is refused. Without one, other names are refused on a loopback address: a page of
/// a name that resolves to it (DNS rebinding) would have its origin. On another address a proxy may use any
/// name: the cookie of a session is never sent to another name.
fn admits_host(options: &ConsoleOptions, host: &Authority) -> bool {
    let name = host.host().trim_matches(['[', ']']);
    let is_local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    match options.public_origin().and_then(authority_of) {
        _ if is_local => true,
        Some(public) => public.eq_ignore_ascii_case(host.as_str()),
        None => !options.local,
    }
}

fn is_own_origin(options: &ConsoleOptions, host: &Authority, origin: &str) -> bool {
    let same_host = authority_of(origin).is_some_and(|of| of.eq_ignore_ascii_case(host.as_str()));
    let public = options.public_origin().is_some_and(|own| own.eq_ignore_ascii_case(origin));
    same_host || public
}

/// The host and port of an origin.
fn authority_of(origin: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme))
}

/// Whether a cookie of this request may be sent over TLS only.
pub(crate) fn is_secure(options: &ConsoleOptions, request: &axum::http::request::Parts) -> bool {
    let public = options.public_origin().is_some_and(|origin| origin.starts_with("https://"));
    let by_origin = match origin(&request.headers) {
        Some(origin) => origin.starts_with("https://"),
        None => public,
    };
    by_origin || request.uri.scheme() == Some(&Scheme::HTTPS)
}

/// The port in the Host header, which tells apart the cookies of several consoles on one host.
pub(crate) fn port(headers: &HeaderMap) -> Option<u16> {
    let host = headers.get(header::HOST)?;
    Authority::try_from(host.as_bytes()).ok()?.port_u16()
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    // an unreadable one is no own one
    headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"))
}

/// A header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_root_is_relative() {
        for (path, root) in [
            ("/console", "console/"),
            ("/console/", ""),
            ("/console/login", ""),
            ("/console/lists/users/CL1", "../../"),
            ("/console/lists/", "../"),
        ] {
            assert_eq!(Root::of(path).0, root, "{path}");
        }
    }
}
