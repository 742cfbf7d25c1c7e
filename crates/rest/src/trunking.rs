//! `/v1/Trunks`: trunks and the lists associated with them.

use serde::Serialize;
use utoipa::ToSchema;

use super::auth_type::auth_types;
use super::change::changes;
use super::dates::iso8601;
use super::error::ApiError;
use super::form::{Form, Param};
use super::links::Links;
use super::mapped::{self, Lists, Shown};
use super::page::Rows;
use super::request::ApiRequest;
use super::routes::Routes;
use sip_authz::model::{
    DomainName, HttpMethod, Key, OnAccept, Target, TransferCallerId, TransferMode, Trunk,
};
use sip_authz::{AccountSid, RoleSid, TrunkSid};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

const TRUNK: &str = "TrunkSid";

changes! {
    Trunk {
        "FriendlyName" => friendly_name: String,
        "DomainName" => name: Option<DomainName>,
        "DisasterRecoveryUrl" => settings.disaster_recovery.url: Option<String>,
        "DisasterRecoveryMethod" => settings.disaster_recovery.method: Option<HttpMethod>,
        "TransferMode" => settings.transfer_mode: TransferMode,
        "Secure" => secure: bool,
        "CnamLookupEnabled" => settings.cnam_lookup_enabled: bool,
        "TransferCallerId" => settings.transfer_caller_id: TransferCallerId,
        "OnAccept" => on_accept: Option<OnAccept>,
    }
}

/// A collection of lists associated with a trunk.
#[derive(Clone, Copy)]
struct Part {
    path: &'static str,
    key: &'static str,
    lists: fn(Target) -> Lists,
    params: &'static [Param],
}

const PARTS: [Part; 2] = [
    Part {
        path: "CredentialLists",
        key: "credential_lists",
        lists: Lists::Credentials,
        params: mapped::CALL_CREDENTIALS,
    },
    Part {
        path: "IpAccessControlLists",
        key: "ip_access_control_lists",
        lists: Lists::Addresses,
        params: mapped::ADDRESSES,
    },
];

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes.at("/v1/Trunks", Kind::Trunk).list("trunks", list::<S>).create(PARAMS, create::<S>);
    routes
        .at(format!("/v1/Trunks/{{{TRUNK}}}"), Kind::Trunk)
        .fetch(fetch::<S>)
        .update(PARAMS, update::<S>)
        .delete(delete::<S>);
    for part in PARTS {
        let path = format!("/v1/Trunks/{{{TRUNK}}}/{}", part.path);
        routes
            .at(path.clone(), Kind::TrunkMapping)
            .list(part.key, move |request: ApiRequest<S>| list_associations(request, part))
            .create(part.params, move |request: ApiRequest<S>| create_association(request, part));
        routes
            .at(format!("{path}/{{{}}}", mapped::SID), Kind::TrunkMapping)
            .fetch(move |request: ApiRequest<S>| fetch_association(request, part))
            .delete(move |request: ApiRequest<S>| delete_association(request, part));
    }
    super::policy::trunk_routes(routes);
}

/// A trunk.
#[derive(Serialize, ToSchema)]
#[schema(as = Trunk)]
struct TrunkBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    /// Empty, `IP_ACL`, `CREDENTIAL_LIST` or `CREDENTIAL_LIST,IP_ACL`.
    auth_type: String,
    auth_type_set: Vec<&'static str>,
    cnam_lookup_enabled: bool,
    date_created: Option<String>,
    date_updated: Option<String>,
    #[schema(value_type = Option<String>)]
    disaster_recovery_method: Option<HttpMethod>,
    disaster_recovery_url: Option<String>,
    domain_name: Option<String>,
    friendly_name: String,
    #[schema(inline)]
    links: TrunkLinks,
    /// The answer to accepted calls: `ok`, `redirect:` and SIP URIs with placeholders, or `forward:` and
    /// hops. Only if set; otherwise the default of the server applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    on_accept: Option<OnAccept>,
    #[schema(inline)]
    recording: Recording,
    secure: bool,
    #[schema(value_type = String)]
    sid: TrunkSid,
    /// Always false, because this server handles no media.
    symmetric_rtp_enabled: bool,
    #[schema(value_type = String)]
    transfer_caller_id: TransferCallerId,
    #[schema(value_type = String)]
    transfer_mode: TransferMode,
    url: String,
}

/// The links to a trunk's subresources. `origination_urls` and `phone_numbers` answer 404.
#[derive(Serialize, ToSchema)]
struct TrunkLinks {
    origination_urls: String,
    credential_lists: String,
    ip_access_control_lists: String,
    phone_numbers: String,
}

/// The recording settings: calls are never recorded.
#[derive(Serialize, ToSchema)]
struct Recording {
    mode: &'static str,
    trim: &'static str,
}

