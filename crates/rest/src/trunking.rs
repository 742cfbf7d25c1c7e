//! `/v1/Trunks`: trunks and the lists associated with them.

use serde::Serialize;
use utoipa::ToSchema;

use super::auth_type::auth_types;
use super::call::Call;
use super::change::changes;
use super::dates::iso8601;
use super::error::Refusal;
use super::form::{Form, Param};
use super::links::Links;
use super::mapped::{self, Lists, Shown};
use super::page::Rows;
use super::routes::Routes;
use sip_authz::model::{
    DomainName, HttpMethod, Key, Target, TransferCallerId, TransferMode, Trunk,
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
    }
}

/// Which of a trunk's lists a path shows.
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
            .list(part.key, move |call: Call<S>| list_associations(call, part))
            .create(part.params, move |call: Call<S>| create_association(call, part));
        routes
            .at(format!("{path}/{{{}}}", mapped::SID), Kind::TrunkMapping)
            .fetch(move |call: Call<S>| fetch_association(call, part))
            .delete(move |call: Call<S>| delete_association(call, part));
    }
    super::policy::trunk_routes(routes);
}

/// A trunk.
#[derive(Serialize, ToSchema)]
#[schema(as = Trunk)]
struct TrunkAnswer {
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
    #[schema(inline)]
    recording: Recording,
    secure: bool,
    #[schema(value_type = String)]
    sid: TrunkSid,
    /// Always false: media is not this program's affair.
    symmetric_rtp_enabled: bool,
    #[schema(value_type = String)]
    transfer_caller_id: TransferCallerId,
    #[schema(value_type = String)]
    transfer_mode: TransferMode,
    url: String,
}

/// Where a trunk's subresources are; there is nothing behind the first and the last.
#[derive(Serialize, ToSchema)]
struct TrunkLinks {
    origination_urls: String,
    credential_lists: String,
    ip_access_control_lists: String,
    phone_numbers: String,
}

/// Calls are not recorded.
#[derive(Serialize, ToSchema)]
struct Recording {
    mode: &'static str,
    trim: &'static str,
}

/// A list associated with a trunk.
#[derive(Serialize, ToSchema)]
#[schema(as = TrunkAssociation)]
struct AssociationAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// The list's.
    friendly_name: String,
    /// Only of an association that carries a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    /// The list's.
    sid: String,
    #[schema(value_type = String)]
    trunk_sid: TrunkSid,
    url: String,
}

async fn list<S: Store>(call: Call<S>) -> Result<Rows<TrunkAnswer>, Refusal> {
    let account = call.account()?;
    let key = |sid| Key::Target(TrunkSid::from_bytes(sid).into());
    let rows = call.page()?.rows(key, |page| call.directory.trunks(account, page)).await?;
    rows.try_map(|trunk| answer(&call, trunk)).await
}

async fn create<S: Store>(call: Call<S>) -> Result<TrunkAnswer, Refusal> {
    let change = changes(&call.form)?;
    let fill = |trunk: &mut Trunk| change.apply(trunk);
    let trunk = call.directory.create_trunk(call.account()?, fill).await?;
    answer(&call, trunk).await
}

async fn fetch<S: Store>(call: Call<S>) -> Result<TrunkAnswer, Refusal> {
    let trunk = call.directory.trunk(call.account()?, call.sid(TRUNK)?).await?;
    answer(&call, trunk).await
}

async fn update<S: Store>(call: Call<S>) -> Result<TrunkAnswer, Refusal> {
    let (account, sid) = (call.account()?, call.sid(TRUNK)?);
    let change = changes(&call.form)?;
    let apply = |trunk: &mut Trunk| {
        change.apply(trunk);
        Ok(())
    };
    let trunk = call.directory.update_trunk(account, sid, apply).await?;
    answer(&call, trunk).await
}

async fn delete<S: Store>(call: Call<S>) -> Result<(), Refusal> {
    Ok(call.directory.delete_trunk(call.account()?, call.sid(TRUNK)?).await?)
}

async fn answer<S: Store>(call: &Call<S>, trunk: Trunk) -> Result<TrunkAnswer, Refusal> {
    let Trunk { sid, account, name, friendly_name, secure, settings, dates } = trunk;
    let auth_types = auth_types(&call.directory, account, sid.into()).await?;
    let url = call.links.absolute(&format!("/v1/Trunks/{sid}"));
    Ok(TrunkAnswer {
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
        recording: Recording { mode: "do-not-record", trim: "do-not-trim" },
        secure,
        sid,
        symmetric_rtp_enabled: false,
        transfer_caller_id: settings.transfer_caller_id,
        transfer_mode: settings.transfer_mode,
        url,
    })
}

impl AssociationAnswer {
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
    call: Call<S>,
    part: Part,
) -> Result<Rows<AssociationAnswer>, Refusal> {
    let (account, trunk) = (call.account()?, call.sid(TRUNK)?);
    let rows = mapped::list(&call, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(rows.map(|shown| AssociationAnswer::new(&call.links, part, account, trunk, shown)))
}

async fn create_association<S: Store>(
    call: Call<S>,
    part: Part,
) -> Result<AssociationAnswer, Refusal> {
    let (account, trunk) = (call.account()?, call.sid(TRUNK)?);
    let shown = mapped::create(&call, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(AssociationAnswer::new(&call.links, part, account, trunk, shown))
}

async fn fetch_association<S: Store>(
    call: Call<S>,
    part: Part,
) -> Result<AssociationAnswer, Refusal> {
    let (account, trunk) = (call.account()?, call.sid(TRUNK)?);
    let shown = mapped::fetch(&call, (part.lists)(Target::Trunk(trunk))).await?;
    Ok(AssociationAnswer::new(&call.links, part, account, trunk, shown))
}

async fn delete_association<S: Store>(call: Call<S>, part: Part) -> Result<(), Refusal> {
    mapped::delete(&call, (part.lists)(Target::Trunk(call.sid(TRUNK)?))).await
}
