//! What `domain show` and `trunk show` print: settings, lists, policy and warnings.

use serde_json::{Map, Value, json};
use sip_authz::escape_name;

use super::api::Api;
use super::kind::{Collection, IP_LIST, MAPPINGS, shown_name, text};
use super::lists::members_of;
use super::policy;
use super::table::{aligned, cell};
use crate::system::output::ProgramError;

/// The domain or trunk with its lists, policy and warnings.
pub(super) fn target(
    api: &Api,
    targets: &Collection,
    target: &Value,
) -> Result<Value, ProgramError> {
    let sid = text(target, "sid");
    let mut lists = Vec::new();
    for mappings in &MAPPINGS {
        let Some(mapped) = targets.mappings(sid, mappings) else { continue };
        for row in api.all(&mapped)? {
            let list = text(&row, "sid");
            let members = api.all(&members_of(api, mappings.list, list))?;
            let is_disabled =
                |member: &&Value| member.get("disabled").and_then(Value::as_bool) == Some(true);
            lists.push(json!({
                "kind": if mappings.list.is(&IP_LIST) { "ip" } else { "credentials" },
                "for": if mappings.is_registration { "registrations" } else { "calls" },
                "sid": list,
                "friendly_name": text(&row, "friendly_name"),
                "role_sid": row.get("role_sid"),
                "entries": members.len(),
                "disabled": members.iter().filter(is_disabled).count(),
            }));
        }
    }
    let whole = api.get(&targets.policy(sid))?;
    let policy: Map<String, Value> = policy::fields()
        .filter_map(|field| Some((field.to_owned(), whole.get(field)?.clone())))
        .collect();
    let warnings = warnings(target, targets.is_trunks(), &lists, &api.account()?);
    let mut all = target.as_object().cloned().unwrap_or_default();
    all.insert("lists".to_owned(), json!(lists));
    all.insert("policy".to_owned(), json!(policy));
    all.insert("warnings".to_owned(), json!(warnings));
    Ok(Value::Object(all))
}

/// The settings that refuse callers, probably against the intention.
fn warnings(target: &Value, is_trunk: bool, lists: &[Value], account: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let status = text(account, "status");
    if !matches!(status, "" | "active") {
        found.push(format!("the account is {}: every call is refused", escape_name(status)));
    }
    if is_trunk && text(target, "domain_name").is_empty() {
        found.push("the trunk has no host name: no call reaches it".to_owned());
    }
    let is_for = |list: &&Value, purpose: &str| text(list, "for") == purpose;
    if !lists.iter().any(|list| is_for(&list, "calls")) {
        found.push("no list is mapped for calls: every call is refused".to_owned());
    }
    for (kind, noun) in [("ip", "address"), ("credentials", "enabled user")] {
        let of_kind =
            || lists.iter().filter(|list| is_for(list, "calls") && text(list, "kind") == kind);
        let count =
            |list: &Value, field| list.get(field).and_then(Value::as_u64).unwrap_or_default();
        let admits = |list: &Value| count(list, "entries") > count(list, "disabled");
        if of_kind().next().is_some() && !of_kind().any(admits) {
            // a call must pass the lists of both kinds
            found.push(format!("the mapped lists have no {noun}: every call is refused"));
        }
    }
    let registers = target.get("sip_registration").and_then(Value::as_bool) == Some(true);
    let has_registrations = lists.iter().any(|list| is_for(&list, "registrations"));
    if registers && !has_registrations {
        found.push("no list is mapped for registrations: every REGISTER is refused".to_owned());
    }
    if !registers && has_registrations {
        found.push(
            "a list is mapped for registrations, but registration is off (`domain set \
             --registration`)"
                .to_owned(),
        );
    }
    let mut checked = Vec::new();
    for list in lists {
        let sid = text(list, "sid");
        if checked.contains(&sid) {
            continue;
        }
        checked.push(sid);
        let name = escape_name(text(list, "friendly_name")).to_string();
        let [entries, disabled] =
            ["entries", "disabled"].map(|field| list.get(field).and_then(Value::as_u64));
        match (entries, disabled) {
            (Some(0), _) => found.push(format!("list `{name}` is empty: it admits no caller")),
            (Some(entries), Some(disabled)) if entries == disabled => {
                found.push(format!("all users of list `{name}` are disabled"));
            }
            _ => {}
        }
    }
    found
}

