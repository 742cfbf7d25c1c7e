//! The HTTP client for the API of a running `sip-authz serve`, as the user `admin` or as an account.

mod credentials;
pub(crate) mod events;
mod file;
pub(crate) mod health;
mod settings;
pub(crate) mod upload;

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use sip_authz::AccountSid;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, RequestBuilder};
use zeroize::Zeroizing;

use self::credentials::{Credentials, Origin};
use self::events::EventStream;
use self::settings::{Address, Settings};
use crate::args::ServerArgs;
use crate::system::api_url::ApiUrl;
use crate::system::output::ProgramError;

pub(crate) use self::credentials::User;

/// The environment variable with the admin token, of the server and of its clients.
pub(crate) const ADMIN_TOKEN: &str = "SIP_AUTHZ_ADMIN_TOKEN";

/// Time limit to establish a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The longest JSON answer in bytes; longer than any page of a list.
const MAX_ANSWER: u64 = 16 << 20;

/// The admin token from the environment; an empty value counts as absent.
pub(crate) fn admin_token() -> Result<Option<Zeroizing<String>>, ProgramError> {
    token_of(ADMIN_TOKEN)
}

/// The token in an environment variable; an empty value counts as absent.
pub(crate) fn token_of(name: &str) -> Result<Option<Zeroizing<String>>, ProgramError> {
    settings::environment(name, std::env::var(name)).map_err(ProgramError::Setup)
}

/// The reason why a request got no answer, or none that helps.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The status of the answer; none if there is no answer of the API.
    pub(crate) status: Option<StatusCode>,
    /// The server, as messages name it.
    pub(crate) server: String,
    /// The whole message.
    pub(crate) message: String,
}

impl From<Failure> for ProgramError {
    fn from(failure: Failure) -> Self {
        Self::Runtime(failure.message)
    }
}

/// A client of one running server.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// The URL with its origin, for messages.
    server: String,
    user: User,
    /// The origin of the token.
    token: Origin,
    authorization: Zeroizing<String>,
    /// A PEM file with the only CA certificates to trust, and the name of the setting.
    ca: Option<(PathBuf, String)>,
    /// The account that the admin acts for, on paths that do not name it.
    account: Option<String>,
}

impl Client {
    /// Collects the address and the credentials, and checks them. Sends nothing yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, ProgramError> {
        let Settings { address, credentials } = Settings::load(args)?;
        let Credentials { user, token: secret, origin: token } = credentials;
        let pair = Zeroizing::new(match user {
            User::Admin => format!("admin:{}", *secret),
            User::Account(sid) => format!("{sid}:{}", *secret),
        });
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
        let agent = agent.tls_config(trusted(&address)?);
        let Address { base, origin, ca } = address;
        let server = match origin {
            Origin::Option => base.clone(),
            other => format!("{base} ({other})"),
        };
        Ok(Self {
            agent: agent.build().into(),
            base,
            server,
            user,
            token,
            authorization,
            ca,
            account: None,
        })
    }

    /// The user that the requests are sent as.
    pub(crate) fn user(&self) -> User {
        self.user
    }

    /// The URL of the server, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The server, as messages name it: its URL, with its origin.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Lets the admin act for an account on paths that do not name it.
    pub(crate) fn acting_for(self, account: AccountSid) -> Self {
        Self { account: Some(account.to_string()), ..self }
    }

    /// Sends a GET request.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProgramError> {
        Ok(self.ask(path)?)
    }

    /// Sends a GET request. A failure has its status.
    pub(crate) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.signed(self.agent.get(self.url(path)));
        self.read(self.accepted(request.call())?)
    }

    /// Sends a GET request for an event stream.
    pub(crate) fn follow(
        &self,
        path: &str,
    ) -> Result<EventStream<BufReader<impl Read + 'static>>, Failure> {
        let request = self.signed(self.agent.get(self.url(path)));
        let answer = request.header("accept", "text/event-stream").call();
        let reader = self.accepted(answer)?.into_body().into_reader();
        Ok(EventStream::new(BufReader::new(reader)))
    }

    /// Sends a POST request with a form.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<T, ProgramError> {
        let request = self.signed(self.agent.post(self.url(path)));
        Ok(self.read(self.accepted(request.send_form(form.iter().copied()))?)?)
    }

    /// Sends a DELETE request. A failure has its status.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = self.signed(self.agent.delete(self.url(path)));
        self.accepted(request.call()).map(drop)
    }

    /// Sends a GET request and returns the body as a stream.
    pub(crate) fn download(&self, path: &str) -> Result<impl Read, ProgramError> {
        let request = self.agent.get(self.url(path));
        let answer = request.header("authorization", self.authorization.as_str()).call();
        Ok(self.accepted(answer)?.into_body().into_reader())
    }

    /// Adds the credentials.
    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header("authorization", self.authorization.as_str());
        match &self.account {
            Some(account) => request.header("sip-authz-account", account.as_str()),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns a successful answer; turns any other into a failure with the server's message.
    fn accepted(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Failure> {
        let server = &self.server;
        let answer =
            answer.map_err(|error| self.failure(None, format!("{server}: {}", why(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        Err(self.refusal(status, &body.unwrap_or_default()))
    }

    /// The failure of an answer with an error status.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let server = &self.server;
        let message = if status == StatusCode::UNAUTHORIZED {
            let owner = match self.user {
                User::Admin => "the admin token of this server".to_owned(),
                User::Account(sid) => format!("the auth token of {sid} at this server"),
            };
            format!("{server}: {} is not {owner}", self.token)
        } else {
            let message = serde_json::from_slice::<ErrorBody>(body).map(|error| error.message);
            message.unwrap_or_else(|_| format!("{server}: unexpected status {status}"))
        };
        self.failure(Some(status), message)
    }

    fn read<T: DeserializeOwned>(&self, answer: Response<Body>) -> Result<T, Failure> {
        let server = &self.server;
        let body = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        let body =
            body.map_err(|error| self.failure(None, format!("{server}: {}", why(&error))))?;
        serde_json::from_slice(&body)
            .map_err(|_| self.failure(None, format!("{server}: not an answer of sip-authz")))
    }

    fn failure(&self, status: Option<StatusCode>, message: String) -> Failure {
        Failure { status, server: self.server.clone(), message }
    }
}

/// The JSON body of an error answer.
#[derive(serde::Deserialize)]
struct ErrorBody {
    message: String,
}

fn check_base(base: &str, insecure: bool) -> Result<(), &'static str> {
    let url = ApiUrl::parse(base)?;
    if url.tls && !cfg!(feature = "tls") {
        return Err("this build has no TLS; use an http URL");
    }
    if url.is_safe() || insecure {
        return Ok(());
    }
    Err("plain HTTP would send the token unencrypted to another machine; use https, or allow \
         it with --insecure-api")
}

/// The TLS settings: trust the CA certificates of a file, or the public ones without it.
#[cfg(feature = "tls")]
fn trusted(address: &Address) -> Result<ureq::tls::TlsConfig, ProgramError> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let Some((path, setting)) = &address.ca else { return Ok(TlsConfig::default()) };
    let chain = crate::system::pem::certificates(path)
        .map_err(|why| ProgramError::Setup(format!("{setting} {}: {why}", path.display())))?;
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
