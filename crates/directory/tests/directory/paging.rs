//! Paged listings: oldest rows first, each row once, correct under concurrent changes, and linear cost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sip_authz::model::{
    Commit, Credential, Key, Mapping, MappingRecord, Password, RoleKind, Target,
};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, ServiceSid};
use sip_authz_directory::{
    Cursor, Directory, DirectoryError, Kind, Limits, Listing, MappingScope, Page, Secret,
};
use sip_authz_store::{CommitOutcome, MemoryStore, Store};
use sip_authz_testing::kit::{PASSWORD, user};
use sip_authz_testing::site::{Probe, Site, now_ms, settings, tick};

type Commands = Directory<Probe<MemoryStore>>;

async fn a_directory() -> (Commands, AccountSid) {
    let store = Probe::new(MemoryStore::new());
    let directory = Directory::new(store, settings(), None).with_clock(now_ms);
    let owner = directory.create_account("test").await.unwrap().account.sid;
    (directory, owner)
}

/// Reads all rows in pages of `size`, and asserts that every page but the last is full.
async fn all<T>(
    size: usize,
    list: impl AsyncFn(Page) -> Result<Listing<T>, DirectoryError>,
) -> Vec<T> {
    let mut rows = Vec::new();
    let mut page = Page::first(size);
    loop {
        let listing = list(page).await.unwrap();
        match listing.next {
            Some(_) => assert_eq!(listing.rows.len(), size),
            None => assert!(listing.rows.len() <= size),
        }
        rows.extend(listing.rows);
        page.after = listing.next;
        if page.after.is_none() {
            return rows;
        }
    }
}

fn secret() -> Secret {
    Secret::Password(Password::new(PASSWORD.to_owned()))
}

/// SIDs sort by age even within one millisecond, and when the clock steps back.
#[tokio::test]
async fn listings_of_every_kind_start_with_the_oldest_row() {
    let (directory, owner) = a_directory().await;
    let other = directory.create_account("other").await.unwrap().account.sid;
    let (mut accounts, mut domains, mut trunks) = (vec![owner, other], Vec::new(), Vec::new());
    let (mut lists, mut users, mut access_lists) = (Vec::new(), Vec::new(), Vec::new());
    let (mut addresses, mut roles) = (Vec::new(), Vec::new());
    let service = ServiceSid::from_name(&["service"]);
    for n in 0..25 {
        if n % 10 == 9 {
            tick(-5_000);
        }
        accounts.push(directory.create_account("").await.unwrap().account.sid);
        for account in [other, owner] {
            let name = format!("{n}.{account}.example").parse().unwrap();
            let domain = directory.create_domain(account, name, |_| ()).await.unwrap();
            let trunk = directory.create_trunk(account, |_| ()).await.unwrap();
            let list =
                directory.create_credential_list(account, &n.to_string(), None).await.unwrap();
            let offices = directory.create_ip_access_control_list(account, "").await.unwrap();
            let (kind, names) = (RoleKind::Channel, vec!["addMember".to_owned()]);
            let role = directory.create_role(account, service, "", kind, names).await.unwrap();
            if account == owner {
                domains.push(domain.sid);
                trunks.push(trunk.sid);
                lists.push(list.sid);
                access_lists.push(offices.sid);
                roles.push(role.sid);
            }
        }
        let (list, offices) = (lists[n % 2], access_lists[n % 2]);
        let name = format!("u{n}").parse().unwrap();
        let made = directory.create_credential(owner, list, name, secret(), false, None).await;
        users.push((list, made.unwrap().sid));
        let prefix = "192.0.2.7".parse().unwrap();
        let made = directory.create_ip_address(owner, offices, "", prefix, false).await.unwrap();
        addresses.push((offices, made.sid));
    }
    for size in [1, 2, 5, 24, 25, 26, 1_000, usize::MAX] {
        let d = &directory;
        let rows = all(size, async |page| d.accounts(page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), accounts);
        let rows = all(size, async |page| d.domains(owner, page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), domains);
        let rows = all(size, async |page| d.trunks(owner, page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), trunks);
        let rows = all(size, async |page| d.credential_lists(owner, page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), lists);
        let rows = all(size, async |page| d.ip_access_control_lists(owner, page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), access_lists);
        let rows = all(size, async |page| d.roles(owner, service, page).await).await;
        assert_eq!(rows.iter().map(|row| row.sid).collect::<Vec<_>>(), roles);
        for n in 0..2 {
            let rows = all(size, async |page| d.credentials(owner, lists[n], page).await).await;
            let rows: Vec<_> = rows.iter().map(|row| (row.list, row.sid)).collect();
            let expected = users.iter().copied().filter(|(list, _)| *list == lists[n]);
            assert_eq!(rows, expected.collect::<Vec<_>>());
            let list = access_lists[n];
            let rows = all(size, async |page| d.ip_addresses(owner, list, page).await).await;
            let rows: Vec<_> = rows.iter().map(|row| (row.list, row.sid)).collect();
            let expected = addresses.iter().copied().filter(|(of, _)| *of == list);
            assert_eq!(rows, expected.collect::<Vec<_>>());
        }
    }
    let nothing = directory.domains(owner, Page::first(0)).await.unwrap();
    assert_eq!(nothing, Listing { rows: vec![], next: None });
    let none =
        directory.domains(AccountSid::from_name(&["unknown"]), Page::first(5)).await.unwrap();
    assert_eq!(none.rows, []);
}

