//! SIP domains.

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::auth_type::auth_types;
use crate::change::changes;
use crate::dates::rfc2822;
use crate::error::ApiError;
use crate::form::{Form, Param, domain_name};
use crate::links::sip_uri;
use crate::page::Rows;
use crate::request::ApiRequest;
use crate::routes::Routes;
use sip_authz::model::{Callback, Domain, DomainName, HttpMethod, Key, OnAccept};
use sip_authz::{AccountSid, ByocTrunkSid, DomainSid, PhoneNumberSid};
use sip_authz_directory::{Directory, Kind};
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";

changes! {
    Domain {
        "DomainName" => name: DomainName,
        "FriendlyName" => friendly_name: String,
        "VoiceUrl" => settings.voice.url: Option<String>,
        "VoiceMethod" => settings.voice.method: Option<HttpMethod>,
        "VoiceFallbackUrl" => settings.voice_fallback.url: Option<String>,
        "VoiceFallbackMethod" => settings.voice_fallback.method: Option<HttpMethod>,
        "VoiceStatusCallbackUrl" => settings.voice_status_callback.url: Option<String>,
        "VoiceStatusCallbackMethod" => settings.voice_status_callback.method: Option<HttpMethod>,
        "SipRegistration" => settings.sip_registration: bool,
        "EmergencyCallingEnabled" => settings.emergency_calling_enabled: bool,
        "Secure" => secure: bool,
        "ByocTrunkSid" => settings.byoc_trunk: Option<ByocTrunkSid>,
        "EmergencyCallerSid" => settings.emergency_caller: Option<PhoneNumberSid>,
        "OnAccept" => on_accept: Option<OnAccept>,
    }
}

const CREATE: &[Param] = &Param::first_required::<{ PARAMS.len() }>(PARAMS);

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes
        .at(format!("{SIP}/Domains.json"), Kind::Domain)
        .list("domains", list::<S>)
        .create(CREATE, create::<S>);
    routes
        .at(format!("{SIP}/Domains/{{{DOMAIN}}}.json"), Kind::Domain)
        .fetch(fetch::<S>)
        .update(PARAMS, update::<S>)
        .delete(delete::<S>);
}

/// A SIP domain.
#[derive(Serialize, ToSchema)]
#[schema(as = Domain)]
struct DomainBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    api_version: &'static str,
    /// Empty, `IP_ACL`, `CREDENTIAL_LIST` or `CREDENTIAL_LIST,IP_ACL`.
    auth_type: String,
    #[schema(value_type = Option<String>)]
    byoc_trunk_sid: Option<ByocTrunkSid>,
    date_created: Option<String>,
    date_updated: Option<String>,
    domain_name: String,
    #[schema(value_type = Option<String>)]
    emergency_caller_sid: Option<PhoneNumberSid>,
    emergency_calling_enabled: bool,
    friendly_name: String,
    /// The answer to accepted calls: `ok`, `redirect:` and SIP URIs with placeholders, or `forward:` and
    /// hops. Only if set; otherwise the default of the server applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    on_accept: Option<OnAccept>,
    secure: bool,
    #[schema(value_type = String)]
    sid: DomainSid,
    sip_registration: bool,
    #[schema(inline)]
    subresource_uris: DomainSubresources,
    uri: String,
    #[schema(value_type = Option<String>)]
    voice_fallback_method: Option<HttpMethod>,
    voice_fallback_url: Option<String>,
    #[schema(value_type = Option<String>)]
    voice_method: Option<HttpMethod>,
    #[schema(value_type = Option<String>)]
    voice_status_callback_method: Option<HttpMethod>,
    voice_status_callback_url: Option<String>,
    voice_url: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct DomainSubresources {
    credential_list_mappings: String,
    ip_access_control_list_mappings: String,
}

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<DomainBody>, ApiError> {
    let account = request.account()?;
    let key = |sid| Key::Target(DomainSid::from_bytes(sid).into());
    let rows = request.page()?.rows(key, |page| request.directory.domains(account, page)).await?;
    rows.try_map(|domain| answer(&request.directory, domain)).await
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<DomainBody, ApiError> {
    let change = changes(&request.form)?;
    let name = domain_name(Kind::Domain, request.form.required("DomainName")?)?;
    let fill = |domain: &mut Domain| change.apply(domain);
    let domain = request.directory.create_domain(request.account()?, name, fill).await?;
    answer(&request.directory, domain).await
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<DomainBody, ApiError> {
    let domain = request.directory.domain(request.account()?, request.sid(DOMAIN)?).await?;
    answer(&request.directory, domain).await
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<DomainBody, ApiError> {
    let (account, sid) = (request.account()?, request.sid(DOMAIN)?);
    let change = changes(&request.form)?;
    let sets_on_accept = request.form.text("OnAccept").is_some();
    let apply = |domain: &mut Domain| {
        change.apply(domain);
        if sets_on_accept {
            request.directory.check_on_accept(Kind::Domain, domain.on_accept.as_ref())?;
        }
        Ok(())
    };
    let domain = request.directory.update_domain(account, sid, apply).await?;
    answer(&request.directory, domain).await
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    Ok(request.directory.delete_domain(request.account()?, request.sid(DOMAIN)?).await?)
}

async fn answer<S: Store>(
    directory: &Directory<S>,
    domain: Domain,
) -> Result<DomainBody, ApiError> {
    let Domain { sid, account, name, friendly_name, secure, on_accept, settings, dates } = domain;
    let auth_types = auth_types(directory, account, sid.into()).await?;
    let Callback { url: voice_url, method: voice_method } = settings.voice;
    let Callback { url: voice_fallback_url, method: voice_fallback_method } =
        settings.voice_fallback;
    let Callback { url: voice_status_callback_url, method: voice_status_callback_method } =
        settings.voice_status_callback;
    let mappings = |kind: &str| sip_uri(account, format_args!("Domains/{sid}/{kind}"));
    Ok(DomainBody {
        account_sid: account,
        api_version: "2010-04-01",
        auth_type: auth_types.join(","),
        byoc_trunk_sid: settings.byoc_trunk,
        date_created: rfc2822(dates.created),
        date_updated: rfc2822(dates.updated),
        domain_name: name.as_str().to_owned(),
        emergency_caller_sid: settings.emergency_caller,
        emergency_calling_enabled: settings.emergency_calling_enabled,
        friendly_name,
        on_accept,
        secure,
        sid,
        sip_registration: settings.sip_registration,
        subresource_uris: DomainSubresources {
            credential_list_mappings: mappings("CredentialListMappings"),
            ip_access_control_list_mappings: mappings("IpAccessControlListMappings"),
        },
        uri: sip_uri(account, format_args!("Domains/{sid}")),
        voice_fallback_method,
        voice_fallback_url,
        voice_method,
        voice_status_callback_method,
        voice_status_callback_url,
        voice_url,
    })
}
