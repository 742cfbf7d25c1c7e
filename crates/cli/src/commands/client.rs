//! The HTTP client for the API of a running `sip-authz serve`, as the user `admin`.

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
use crate::system::output::ProgramError;
use crate::system::words::masked;

/// The environment variable with the admin token, of the server and of its clients.
pub(crate) const ADMIN_TOKEN: &str = "SIP_AUTHZ_ADMIN_TOKEN";

/// Time limit to establish a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The longest JSON answer in bytes; longer than any page of a list.
const MAX_ANSWER: u64 = 16 << 20;

/// The admin token from the environment; an empty value counts as absent.
pub(crate) fn admin_token() -> Result<Option<Zeroizing<String>>, ProgramError> {
    match std::env::var(ADMIN_TOKEN) {
        Ok(token) if token.is_empty() => Ok(None),
        Ok(token) => Ok(Some(Zeroizing::new(token))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(ProgramError::Setup(format!("{ADMIN_TOKEN} is not UTF-8")))
        }
    }
}

/// A client of one running server.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    authorization: Zeroizing<String>,
}

impl Client {
    /// Checks the URL and reads the admin token. Sends nothing yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, ProgramError> {
        let base = args.api.trim_end_matches('/').to_owned();
        check_base(&base, args.insecure_api)
            .map_err(|why| ProgramError::Setup(format!("--api {}: {why}", masked(&base))))?;
        let Some(token) = admin_token()? else {
            let message = format!(
                "{ADMIN_TOKEN} is not set; set it to the same token as for `sip-authz serve`"
            );
            return Err(ProgramError::Setup(message));
        };
        let pair = Zeroizing::new(format!("admin:{}", *token));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
        let authorization = Zeroizing::new(format!("Basic {}", *encoded));
        let agent = Agent::config_builder()
            // the token must not reach a proxy or the target of a redirect
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

    /// Sends a GET request.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProgramError> {
        let request = self.agent.get(self.url(path));
        let answer = request.header("authorization", self.authorization.as_str()).call();
        self.read(self.accepted(answer)?)
    }

    /// Sends a POST request with a form.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<T, ProgramError> {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", self.authorization.as_str());
        self.read(self.accepted(request.send_form(form.iter().copied()))?)
    }

    /// Sends a POST request with a JSON body, which is streamed.
    pub(crate) fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &mut dyn Read,
    ) -> Result<T, ProgramError> {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", self.authorization.as_str());
        let request = request.header("content-type", "application/json");
        // lets the server refuse the request before the body is sent
        let request = request.header("expect", "100-continue");
        let mut body = body;
        self.read(self.accepted(request.send(SendBody::from_reader(&mut body)))?)
    }

    /// Sends a GET request and returns the body as a stream.
    pub(crate) fn download(&self, path: &str) -> Result<impl Read, ProgramError> {
        let request = self.agent.get(self.url(path));
        let answer = request.header("authorization", self.authorization.as_str()).call();
        Ok(self.accepted(answer)?.into_body().into_reader())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns a successful answer; turns any other into an error with the server's message.
    fn accepted(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ProgramError> {
        let base = &self.base;
        let answer =
            answer.map_err(|error| ProgramError::Runtime(format!("{base}: {}", why(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status == StatusCode::UNAUTHORIZED {
            let message = format!("{base}: {ADMIN_TOKEN} is not the admin token of this server");
            return Err(ProgramError::Runtime(message));
        }
        let message = self.read::<ErrorBody>(answer).map(|error| error.message);
        Err(ProgramError::Runtime(match message {
            Ok(message) => message,
            Err(_) => format!("{base}: unexpected status {status}"),
        }))
    }

    fn read<T: DeserializeOwned>(&self, answer: Response<Body>) -> Result<T, ProgramError> {
        let base = &self.base;
        let body = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        let body =
            body.map_err(|error| ProgramError::Runtime(format!("{base}: {}", why(&error))))?;
        serde_json::from_slice(&body)
            .map_err(|_| ProgramError::Runtime(format!("{base}: not an answer of sip-authz")))
    }
}

/// The JSON body of an error answer.
#[derive(serde::Deserialize)]
struct ErrorBody {
    message: String,
}

fn check_base(base: &str, insecure: bool) -> Result<(), &'static str> {
    let uri: Uri = base.parse().map_err(|_| "expected a URL such as http://127.0.0.1:8080")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => return Err("this build has no TLS; use an http URL"),
        _ => return Err("expected a URL such as http://127.0.0.1:8080"),
    }
    if uri.query().is_some() || uri.authority().is_some_and(|part| part.as_str().contains('@')) {
        return Err("expected only a host, a port and a path");
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    if loopback || insecure || uri.scheme_str() == Some("https") {
        return Ok(());
    }
    Err(
        "plain HTTP would send the admin token unencrypted to another machine; use https, or allow \
         it with --insecure-api",
    )
}

/// The TLS settings: trust the CA certificates of `--ca`, or the public ones without it.
#[cfg(feature = "tls")]
fn trusted(args: &ServerArgs) -> Result<ureq::tls::TlsConfig, ProgramError> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let Some(path) = &args.ca else { return Ok(TlsConfig::default()) };
    let chain = crate::system::pem::certificates(path)
        .map_err(|why| ProgramError::Setup(format!("--ca {}: {why}", path.display())))?;
    let roots: Vec<_> = chain.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    Ok(TlsConfig::builder().root_certs(RootCerts::Specific(roots.into())).build())
}

fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused; is `sip-authz serve` running there?".to_owned()
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
    fn plain_http_to_another_machine_needs_insecure_api() {
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