/// A list associated with a trunk.
#[derive(Serialize, ToSchema)]
#[schema(as = TrunkAssociation)]
struct AssociationBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// The name of the list.
    friendly_name: String,
    /// The channel role, only if the association has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    /// The SID of the list.
    sid: String,
    #[schema(value_type = String)]
    trunk_sid: TrunkSid,
    url: String,
}

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<TrunkBody>, ApiError> {
    let account = request.account()?;
    let key = |sid| Key::Target(TrunkSid::from_bytes(sid).into());
    let rows = request.page()?.rows(key, |page| request.directory.trunks(account, page)).await?;
    rows.try_map(|trunk| answer(&request, trunk)).await
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<TrunkBody, ApiError> {
    let change = changes(&request.form)?;
    let fill = |trunk: &mut Trunk| change.apply(trunk);
    let trunk = request.directory.create_trunk(request.account()?, fill).await?;
    answer(&request, trunk).await
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<TrunkBody, ApiError> {
    let trunk = request.directory.trunk(request.account()?, request.sid(TRUNK)?).await?;
    answer(&request, trunk).await
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<TrunkBody, ApiError> {
    let (account, sid) = (request.account()?, request.sid(TRUNK)?);
    let change = changes(&request.form)?;
    let sets_on_accept = request.form.text("OnAccept").is_some();
    let apply = |trunk: &mut Trunk| {
        change.apply(trunk);
        if sets_on_accept {
            request.directory.check_on_accept(Kind::Trunk, trunk.on_accept.as_ref())?;
        }
        Ok(())
    };
    let trunk = request.directory.update_trunk(account, sid, apply).await?;
    answer(&request, trunk).await
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    Ok(request.directory.delete_trunk(request.account()?, request.sid(TRUNK)?).await?)
}

async fn answer<S: Store>(request: &ApiRequest<S>, trunk: Trunk) -> Result<TrunkBody, ApiError> {
    let Trunk { sid, account, name, friendly_name, secure, on_accept, settings, dates } = trunk;
    let auth_types = auth_types(&request.directory, account, sid.into()).await?;
    let url = request.links.absolute(&format!("/v1/Trunks/{sid}"));
    Ok(TrunkBody {
        account_sid: account,
        auth_type: auth_types.join(","),
        auth_type_set: auth_types,
        cnam_lookup_enabled: settings.cnam_lookup_enabled,
        date_created: iso8601(dates.created),
        date_updated: iso8601(dates.updated),
        disaster_recovery_method: settings.disaster_recovery.method,
        disaster_recovery_url: settings.disaster_recovery.url,
        domain_name: name.map(|name| name.as_str().to_owned()),
        friendly_name,
        links: TrunkLinks {
            origination_urls: format!("{url}/OriginationUrls"),
            credential_lists: format!("{url}/CredentialLists"),
            ip_access_control_lists: format!("{url}/IpAccessControlLists"),
            phone_numbers: format!("{url}/PhoneNumbers"),
        },
        on_accept,
        recording: Recording { mode: "do-not-record", trim: "do-not-trim" },
        secure,
        sid,
        symmetric_rtp_enabled: false,
        transfer_caller_id: settings.transfer_caller_id,
        transfer_mode: settings.transfer_mode,
        url,
    })
}

impl AssociationBody {
    fn new(
        links: &Links,
        part: Part,
        account_sid: AccountSid,
        trunk_sid: TrunkSid,
        shown: Shown,
    ) -> Self {
        let Shown { record, friendly_name, sid } = shown;
        Self {
            account_sid,
            date_created: iso8601(record.dates.created),
            date_updated: iso8601(record.dates.updated),
            friendly_name,
            role_sid: record.role,
            url: links.absolute(&format!("/v1/Trunks/{trunk_sid}/{}/{sid}", part.path)),
            sid,
            trunk_sid,
        }
    }
}

async fn list_associations<S: Store>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<Rows<AssociationBody>, ApiError> {
    let (account, trunk) = (request.account()?, request.sid(TRUNK)?);
    let rows = mapped::list(&request, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(rows.map(|shown| AssociationBody::new(&request.links, part, account, trunk, shown)))
}

async fn create_association<S: Store>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<AssociationBody, ApiError> {
    let (account, trunk) = (request.account()?, request.sid(TRUNK)?);
    let shown = mapped::create(&request, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(AssociationBody::new(&request.links, part, account, trunk, shown))
}

async fn fetch_association<S: Store>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<AssociationBody, ApiError> {
    let (account, trunk) = (request.account()?, request.sid(TRUNK)?);
    let shown = mapped::fetch(&request, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(AssociationBody::new(&request.links, part, account, trunk, shown))
}

async fn delete_association<S: Store>(request: ApiRequest<S>, part: Part) -> Result<(), ApiError> {
    mapped::delete(&request, (part.lists)(Target::Trunk(request.sid(TRUNK)?))).await
}