/// Mappings are listed in the order of their creation, not by the SIDs of their lists.
#[tokio::test]
async fn mappings_are_listed_in_order_of_creation() {
    let (directory, owner) = a_directory().await;
    let name = "a.example.com".parse().unwrap();
    let domain = directory.create_domain(owner, name, |_| ()).await.unwrap().sid;
    let mut lists = Vec::new();
    for n in 0..9 {
        let list = directory.create_credential_list(owner, &n.to_string(), None).await.unwrap().sid;
        lists.push(list);
    }
    let order = [4, 8, 0, 7, 2, 6, 1, 3, 5].map(|n| lists[n]);
    let calls = |list| Mapping::CredentialList(domain.into(), list);
    for list in order {
        directory.map(owner, Mapping::Registration(domain, list), None).await.unwrap();
        directory.map(owner, calls(list), None).await.unwrap();
    }
    let listed = async |scope, size| {
        let target = Target::from(domain);
        all(size, async |page| directory.mappings(owner, target, scope, page).await).await
    };
    let mapped = |rows: Vec<MappingRecord>| rows.iter().map(|row| row.mapping).collect::<Vec<_>>();
    for size in [1, 2, 3, 8, 9, 10] {
        let rows = mapped(listed(MappingScope::CredentialLists, size).await);
        assert_eq!(rows, order.map(calls), "pages of {size}");
        let rows = mapped(listed(MappingScope::Registrations, size).await);
        assert_eq!(rows, order.map(|list| Mapping::Registration(domain, list)));
        assert_eq!(listed(MappingScope::IpAccessControlLists, size).await, []);
    }
    // a full page at the end of the listing is the last
    let scope = MappingScope::CredentialLists;
    let whole = directory.mappings(owner, domain.into(), scope, Page::first(9)).await.unwrap();
    assert_eq!((whole.rows.len(), whole.next), (9, None));
    // a recreated mapping is the newest; paging continues behind a deleted mapping
    let target = domain.into();
    let first = directory.mappings(owner, target, scope, Page::first(3)).await.unwrap();
    for list in [order[2], order[4]] {
        directory.unmap(owner, calls(list)).await.unwrap();
        directory.map(owner, calls(list), None).await.unwrap();
    }
    let page = Page { after: first.next, size: 100 };
    let rest = directory.mappings(owner, target, scope, page).await.unwrap();
    let expected = [3, 5, 6, 7, 8, 2, 4].map(|n| calls(order[n]));
    assert_eq!(mapped(rest.rows), expected);
}

