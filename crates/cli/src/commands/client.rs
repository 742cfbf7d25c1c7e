//! How commands speak to a running `sip-authz serve`: HTTP, as the user `admin`.

use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, SendBody};
use zeroize::Zeroizing;

use crate::args::ServerArgs;
use crate::system::failure::Failure;

/// The environment variable that holds the admin's token, for `serve` and for whoever speaks to it.
pub(crate) const ADMIN_TOKEN: &str = "SIP_AUTHZ_ADMIN_TOKEN";

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The longest answer that is read whole: more than any page of a listing.
const MAX_ANSWER: u64 = 16 << 20;

/// The admin's token, if the environment has one.
pub(crate) fn admin_token() -> Result<Option<Zeroizing<String>>, Failure> {
    match std::env::var(ADMIN_TOKEN) {
        Ok(token) if token.is_empty() => Ok(None),
        Ok(token) => Ok(Some(Zeroizing::new(token))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::Setup(format!("{ADMIN_TOKEN} is not UTF-8")))
        }
    }
}

/// A running program.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    authorization: Zeroizing<String>,
}

impl Client {
    /// The program at a URL. Nothing is sent yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let base = args.api.trim_end_matches('/').to_owned();
        check_base(&base, args.insecure_api)
            .map_err(|why| Failure::Setup(format!("--api {base}: {why}")))?;
        let Some(token) = admin_token()? else {
            let message = format!(
                "{ADMIN_TOKEN} is not set; it must be the token that `sip-authz serve` was started \
                 with"
            );
            return Err(Failure::Setup(message));
        };
        let pair = Zeroizing::new(format!("admin:{}", *token));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
        let authorization = Zeroizing::new(format!("Basic {}", *encoded));
        let agent = Agent::config_builder()
            // the token goes to that address and nowhere else
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME))
            .user_agent(concat!("sip-authz/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        let agent = agent.tls_config(trusted(args)?);
        Ok(Self { agent: agent.build().into(), base, authorization })
    }

    /// Asks for a resource.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.agent.get(self.url(path));
        let answer = request.header("authorization", self.authorization.as_str()).call();
        self.read(self.accepted(answer)?)
    }

    /// Sends a form.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", self.authorization.as_str());
        self.read(self.accepted(request.send_form(form.iter().copied()))?)
    }

    /// Sends JSON as it is read.
    pub(crate) fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &mut dyn Read,
    ) -> Result<T, Failure> {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", self.authorization.as_str());
        let request = request.header("content-type", "application/json");
        // what is refused without being read need not be sent
        let request = request.header("expect", "100-continue");
        let mut body = body;
        self.read(self.accepted(request.send(SendBody::from_reader(&mut body)))?)
    }

    /// Asks for something long, to be read as it comes.
    pub(crate) fn download(&self, path: &str) -> Result<impl Read, Failure> {
        let request = self.agent.get(self.url(path));
        let answer = request.header("authorization", self.authorization.as_str()).call();
        Ok(self.accepted(answer)?.into_body().into_reader())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The answer, if the request was carried out.
    fn accepted(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Failure> {
        let base = &self.base;
        let answer =
            answer.map_err(|error| Failure::Runtime(format!("{base}: {}", why(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status == StatusCode::UNAUTHORIZED {
            let message = format!("{base}: {ADMIN_TOKEN} is not the admin token there");
            return Err(Failure::Runtime(message));
        }
        let told = self.read::<Refusal>(answer).map(|refusal| refusal.message);
        Err(Failure::Runtime(match told {
            Ok(message) => message,
            Err(_) => format!("{base}: answered {status}"),
        }))
    }

    fn read<T: DeserializeOwned>(&self, answer: Response<Body>) -> Result<T, Failure> {
        let base = &self.base;
        let body = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        let body = body.map_err(|error| Failure::Runtime(format!("{base}: {}", why(&error))))?;
        serde_json::from_slice(&body)
            .map_err(|_| Failure::Runtime(format!("{base}: what answers there is not sip-authz")))
    }
}

/// How the program refuses.
#[derive(serde::Deserialize)]
struct Refusal {
    message: String,
}

fn check_base(base: &str, insecure: bool) -> Result<(), &'static str> {
    let uri: Uri = base.parse().map_err(|_| "not a URL such as http://127.0.0.1:8080")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return Err("https is not spoken by this build; use a URL with http"),
        _ => return Err("not a URL such as http://127.0.0.1:8080"),
    }
    if uri.query().is_some() || uri.authority().is_some_and(|part| part.as_str().contains('@')) {
        return Err("only a host, a port and a path can be given");
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    if loopback || insecure || uri.scheme_str() == Some("https") {
        return Ok(());
    }
    Err("the admin token would travel in clear to another machine; --insecure-api says that it may")
}

/// The certificates that are trusted: those of the file, or else the public ones.
#[cfg(feature = "tls")]
fn trusted(args: &ServerArgs) -> Result<ureq::tls::TlsConfig, Failure> {
    use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
    let Some(path) = &args.ca else { return Ok(TlsConfig::default()) };
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Setup(format!("--ca {}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    let mut roots = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error))? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(wrong(&"there is no certificate in it"));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::Specific(roots.into())).build())
}

fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused; does `sip-authz serve` run there?".to_owned()
        }
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays_on_this_machine_unless_told_otherwise() {
        for base in ["http://127.0.0.1:8080", "http://[::1]", "http://localhost:1/prefix"] {
            assert_eq!(check_base(base, false), Ok(()), "{base}");
        }
        for base in ["http://192.0.2.1:8080", "http://api.example"] {
            assert!(check_base(base, false).is_err(), "{base}");
            assert_eq!(check_base(base, true), Ok(()), "{base}");
        }
        for base in
            ["", "127.0.0.1:8080", "ftp://localhost", "http://a@localhost", "http://localhost?a"]
        {
            assert!(check_base(base, true).is_err(), "{base}");
        }
        assert_eq!(check_base("https://api.example", false).is_ok(), cfg!(feature = "tls"));
    }
}