/// The details for a reader.
pub(super) fn target_text(targets: &Collection, details: &Value) -> String {
    let name = escape_name(shown_name(details)).to_string();
    let mut lines = vec![
        vec![targets.kind.noun.to_owned(), name],
        vec!["sid".to_owned(), cell(details, "sid")],
        vec!["name".to_owned(), cell(details, "friendly_name")],
        vec!["secure".to_owned(), cell(details, "secure")],
    ];
    if !targets.is_trunks() {
        lines.push(vec!["registration".to_owned(), cell(details, "sip_registration")]);
    }
    let answer = match text(details, "on_accept") {
        "" => "default of the server".to_owned(),
        answer => escape_name(answer).to_string(),
    };
    lines.push(vec!["on accept".to_owned(), answer]);
    for list in rows(details, "lists") {
        lines.push(vec![text(list, "for").to_owned(), list_text(list)]);
    }
    for warning in rows(details, "warnings").iter().filter_map(Value::as_str) {
        lines.push(vec!["warning".to_owned(), warning.to_owned()]);
    }
    let policy = details.get("policy").unwrap_or(&Value::Null);
    let fields = policy::fields().filter(|field| policy.get(field).is_some());
    lines.extend(fields.map(|field| vec![field.to_owned(), policy_cell(policy, field)]));
    aligned(&lines)
}

/// Values of a policy as `--policy` takes them.
fn policy_cell(policy: &Value, field: &str) -> String {
    match policy.get(field) {
        Some(Value::Bool(is)) => is.to_string(),
        _ => cell(policy, field),
    }
}

fn rows<'v>(details: &'v Value, field: &str) -> &'v [Value] {
    details.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn list_text(list: &Value) -> String {
    let name = escape_name(text(list, "friendly_name"));
    let (sid, entries) = (cell(list, "sid"), cell(list, "entries"));
    let is_ip = text(list, "kind") == "ip";
    let (kind, members) = match (is_ip, entries.as_str()) {
        (true, "1") => ("access", "entry"),
        (true, _) => ("access", "entries"),
        (false, "1") => ("credential", "user"),
        (false, _) => ("credential", "users"),
    };
    let mut shown = format!("{kind} list `{name}` ({sid}), {entries} {members}");
    if list.get("disabled").and_then(Value::as_u64).is_some_and(|count| count > 0) {
        shown = format!("{shown}, {} disabled", cell(list, "disabled"));
    }
    match cell(list, "role_sid").as_str() {
        "-" => shown,
        role => format!("{shown}, role {role}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_has_its_cause() {
        let list = |purpose: &str, entries: u64, disabled: u64| {
            json!({"for": purpose, "sid": format!("{purpose}{entries}{disabled}"),
                "kind": "credentials", "friendly_name": "l", "entries": entries, "disabled": disabled})
        };
        let active = json!({"status": "active"});
        let domain = json!({"domain_name": "a.example", "sip_registration": false});
        let phones = json!({"domain_name": "a.example", "sip_registration": true});
        let all = |target, is_trunk, lists: &[Value], account| {
            warnings(target, is_trunk, lists, account).join("; ")
        };
        assert_eq!(all(&domain, false, &[list("calls", 2, 1)], &active), "");
        let empty = json!({"for": "calls", "sid": "AL1", "kind": "ip", "friendly_name": "e",
            "entries": 0, "disabled": 0});
        let text = all(&domain, false, &[list("calls", 1, 0), empty], &active);
        assert!(text.contains("have no address: every call is refused"), "{text}");
        let text = all(&domain, false, &[list("calls", 1, 1), list("calls", 2, 0)], &active);
        assert!(!text.contains("every call is refused"), "{text}");
        for (target, is_trunk, lists, account, part) in [
            (&domain, false, vec![], &active, "no list is mapped for calls"),
            (&domain, false, vec![list("calls", 0, 0)], &active, "list `l` is empty"),
            (&domain, false, vec![list("calls", 2, 2)], &active, "all users of list `l`"),
            (&domain, false, vec![list("calls", 2, 2)], &active, "have no enabled user"),
            (&phones, false, vec![list("calls", 1, 0)], &active, "every REGISTER is refused"),
            (&domain, false, vec![list("registrations", 1, 0)], &active, "registration is off"),
            (&domain, false, vec![list("registrations", 1, 0)], &active, "mapped for calls"),
            (&json!({"domain_name": null}), true, vec![], &active, "has no host name"),
            (&domain, false, vec![], &json!({"status": "suspended"}), "account is suspended"),
        ] {
            let text = all(target, is_trunk, &lists, account);
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}