/// Mappings from one commit have the same number, and are still paged one by one.
#[tokio::test]
async fn mappings_of_one_commit_are_paged() {
    let (directory, owner) = a_directory().await;
    let name = "a.example.com".parse().unwrap();
    let domain = directory.create_domain(owner, name, |_| ()).await.unwrap().sid;
    let mut commit = Commit::new();
    for n in 0..7 {
        let list = directory.create_credential_list(owner, &n.to_string(), None).await.unwrap().sid;
        commit.put(Mapping::CredentialList(domain.into(), list).into());
    }
    directory.import(commit).await.unwrap();
    let scope = MappingScope::CredentialLists;
    for size in 1..9 {
        let list = async |page| directory.mappings(owner, domain.into(), scope, page).await;
        let rows = all(size, list).await;
        let distinct: BTreeSet<_> = rows.iter().map(|row| row.mapping).collect();
        assert_eq!((rows.len(), distinct.len()), (7, 7));
    }
}

#[tokio::test]
async fn the_next_page_starts_behind_the_last_row_seen() {
    let (directory, owner) = a_directory().await;
    let list = directory.create_credential_list(owner, "phones", None).await.unwrap().sid;
    let make = async |name: &str| {
        let name = name.parse().unwrap();
        directory.create_credential(owner, list, name, secret(), false, None).await.unwrap()
    };
    let names =
        |rows: &[Credential]| rows.iter().map(|row| row.username.to_string()).collect::<Vec<_>>();
    let mut users = Vec::new();
    for n in 0..10 {
        users.push(make(&format!("u{n}")).await);
    }
    let first = directory.credentials(owner, list, Page::first(4)).await.unwrap();
    assert_eq!(names(&first.rows), ["u0", "u1", "u2", "u3"]);
    let key = Key::Credential(users[3].sid);
    assert_eq!(first.next, Some(Cursor { since: 0, key }));

    // delete the cursor's row, one before and one behind it, and add another
    for n in [0, 3, 5] {
        directory.delete_credential(owner, list, users[n].sid).await.unwrap();
    }
    make("new").await;
    let page = Page { after: first.next, size: 4 };
    let second = directory.credentials(owner, list, page).await.unwrap();
    assert_eq!(names(&second.rows), ["u4", "u6", "u7", "u8"]);
    let page = Page { after: second.next, size: 4 };
    let third = directory.credentials(owner, list, page).await.unwrap();
    assert_eq!((names(&third.rows), third.next), (vec!["u9".to_owned(), "new".to_owned()], None));

    // a cursor from another list or of another kind is valid and reveals no other rows
    let other = directory.create_account("other").await.unwrap().account.sid;
    let far = directory.create_credential_list(other, "far", None).await.unwrap().sid;
    for key in [Key::CredentialList(far), Key::Account(other), Key::FIRST] {
        let page = Page { after: Some(Cursor { since: 0, key }), size: 100 };
        let rows = directory.credentials(owner, list, page).await.unwrap().rows;
        assert_eq!(rows.len(), 8);
        assert!(rows.iter().all(|row| row.list == list));
        let foreign = directory.credentials(owner, far, page).await;
        assert_eq!(foreign, Err(DirectoryError::NotFound(Kind::CredentialList)));
    }
}

