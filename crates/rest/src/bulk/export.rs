//! The body of an export: a document in pieces of bounded size.

use axum::body::Body;
use serde::Serialize;

use super::aside::{self, Gone, Sender};
use super::document::Format;
use super::entry::{Array, Entry};
use sip_authz_store::Records;

/// The size of a piece in bytes, beyond which no entry is added to it. At most two pieces wait for the
/// client.
const PIECE: usize = 64 << 10;

/// The document of these records, as serde writes it. It has hashes of passwords and tokens only if `secrets`
/// is set.
pub(super) fn body(records: Records, secrets: bool) -> Body {
    aside::body(move |sender| async move {
        // ends early if the client has gone
        let _ = write(&records, secrets, sender).await;
    })
}

async fn write(records: &Records, secrets: bool, sender: Sender) -> Result<(), Stopped> {
    let mut piece = br#"{"format":"#.to_vec();
    append(&mut piece, &Format::V1)?;
    for array in Array::ALL {
        let mut is_empty = true;
        for record in records.iter().filter(|record| Array::of(record.key()) == *array) {
            if std::mem::take(&mut is_empty) {
                piece.extend_from_slice(format!(",\"{}\":[", array.name()).as_bytes());
            } else {
                piece.push(b',');
            }
            append(&mut piece, &Entry::of(record, secrets))?;
            if piece.len() >= PIECE {
                sender.send(std::mem::take(&mut piece)).await?;
            }
        }
        if !is_empty {
            piece.push(b']');
        }
    }
    piece.push(b'}');
    sender.send(piece).await?;
    Ok(sender.end().await?)
}

/// Why an export ends early: the client has gone, or an entry cannot be encoded. No entry has a map under
/// keys other than strings, so each can.
struct Stopped;

impl From<Gone> for Stopped {
    fn from(Gone: Gone) -> Self {
        Self
    }
}

fn append(piece: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Stopped> {
    serde_json::to_writer(piece, value).map_err(|_| Stopped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::to_bytes;
    use sip_authz::model::{Account, Commit, Dates, Role, RoleKind};
    use sip_authz::{AccountSid, RoleSid, ServiceSid};

    use super::super::Document;
    use super::*;

    fn records(accounts: usize) -> Records {
        let mut commit = Commit::new();
        for n in 0..accounts {
            let account = Account::new(account_of(n));
            commit.put(Account { friendly_name: "x".repeat(100), ..account }.into());
            let role = Role {
                sid: RoleSid::from_name(&[&n.to_string()]),
                account: account_of(n),
                service: ServiceSid::from_name(&["s"]),
                friendly_name: String::new(),
                kind: RoleKind::Channel,
                permissions: Vec::new(),
                dates: Dates::default(),
            };
            commit.put(role.into());
        }
        Records::default().with(&commit)
    }

    fn account_of(n: usize) -> AccountSid {
        AccountSid::from_name(&[&n.to_string()])
    }

    #[tokio::test]
    async fn the_pieces_are_the_document() {
        for accounts in [0, 1, 1_000] {
            let records = records(accounts);
            let whole = serde_json::to_vec(&Document::of(records.iter(), true)).unwrap();
            let streamed = to_bytes(body(records, true), usize::MAX).await.unwrap();
            assert_eq!(streamed, whole, "{accounts}");
        }
    }

    /// A client that takes nothing stops the export after a few pieces.
    #[tokio::test]
    async fn a_slow_client_makes_the_server_hold_few_pieces() {
        let (sender, mut receiver) = aside::channel();
        let records = records(10_000);
        let writing = tokio::spawn(async move { write(&records, true, sender).await.is_ok() });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished());
        let piece = receiver.next().await.unwrap().unwrap();
        assert!((PIECE..PIECE + 1_000).contains(&piece.len()), "{}", piece.len());
        drop(receiver);
        assert!(!writing.await.unwrap());
    }
}
