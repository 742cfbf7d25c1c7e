//! `sip-authz check`: checks a configuration file, or decides one request from a file and explains each
//! step.

mod records;
mod report;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use sip_authz::model::NextHopSet;
use sip_authz::{Authorizer, Reason, Transport};
use sip_authz_config::Options;
use sip_authz_rest::decisions::{ExplainError, Explained, Question};

use self::records::Records;
use crate::args::{CheckArgs, RecordSource, ServerArgs, check_default_domain};
use crate::commands::client::Client;
use crate::serving::explain::Explainer;
use crate::system::json::json_line;
use crate::system::output::{ProgramError, print, say};
use crate::system::words::file_error;

/// The maximum number of bytes read from the file; longer than any SIP message that is answered.
const MAX_FILE: u64 = 1 << 20;

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, ProgramError> {
    let mut next_hops = NextHopSet::new(args.next_hop_allow.clone());
    if let Some(default) = &args.on_accept {
        next_hops = next_hops.with_default(default.clone());
    }
    let options = Options::new().next_hops(next_hops);
    let missing = |what| Err(ProgramError::Setup(format!("expected {what}")));
    let Some(source) = args.records() else { return missing("--config or another source") };
    if !matches!(source, RecordSource::Api(_)) && args.server.has_client_options() {
        return missing("--api beside the options of a client");
    }
    match (source, &args.invite, args.source) {
        (source, Some(invite), Some(caller)) => decide(args, source, options, invite, caller),
        (RecordSource::Config(path), ..) => report::run(path, options, args.json),
        // the command line has both or none
        _ => missing("a file with the request"),
    }
}

fn decide(
    args: &CheckArgs,
    source: RecordSource<'_>,
    options: Options,
    invite: &Path,
    caller: IpAddr,
) -> Result<ExitCode, ProgramError> {
    check_default_domain(&args.default_domain).map_err(ProgramError::Setup)?;
    let named = invite.display();
    let wrong = |why: String| ProgramError::Setup(format!("{named}: {why}"));
    let read = || read(invite).map_err(|error| wrong(file_error(&error)));
    let caller = SocketAddr::new(caller, args.port);
    let transport = args.transport.into();
    let explained = match source {
        RecordSource::Api(server) => {
            let message = read()?;
            let message = str::from_utf8(&message)
                .map_err(|_| wrong("expected UTF-8, which the API takes".to_owned()))?;
            ask(server, message, caller, transport)?
        }
        _ => {
            let Records { snapshot, mut names, default_domain } =
                records::load(source, args, options)?;
            let question = Question { message: read()?, source: caller, transport };
            let authorizer = Authorizer::new(snapshot);
            let authorizer =
                authorizer.map_err(|error| ProgramError::Runtime(error.to_string()))?;
            let explainer = Explainer {
                authorizer: &authorizer,
                default_domain: &default_domain,
                account: None,
                counts_guesses: false,
                edge: &source.to_string(),
            };
            explainer.explain(&question, &mut names).map_err(|error| match error {
                ExplainError::Message(why) => wrong(why),
                _ => wrong("no domain or trunk has the host".to_owned()),
            })?
        }
    };
    if args.json {
        print(json_line(&explained)?)?;
    } else {
        show(&explained, matches!(source, RecordSource::Api(_)));
    }
    Ok(if explained.outcome == "accept" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Asks a running server. Its errors are no decision, so they end with another code than a refusal.
fn ask(
    server: &ServerArgs,
    message: &str,
    caller: SocketAddr,
    transport: Transport,
) -> Result<Explained, ProgramError> {
    let caller = caller.to_string();
    let form = [("Source", &*caller), ("Transport", transport.as_str()), ("Message", message)];
    let explained = Client::new(server)?.post("/v1/Decisions/Explain", &form);
    explained.map_err(|error| ProgramError::Setup(error.to_string()))
}

/// Prints the steps, the cause and the decision.
fn show(explained: &Explained, is_running: bool) {
    explained.steps.iter().for_each(|step| say(&step.text));
    let is_stale = explained.outcome == "challenge" && explained.reason == "stale";
    if is_stale && !is_running {
        say(
            "note: `check` does not know the server's nonces, so each response is stale here; the \
             lines above tell whether its digest is right",
        );
    }
    if let (Some(meaning), Some(cause)) = (&explained.meaning, &explained.cause) {
        say(format_args!("cause: {meaning} ({cause})"));
    }
    let Explained { outcome, status, reason, .. } = explained;
    say(match &**outcome {
        "accept" if reason == "repeat" => "decision: accept (a retransmission)".to_owned(),
        "accept" => "decision: accept".to_owned(),
        "challenge" if is_stale => format!("decision: challenge {status}, stale=true"),
        "challenge" => format!("decision: challenge {status}"),
        _ => {
            let code = Reason::ALL.iter().find(|known| known.as_str() == reason);
            let code = code.and_then(|known| known.code());
            let code = code.map_or_else(String::new, |code| format!(", code {code}"));
            format!("decision: {outcome} {status} {reason}{code}")
        }
    });
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
