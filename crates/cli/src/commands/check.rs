//! `sip-authz check`: checks a configuration file, or decides one INVITE from a file and explains each
//! step.

mod report;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use sip_authz::model::NextHopSet;
use sip_authz::{Authorizer, Decision, Invite, Step};

use crate::args::{CheckArgs, check_default_domain};
use crate::sip::naming::domain_hosts;
use crate::system::output::{ProgramError, say, warn_all};
use crate::system::words::file_error;
use sip_authz_config::Options;

/// The maximum number of bytes read from the file; longer than any SIP message that is answered.
const MAX_FILE: u64 = 1 << 20;

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, ProgramError> {
    let mut next_hops = NextHopSet::new(args.next_hop_allow.clone());
    if let Some(default) = &args.on_accept {
        next_hops = next_hops.with_default(default.clone());
    }
    let options = Options::new().next_hops(next_hops);
    match (&args.invite, args.source) {
        (Some(invite), Some(source)) => decide(args, &options, invite, source),
        // the command line has both or none
        _ => report::run(&args.config, options, args.json),
    }
}

fn decide(
    args: &CheckArgs,
    options: &Options,
    invite: &Path,
    source: IpAddr,
) -> Result<ExitCode, ProgramError> {
    check_default_domain(&args.default_domain).map_err(ProgramError::Setup)?;
    let config = sip_authz_config::load(&args.config, options).map_err(ProgramError::Config)?;
    warn_all(config.warnings());
    let named = invite.display();
    let wrong = |why: String| ProgramError::Setup(format!("{named}: {why}"));
    let bytes = with_line_ends(read(invite).map_err(|error| wrong(file_error(&error)))?);
    let source = SocketAddr::new(source, args.port);
    let invite = Invite::from_datagram(&bytes, source, args.transport.into())
        .map_err(|error| wrong(error.to_string()))?;
    let sources = match args.default_domain.as_slice() {
        [] => config.edge.default_domain.as_slice(),
        given => given,
    };
    let hosts = domain_hosts(sources, &bytes);
    let invite = hosts.iter().fold(invite, |invite, (_, host)| invite.with_domain_host(host));
    let authorizer = Authorizer::new(config.snapshot);
    let authorizer = authorizer.map_err(|error| ProgramError::Runtime(error.to_string()))?;

    let mut explanation = authorizer.explain(&invite, Instant::now());
    for step in std::mem::take(&mut explanation.steps) {
        say(config.names.annotate(&step.to_string()));
        if let Step::DomainHost { index, .. } = step
            && let Some((source, _)) = hosts.get(index)
        {
            say(format_args!("default domain: `{source}` gives that host"));
        }
    }
    if matches!(&explanation.decision, Decision::Challenge(challenge) if challenge.stale) {
        say(
            "note: `check` does not know the server's nonces, so each response is stale here; the \
             lines above tell whether its digest is right",
        );
    }
    let accepted = explanation.decision.is_accept();
    say(explanation);
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::from(1) })
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

/// Converts line ends of the head to CRLF if the file has none. The body stays as it is, since an
/// `auth-int` digest may cover it.
fn with_line_ends(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.windows(2).any(|pair| pair == b"\r\n") {
        return bytes;
    }
    let blank = bytes.windows(2).position(|pair| pair == b"\n\n");
    let end = blank.map_or(bytes.len(), |at| at + 2);
    let (head, body) = bytes.split_at_checked(end).unwrap_or((&bytes, &[]));
    let mut message = Vec::with_capacity(bytes.len() + 64);
    for byte in head {
        if *byte == b'\n' {
            message.push(b'\r');
        }
        message.push(*byte);
    }
    message.extend_from_slice(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heads_without_crlf_get_line_ends() {
        let convert = |text: &str| String::from_utf8(with_line_ends(text.into())).unwrap();
        assert_eq!(convert("a\nb\n\nc\nd\n"), "a\r\nb\r\n\r\nc\nd\n");
        assert_eq!(convert("a\nb"), "a\r\nb");
        assert_eq!(convert("a\r\nb\n"), "a\r\nb\n");
        assert_eq!(convert(""), "");
    }
}
