//! Tips in errors of the command line: what an option expects, with an example.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Error, Parser as _};

use super::Args;
use crate::system::words::masked;

/// The expected value of each option, and an example of it. An option that is not in this table has no tip.
const EXAMPLES: &[(&str, &str, &[&str])] = &[
    ("--sip", "an address and a port", &["--sip 0.0.0.0:5060", "--sip :5060"]),
    ("--sips", "an address and a port", &["--sips 0.0.0.0:5061", "--sips :5061"]),
    (
        "--advertise",
        "a host and a port, or a host alone",
        &["--advertise 203.0.113.7", "--advertise edge.example.com:5080"],
    ),
    (
        "--default-domain",
        "`listener`, `route`, `to` or a domain name, several after commas",
        &["--default-domain to,sip.example.com"],
    ),
    (
        "--trusted-proxy",
        "the IP address or prefix of a proxy",
        &["--trusted-proxy 192.0.2.1", "--trusted-proxy 192.0.2.0/28"],
    ),
    ("--source-from", "`header` or `via`", &["--source-from via"]),
    ("--source-header", "the name of a header", &["--source-header X-Authz-Source"]),
    ("--api", "an IP address and a port, or `off`", &["--api 127.0.0.1:8080", "--api off"]),
    ("--metrics", "an IP address and a port", &["--metrics 127.0.0.1:9464"]),
    ("--metrics-domains", "a number of at most 1000", &["--metrics-domains 20"]),
    ("--udp-workers", "a number of threads", &["--udp-workers 2"]),
    ("--udp-reply-port", "one of the choices", &["--udp-reply-port source"]),
    ("--tls-cert", "a PEM file, with --tls-key and --sips", &["--tls-cert chain.pem"]),
    ("--tls-key", "a PEM file, with --tls-cert", &["--tls-key key.pem"]),
    ("--api-cert", "a PEM file, with --api-key", &["--api-cert chain.pem"]),
    ("--api-key", "a PEM file, with --api-cert", &["--api-key key.pem"]),
    ("--api-connections", "a number", &["--api-connections 512"]),
    ("--api-head-timeout", "a time", &["--api-head-timeout 30s"]),
    ("--api-request-timeout", "a time", &["--api-request-timeout 10m"]),
    ("--public-url", "a URL", &["--public-url https://api.example.com"]),
    ("--cors-origin", "an origin", &["--cors-origin https://console.example.com"]),
    ("--permission", "a name", &["--permission recordCall"]),
    ("--realm", "a text without quotes", &["--realm sip.example.com"]),
    ("--domain-suffix", "a domain name", &["--domain-suffix sip.example.com"]),
    ("--limit", "a name and a number", &["--limit domains=500"]),
    ("--nonces", "a number", &["--nonces 131072"]),
    ("--repeats", "a number", &["--repeats 65536"]),
    ("--guess-counters", "a number", &["--guess-counters 16384"]),
    ("--config", "a TOML file", &["--config edge.toml"]),
    ("--data", "a folder", &["--data /var/lib/sip-authz"]),
    (
        "--on-accept",
        "the answer to accepted INVITEs: `ok` (200, declines all media), `redirect:` with hosts or SIP \
         URIs (302), or `forward:` with hosts or SIP URIs",
        &[
            "--on-accept ok",
            "--on-accept redirect:sip:gw.example.net",
            "--on-accept forward:sip:pbx.example.net",
        ],
    ),
    (
        "--next-hop-allow",
        "a host, `.suffix` or IP prefix, with an optional port",
        &["--next-hop-allow gw.example.net", "--next-hop-allow .carrier.example"],
    ),
    (
        "--decide",
        "a Unix socket, or a loopback address and a port",
        &["--decide unix:/run/sip-authz/decide.sock", "--decide tcp:127.0.0.1:5090"],
    ),
    ("--decide-user", "the name or the number of a user", &["--decide-user kamailio"]),
    ("--decide-group", "the name or the number of a group", &["--decide-group kamailio"]),
    ("--decide-token-file", "a file", &["--decide-token-file /etc/sip-authz/decide.token"]),
    ("--log", "`decisions`, `refused`, `1/N` or `none`", &["--log refused", "--log 1/100"]),
    ("--log-rate", "a number or `unlimited`", &["--log-rate 100"]),
    ("--decision-log", "a file, or `-` for stdout", &["--decision-log decisions.json"]),
    (
        "--decision-log-sampling",
        "`decisions`, `refused` or `1/N`",
        &["--decision-log-sampling 1/100"],
    ),
    ("--decision-log-rate", "a number or `unlimited`", &["--decision-log-rate 10"]),
    (
        "--decision-log-account-rate",
        "a number or `unlimited`",
        &["--decision-log-account-rate 100"],
    ),
    ("--decision-log-size", "a size or `unlimited`", &["--decision-log-size 256M"]),
    ("--decision-log-keep", "a number", &["--decision-log-keep 8"]),
    ("--decision-log-queue", "a number", &["--decision-log-queue 32768"]),
    ("--etcd", "URLs", &["--etcd http://10.0.0.1:2379,http://10.0.0.2:2379"]),
    ("--stale-for", "a time or `unlimited`", &["--stale-for 30s"]),
    ("--source", "the IP address of the caller", &["--source 192.0.2.7"]),
    ("--port", "a port number", &["--port 5060"]),
    ("--transport", "one of the choices", &["--transport tls"]),
    ("--client-config", "a TOML file", &["--client-config client.toml"]),
    ("--ca", "a PEM file", &["--ca ca.pem"]),
    (
        "--account",
        "the SID of an account, as `sip-authz account list` prints it",
        &["--account AC0123456789abcdef0123456789abcdef"],
    ),
    ("--format", "one of the choices", &["--format subscriber-csv"]),
    ("--output", "a file", &["--output records.json"]),
    (
        "<SID>",
        "the SID of an account, as `sip-authz account list` prints it",
        &["AC0123456789abcdef0123456789abcdef"],
    ),
    ("<NAME>", "the display name of the account", &["\"Acme Ltd\""]),
    ("<FILE>", "a file", &["records.json"]),
];

