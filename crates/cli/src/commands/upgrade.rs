//! `sip-authz upgrade`: shows the format of the store of a running server, and raises it.

use std::process::ExitCode;

use sip_authz::escape_line;
use sip_authz_rest::upgrade::{PATH, Upgrade};

use crate::args::{UpgradeArgs, UpgradeCommand};
use ureq::http::StatusCode;

use crate::commands::client::{Client, Failure};
use crate::commands::resources::aligned;
use crate::system::json::json_line;
use crate::system::output::{ProgramError, print};

pub(crate) fn run(args: &UpgradeArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    let (upgrade, json): (Upgrade, _) = match args.command {
        UpgradeCommand::Status { json } => (client.ask(PATH).map_err(explained)?, json),
        UpgradeCommand::Finish { json } => {
            client.ask::<Upgrade>(PATH).map_err(explained)?;
            (client.post(PATH, &[])?, json)
        }
    };
    if json {
        print(json_line(&upgrade)?)?;
    } else {
        print(lines(&upgrade).join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A version before formats does not know the path.
fn explained(failure: Failure) -> Failure {
    if failure.status != Some(StatusCode::NOT_FOUND) {
        return failure;
    }
    let message =
        format!("{}: the server has a version before formats; upgrade it first", failure.server);
    Failure { message, ..failure }
}

/// The lines for people.
fn lines(upgrade: &Upgrade) -> Vec<String> {
    let Upgrade { format, newest_format, edges, .. } = upgrade;
    let is_behind = |supported: u32| supported < *newest_format;
    let next = if format >= newest_format {
        String::new()
    } else if edges.iter().any(|edge| is_behind(edge.newest_format)) {
        format!("; format {newest_format} needs an upgrade of the edges below it")
    } else {
        format!("; `sip-authz upgrade finish` raises it to {newest_format}")
    };
    let rows: Vec<_> = edges
        .iter()
        .map(|edge| {
            let supported = edge.newest_format;
            let behind = if is_behind(supported) { "needs an upgrade" } else { "" };
            vec![
                escape_line(&edge.name).to_string(),
                format!("format {supported}"),
                behind.to_owned(),
            ]
        })
        .collect();
    let mut lines = vec![format!("the store has format {format}{next}")];
    lines.extend(aligned(&rows).lines().map(str::to_owned));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: u32, edges: &str) -> String {
        let text = format!(r#"{{"format":{format},"newest_format":2,"edges":{edges}}}"#);
        lines(&serde_json::from_str(&text).unwrap()).join("\n")
    }

    #[test]
    fn the_lines_name_the_next_step() {
        assert_eq!(shown(2, "[]"), "the store has format 2");
        assert_eq!(
            shown(1, "[]"),
            "the store has format 1; `sip-authz upgrade finish` raises it to 2"
        );
        let edges = r#"[{"name":"north","newest_format":2},{"name":"so\nuth","newest_format":1}]"#;
        assert_eq!(
            shown(1, edges),
            "the store has format 1; format 2 needs an upgrade of the edges below it\n\
             north       format 2\n\
             so\\u{a}uth  format 1  needs an upgrade"
        );
    }
}
