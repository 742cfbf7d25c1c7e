//! SIP domains.

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::auth_type::auth_types;
use crate::call::Call;
use crate::dates::rfc2822;
use crate::error::Refusal;
use crate::form::{CallbackChange, Form, Param, domain_name};
use crate::links::sip_uri;
use crate::page::Rows;
use crate::routes::Routes;
use sip_authz::model::{Callback, Domain, DomainName, HttpMethod, Key};
use sip_authz::{AccountSid, ByocTrunkSid, DomainSid, PhoneNumberSid};
use sip_authz_directory::{Directory, Kind};
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";

const CREATE: &[Param] = &params(Param::text("DomainName").required());
const UPDATE: &[Param] = &params(Param::text("DomainName"));

const fn params(name: Param) -> [Param; 13] {
    [
        name,
        Param::text("FriendlyName"),
        Param::text("VoiceUrl"),
        Param::text("VoiceMethod"),
        Param::text("VoiceFallbackUrl"),
        Param::text("VoiceFallbackMethod"),
        Param::text("VoiceStatusCallbackUrl"),
        Param::text("VoiceStatusCallbackMethod"),
        Param::flag("SipRegistration"),
        Param::flag("EmergencyCallingEnabled"),
        Param::flag("Secure"),
        Param::text("ByocTrunkSid"),
        Param::text("EmergencyCallerSid"),
    ]
}

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes
        .at(format!("{SIP}/Domains.json"), Kind::Domain)
        .list("domains", list::<S>)
        .create(CREATE, create::<S>);
    routes
        .at(format!("{SIP}/Domains/{{{DOMAIN}}}.json"), Kind::Domain)
        .fetch(fetch::<S>)
        .update(UPDATE, update::<S>)
        .delete(delete::<S>);
}

/// A SIP domain.
#[derive(Serialize, ToSchema)]
#[schema(as = Domain)]
struct DomainAnswer {
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

/// What a form says of a domain; what it does not say stays.
struct DomainChange {
    name: Option<DomainName>,
    friendly_name: Option<String>,
    voice: CallbackChange,
    voice_fallback: CallbackChange,
    voice_status_callback: CallbackChange,
    sip_registration: Option<bool>,
    emergency_calling_enabled: Option<bool>,
    secure: Option<bool>,
    byoc_trunk: Option<Option<ByocTrunkSid>>,
    emergency_caller: Option<Option<PhoneNumberSid>>,
}

impl DomainChange {
    fn read(form: &Form) -> Result<Self, Refusal> {
        Ok(Self {
            name: form
                .text("DomainName")
                .map(|name| domain_name(Kind::Domain, name))
                .transpose()?,
            friendly_name: form.text("FriendlyName").map(str::to_owned),
            voice: CallbackChange::read(form, "VoiceUrl", "VoiceMethod")?,
            voice_fallback: CallbackChange::read(form, "VoiceFallbackUrl", "VoiceFallbackMethod")?,
            voice_status_callback: CallbackChange::read(
                form,
                "VoiceStatusCallbackUrl",
                "VoiceStatusCallbackMethod",
            )?,
            sip_registration: form.flag("SipRegistration")?,
            emergency_calling_enabled: form.flag("EmergencyCallingEnabled")?,
            secure: form.flag("Secure")?,
            byoc_trunk: form.clearable("ByocTrunkSid")?,
            emergency_caller: form.clearable("EmergencyCallerSid")?,
        })
    }

    fn apply(&self, domain: &mut Domain) {
        if let Some(name) = &self.name {
            domain.name.clone_from(name);
        }
        if let Some(name) = &self.friendly_name {
            domain.friendly_name.clone_from(name);
        }
        domain.secure = self.secure.unwrap_or(domain.secure);
        let settings = &mut domain.settings;
        self.voice.apply(&mut settings.voice);
        self.voice_fallback.apply(&mut settings.voice_fallback);
        self.voice_status_callback.apply(&mut settings.voice_status_callback);
        settings.sip_registration = self.sip_registration.unwrap_or(settings.sip_registration);
        settings.emergency_calling_enabled =
            self.emergency_calling_enabled.unwrap_or(settings.emergency_calling_enabled);
        settings.byoc_trunk = self.byoc_trunk.unwrap_or(settings.byoc_trunk);
        settings.emergency_caller = self.emergency_caller.unwrap_or(settings.emergency_caller);
    }
}

async fn list<S: Store>(call: Call<S>) -> Result<Rows<DomainAnswer>, Refusal> {
    let account = call.account()?;
    let key = |sid| Key::Target(DomainSid::from_bytes(sid).into());
    let rows = call.page()?.rows(key, |page| call.directory.domains(account, page)).await?;
    rows.try_map(|domain| answer(&call.directory, domain)).await
}

async fn create<S: Store>(call: Call<S>) -> Result<DomainAnswer, Refusal> {
    let change = DomainChange::read(&call.form)?;
    let name = domain_name(Kind::Domain, call.form.required("DomainName")?)?;
    let fill = |domain: &mut Domain| change.apply(domain);
    let domain = call.directory.create_domain(call.account()?, name, fill).await?;
    answer(&call.directory, domain).await
}

async fn fetch<S: Store>(call: Call<S>) -> Result<DomainAnswer, Refusal> {
    let domain = call.directory.domain(call.account()?, call.sid(DOMAIN)?).await?;
    answer(&call.directory, domain).await
}

async fn update<S: Store>(call: Call<S>) -> Result<DomainAnswer, Refusal> {
    let (account, sid) = (call.account()?, call.sid(DOMAIN)?);
    let change = DomainChange::read(&call.form)?;
    let apply = |domain: &mut Domain| {
        change.apply(domain);
        Ok(())
    };
    let domain = call.directory.update_domain(account, sid, apply).await?;
    answer(&call.directory, domain).await
}

async fn delete<S: Store>(call: Call<S>) -> Result<(), Refusal> {
    Ok(call.directory.delete_domain(call.account()?, call.sid(DOMAIN)?).await?)
}

async fn answer<S: Store>(
    directory: &Directory<S>,
    domain: Domain,
) -> Result<DomainAnswer, Refusal> {
    let Domain { sid, account, name, friendly_name, secure, settings, dates } = domain;
    let auth_types = auth_types(directory, account, sid.into()).await?;
    let Callback { url: voice_url, method: voice_method } = settings.voice;
    let Callback { url: voice_fallback_url, method: voice_fallback_method } =
        settings.voice_fallback;
    let Callback { url: voice_status_callback_url, method: voice_status_callback_method } =
        settings.voice_status_callback;
    let mappings = |kind: &str| sip_uri(account, format_args!("Domains/{sid}/{kind}"));
    Ok(DomainAnswer {
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