/// Parses the command line of the program; prints the errors, with tips, and exits.
pub(crate) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|error| with_tips(error).exit())
}

/// Adds the expected values of the options that an error is about.
fn with_tips(mut error: Error) -> Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let value = masked(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    let options = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (
            ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::MissingRequiredArgument
            | ErrorKind::NoEquals,
            Some(context),
        ) => names(context),
        _ => return error,
    };
    let mut tips: Vec<StyledStr> =
        options.iter().filter_map(|option| tip(option)).map(StyledStr::from).collect();
    let lacks = |option: &str| options.iter().any(|missing| missing == option);
    if error.kind() == ErrorKind::MissingRequiredArgument && lacks("--on-accept") {
        tips.push(StyledStr::from(
            "to try the program without a configuration: sip-authz serve --demo",
        ));
    }
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// The names of the options in a context such as `--sip <ADDR>`.
fn names(context: &ContextValue) -> Vec<String> {
    // of a group, such as `<--config <FILE>|--data <DIR>>`, the first option
    let name = |text: &str| {
        let text = text.strip_prefix('<').filter(|rest| rest.starts_with("--")).unwrap_or(text);
        text.split([' ', '=']).next().unwrap_or_default().to_owned()
    };
    match context {
        ContextValue::String(text) => vec![name(text)],
        ContextValue::Strings(texts) => texts.iter().map(|text| name(text)).collect(),
        _ => Vec::new(),
    }
}

fn tip(option: &str) -> Option<String> {
    let (_, expected, examples) = EXAMPLES.iter().find(|(name, ..)| *name == option)?;
    Some(format!("{option} takes {expected}, for example {}", examples.join(" or ")))
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, Command, CommandFactory as _};

    use super::*;

    fn options(command: &Command, found: &mut Vec<String>) {
        let takes_value =
            |arg: &&clap::Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let long = |arg: &clap::Arg| arg.get_long().map(|long| format!("--{long}"));
        found.extend(command.get_arguments().filter(takes_value).filter_map(long));
        command.get_subcommands().for_each(|command| options(command, found));
    }

    #[test]
    fn each_example_is_valid() {
        let mut known = Vec::new();
        options(&Args::command(), &mut known);
        for (option, _, examples) in EXAMPLES.iter().filter(|(name, ..)| name.starts_with("--")) {
            // options of a feature that this build lacks
            if !known.iter().any(|known| known == option) {
                continue;
            }
            for example in *examples {
                let (name, value) = example.split_once(' ').unwrap();
                assert_eq!(name, *option);
                let base: &[&str] = match name {
                    "--source" | "--port" | "--transport" => {
                        &["check", "--config", "x", "--source", "::1", "invite"]
                    }
                    "--ca" | "--client-config" => &["account", "list"],
                    "--account" | "--format" => &["import", "x"],
                    "--output" => &["export"],
                    "--config" | "--data" | "--etcd" => &["serve", "--on-accept", "ok"],
                    "--stale-for" => &["serve", "--on-accept", "ok", "--etcd", "http://a"],
                    "--sips" | "--tls-cert" | "--tls-key" => &[
                        "serve",
                        "--demo",
                        "--sips",
                        "[::1]:1",
                        "--tls-cert",
                        "x",
                        "--tls-key",
                        "y",
                    ],
                    "--api-cert" | "--api-key" => {
                        &["serve", "--on-accept", "ok", "--api-cert", "x", "--api-key", "y"]
                    }
                    "--metrics-domains" => &["serve", "--demo", "--metrics"],
                    "--log-rate" => &["serve", "--demo", "--log", "refused"],
                    name if name.starts_with("--decide-") => {
                        &["serve", "--demo", "--decide", "unix:x"]
                    }
                    name if name.starts_with("--decision-log-") => {
                        &["serve", "--demo", "--decision-log", "x"]
                    }
                    _ => &["serve", "--demo"],
                };
                // an example replaces the value that the base has
                let base: Vec<&str> = match base.iter().position(|arg| arg == &name) {
                    Some(at) => [&base[..at], &base[at + 2..]].concat(),
                    None => base.to_vec(),
                };
                let args = [&["sip-authz"], &base[..], &[name, value]].concat();
                let parsed = Args::try_parse_from(&args);
                assert!(parsed.is_ok(), "{args:?}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn errors_have_the_choices_and_an_example() {
        for (args, parts) in [
            (
                &["serve"][..],
                &["--on-accept", "`ok`", "redirect:sip:gw.example.net", "serve --demo"][..],
            ),
            (&["serve", "--demo", "--sip", "here:x"], &["'here:x'", "--sip 0.0.0.0:5060"]),
            (&["serve", "--demo", "--log", "loud"], &["'loud'", "`decisions`", "--log refused"]),
            (&["serve", "--demo", "--log"], &["--log refused"]),
            (&["check", "--config", "x", "invite"], &["--source 192.0.2.7"]),
            (&["account", "close", "x"], &["'x'", "AC0123456789abcdef0123456789abcdef"]),
        ] {
            let error = Args::try_parse_from([&["sip-authz"], args].concat()).unwrap_err();
            let text = with_tips(error).to_string();
            parts.iter().for_each(|part| assert!(text.contains(part), "no {part} in {text}"));
        }
    }
}
