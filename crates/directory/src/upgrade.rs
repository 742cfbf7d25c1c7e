//! The end of an upgrade: the format of the store rises once all edges support it.

use super::transact::{ATTEMPTS, jitter};
use super::{Directory, DirectoryError};
use sip_authz_store::{CommitOutcome, Edge, Format, Head, Store};

/// The format of the store, and what can raise it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Formats {
    /// The format of the store. An empty store begins with the newest one that all edges support.
    pub store: Format,
    /// The newest format that this process supports.
    pub newest: Format,
    /// The edges that report to the store, by name. None if the store serves one process.
    pub edges: Vec<EdgeFormat>,
}

/// The newest format of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct EdgeFormat {
    /// The name of the edge.
    pub name: String,
    /// The newest format that it supports.
    pub newest: Format,
}

impl Formats {
    /// The names of the edges that do not support the newest format of this process.
    #[must_use]
    pub fn behind(&self) -> Vec<&str> {
        let behind = self.edges.iter().filter(|edge| edge.newest < self.newest);
        behind.map(|edge| edge.name.as_str()).collect()
    }
}

impl<S: Store> Directory<S> {
    /// The format of the store, and those that the edges support.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn formats(&self) -> Result<Formats, DirectoryError> {
        let head = self.records().await?.head();
        self.formats_at(head).await
    }

    async fn formats_at(&self, head: Head) -> Result<Formats, DirectoryError> {
        let reports = self.store.edges().await?;
        let store = if head.number == 0 { Edge::common_format(&reports) } else { head.format };
        let edges = reports.into_iter();
        let edges = edges.map(|edge| EdgeFormat { name: edge.name, newest: edge.newest_format });
        let mut edges: Vec<_> = edges.collect();
        edges.sort_unstable();
        Ok(Formats { store, newest: Format::NEWEST, edges })
    }

    /// Raises the format of the store to the newest one that this process supports. From then on, processes that
    /// do not support it refuse to start and write nothing. If the store has the format already, nothing changes.
    ///
    /// An edge whose report is missing is not seen. It decides by its last records until its lease ends.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::EdgesBehind`] if an edge does not support the format, [`DirectoryError::Unlisted`] after a
    /// restore, [`DirectoryError::Busy`] if other processes commit all the time, [`DirectoryError::Store`].
    pub async fn finish_upgrade(&self) -> Result<Formats, DirectoryError> {
        // newer commands of this process wait
        let ticket = self.groups.first_ticket();
        for attempt in 1..=ATTEMPTS {
            let head = self.records().await?.head();
            let formats = self.formats_at(head).await?;
            if formats.store >= formats.newest {
                return Ok(formats);
            }
            let edges = formats.behind();
            if !edges.is_empty() {
                let edges = edges.into_iter().map(str::to_owned).collect();
                return Err(DirectoryError::EdgesBehind { format: formats.newest, edges });
            }
            let unlisted = self.store.unlisted_for().await?;
            if !unlisted.is_zero() {
                return Err(DirectoryError::Unlisted {
                    seconds: unlisted.as_secs() + u64::from(unlisted.subsec_nanos() > 0),
                });
            }
            let raised = self.groups.alone(&ticket, (&self.store, &self.mirror), async || {
                self.store.raise_format(head, formats.newest).await
            });
            match raised.await? {
                CommitOutcome::Committed(number) => {
                    (self.on_commit)(number);
                    self.wait_until_applied(Head { number, ..head }).await?;
                    return Ok(Formats { store: formats.newest, ..formats });
                }
                CommitOutcome::Conflict => self.store.pause(jitter(attempt)).await,
            }
        }
        Err(DirectoryError::Busy)
    }
}
