//! The rules on the format of a store.

use super::{checked, loaded, puts, write};
use crate::{CommitOutcome, Feed, Format, Head, Store, StoreError};
use sip_authz::AccountSid;
use sip_authz::model::{Account, Commit, Record, TokenHash};

/// Tests that the format of a store rises and gates records. The store must have [`Format::FIRST`], at least one
/// commit, and no other writer.
///
/// # Panics
///
/// If the store violates a rule.
pub async fn rises(store: impl Store) {
    let before = loaded(&store).await;
    let head = store.head().await.unwrap();
    assert_eq!(head.format, Format::FIRST);
    assert!(head.number > 0);
    let mut feed = store.follow(head).await.unwrap();
    // a record of format 2, also beside others
    let account = Account::new(AccountSid::from_bytes([0xee; 16]));
    let gated = Account { secondary_token: Some(TokenHash([7; 32])), ..account.clone() };
    let other = Account::new(AccountSid::from_bytes([0xed; 16]));
    for commit in [puts([gated.clone().into()]), puts([other.into(), gated.clone().into()])] {
        let refused = store.commit(head, commit).await.unwrap_err();
        assert!(matches!(refused, StoreError::Format(_)), "{refused}");
        assert!(
            refused.reason().contains("needs format 2, and the store has format 1"),
            "{refused}"
        );
    }
    let refused = store.raise_format(head, Format::FIRST).await.unwrap_err();
    assert!(matches!(refused, StoreError::Format(_)), "{refused}");
    let unknown = Format::new(Format::NEWEST.number() + 1).unwrap();
    let refused = store.raise_format(head, unknown).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer(_)), "{refused}");
    let wrong = Head { number: head.number + 1, ..head };
    let conflict = store.raise_format(wrong, Format::NEWEST).await.unwrap();
    assert_eq!(conflict, CommitOutcome::Conflict);
    assert_eq!(loaded(&store).await, before);
    // a store of the first format takes all else
    write(&store, puts([account.clone().into()])).await;
    let head = checked(head, &feed.next().await.unwrap());

    let raised = store.raise_format(head, Format::NEWEST).await.unwrap();
    assert_eq!(raised, CommitOutcome::Committed(head.number + 1));
    let entry = feed.next().await.unwrap();
    assert!(entry.commit.is_empty());
    let risen = checked(head, &entry);
    assert_eq!(risen, Head { number: head.number + 1, format: Format::NEWEST, ..head });
    assert_eq!(store.head().await.unwrap(), risen);
    assert_eq!(store.raise_format(head, Format::NEWEST).await, Ok(CommitOutcome::Conflict));
    write(&store, puts([gated.clone().into()])).await;
    let entry = feed.next().await.unwrap();
    assert_eq!(*entry.commit, puts([gated.clone().into()]));
    checked(risen, &entry);
    assert!(loaded(&store).await.records.contains(&Record::from(gated)));
    for format in [Format::FIRST, Format::NEWEST] {
        let head = store.head().await.unwrap();
        let refused = store.raise_format(head, format).await.unwrap_err();
        assert!(matches!(refused, StoreError::Format(_)), "{refused}");
    }
    let mut deletes = Commit::new();
    deletes.delete(Record::from(account).key());
    write(&store, deletes).await;
}