/// While other tasks add and delete rows, a reader sees each remaining row exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_neither_hide_nor_repeat_remaining_rows() {
    let settings = settings().with_limits(Limits::default().with_credentials(10_000));
    let site = Arc::new(Site::on(Probe::yielding(MemoryStore::new()), settings).await);
    let owner = site.directory.create_account("test").await.unwrap().account.sid;
    let list = site.directory.create_credential_list(owner, "phones", None).await.unwrap().sid;
    let mut steady = BTreeSet::new();
    let mut passing = Vec::new();
    for n in 0..60 {
        let name = format!("u{n}").parse().unwrap();
        let made = site.directory.create_credential(owner, list, name, secret(), false, None).await;
        let sid = made.unwrap().sid;
        if n % 2 == 0 {
            steady.insert(sid);
        } else {
            passing.push(sid);
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
        async move {
            for (n, sid) in passing.into_iter().enumerate() {
                site.directory.delete_credential(owner, list, sid).await.unwrap();
                let name = format!("new{n}").parse().unwrap();
                let made = site
                    .directory
                    .create_credential(owner, list, name, secret(), false, None)
                    .await;
                made.unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        }
    });
    let mut listings = 0;
    while !stop.load(Ordering::Relaxed) || listings == 0 {
        for size in [1, 3, 7, 50] {
            let mut seen = Vec::new();
            let mut page = Page::first(size);
            loop {
                let listing = site.directory.credentials(owner, list, page).await.unwrap();
                seen.extend(listing.rows.iter().map(|row| row.sid));
                page.after = listing.next;
                if page.after.is_none() {
                    break;
                }
            }
            assert!(seen.is_sorted_by(|a, b| a < b), "each once, oldest first");
            assert!(steady.iter().all(|sid| seen.contains(sid)));
            listings += 1;
        }
    }
    writer.await.unwrap();
}

/// Adds `rows` users to a list, 10,000 per commit.
async fn fill(store: &MemoryStore, list: CredentialListSid, rows: u32) {
    let like = user("any", "any", PASSWORD);
    for from in (0..rows).step_by(10_000) {
        let mut commit = Commit::new();
        for n in from..from + 10_000 {
            let mut sid = [0; 16];
            sid[..4].copy_from_slice(&n.to_be_bytes());
            let (sid, username) =
                (CredentialSid::from_bytes(sid), format!("u{n}").parse().unwrap());
            commit.put(Credential { sid, list, username, ..like.clone() }.into());
        }
        let head = store.head().await.unwrap();
        let outcome = store.commit(head, commit).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(head.number + 1));
    }
}

#[tokio::test]
async fn reading_a_whole_listing_has_linear_cost() {
    const ROWS: u32 = 100_000;
    let (directory, owner) = a_directory().await;
    let list = directory.create_credential_list(owner, "phones", None).await.unwrap().sid;
    fill(&directory.store().inner, list, ROWS).await;
    for size in [50, 1_000] {
        let pages = u64::from(ROWS) / size;
        directory.store().counts.take();
        let size = usize::try_from(size).unwrap();
        let rows = all(size, async |page| directory.credentials(owner, list, page).await).await;
        assert_eq!(rows.len(), ROWS as usize);
        assert!(rows.is_sorted_by_key(|row| row.sid));
        // per page: its rows, one more to see whether another page follows, and the list itself
        let [reads, read, ..] = directory.store().counts.take();
        assert!(reads <= 2 * pages, "{reads} reads for {pages} pages");
        assert!(read <= u64::from(ROWS) + 2 * pages, "{read} rows read");
    }
    // the cost of adding a row does not depend on the existing rows
    let settings = settings().with_limits(Limits::default().with_credentials(200_000));
    let directory = Directory::new(directory.store().clone(), settings, None);
    let name = "one-more".parse().unwrap();
    directory.create_credential(owner, list, name, secret(), false, None).await.unwrap();
    let [reads, read, ..] = directory.store().counts.take();
    assert!(reads <= 10 && read <= 10, "{reads} reads of {read} rows");
}

#[tokio::test]
async fn a_long_list_is_deleted_with_its_users() {
    let (directory, owner) = a_directory().await;
    let list = directory.create_credential_list(owner, "phones", None).await.unwrap().sid;
    fill(&directory.store().inner, list, 10_000).await;
    directory.delete_credential_list(owner, list).await.unwrap();
    let left = directory.store().load().await.unwrap().records;
    assert!(matches!(left[..], [sip_authz::model::Record::Account(_)]), "{} are left", left.len());
}
