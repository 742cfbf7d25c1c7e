//! The API that the options of `serve` describe: its address, rules and callbacks.

use std::net::SocketAddr;
use std::sync::Arc;

use sip_authz::model::Vocabulary;
use sip_authz_directory::Settings;
use sip_authz_rest::{AdminToken, RestOptions};

use crate::args::{Api, ServeArgs};
use crate::commands::client;
use crate::observe::http_errors;
use crate::observe::logins::FailedLogins;
use crate::serving::demo;
use crate::system::output::ProgramError;
use crate::system::secure::Secured;

/// The advice that needs the feature `tls`.
const TLS_HINT: &str = if cfg!(feature = "tls") { "use --api-cert and --api-key, " } else { "" };

/// The address of the API. Refuses plain HTTP on a non-loopback address without `--insecure-api`.
pub(super) fn check_api(
    args: &ServeArgs,
    secured: &Secured,
) -> Result<Option<SocketAddr>, ProgramError> {
    match args.api {
        Api::Off if !args.demo && args.config.is_none() && args.store().is_none() => {
            Err(ProgramError::Setup(
                "--api off leaves nothing to serve: it needs --demo, --config or a store"
                    .to_owned(),
            ))
        }
        Api::Off if args.console => Err(ProgramError::Setup(
            "--console: expected --api with an address, got `off`".to_owned(),
        )),
        Api::Off => Ok(None),
        Api::At(address)
            if !address.ip().to_canonical().is_loopback()
                && secured.api.is_none()
                && !args.insecure_api =>
        {
            Err(ProgramError::Setup(format!(
                "--api {address}: plain HTTP would send tokens and passwords unencrypted on a \
                 non-loopback address; {TLS_HINT}listen on loopback behind a TLS proxy \
                 (see --public-url), or allow it with --insecure-api"
            )))
        }
        Api::At(address) => Ok(Some(address)),
    }
}

/// The rules and limits of records.
pub(super) fn settings(args: &ServeArgs) -> Result<Settings, ProgramError> {
    let wrong = |error: &dyn std::fmt::Display| ProgramError::Setup(error.to_string());
    let fallback = if args.demo { demo::REALM } else { "sip-authz" };
    let realm = match &args.realm {
        Some(realm) => realm.clone(),
        None => fallback.parse().map_err(|error| wrong(&error))?,
    };
    let registered = args.permission.iter().map(String::as_str);
    let vocabulary = Vocabulary::with(registered);
    Ok(Settings::new(realm)
        .with_limits(args.limits.limits())
        .with_next_hops(args.next_hops())
        .with_suffixes(args.domain_suffix.iter().map(ToString::to_string).collect())
        .with_vocabulary(
            vocabulary.map_err(|error| wrong(&format_args!("--permission: {error}")))?,
        ))
}

/// The options of the REST API.
pub(super) fn options(
    args: &ServeArgs,
    logins: &Arc<FailedLogins>,
) -> Result<RestOptions, ProgramError> {
    let token = client::admin_token()?;
    Ok(RestOptions::default()
        .with_admin(token.as_deref().and_then(|token| AdminToken::new(token)))
        .with_cors_origins(args.cors_origin.clone())
        .with_on_failed_login(Some(logins.callback()?))
        .with_on_fault(Some(http_errors::to_stderr()?))
        .with_public_base(args.public_url.clone())
        .with_read_only(args.config.is_some()))
}
