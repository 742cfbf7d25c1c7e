//! Imports of documents of any size, read and applied while they arrive.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt as _;

use super::aside::Sender;
use super::entry::Array;
use super::reader::{DocumentReader, ReadEntry, ReadError};
use super::token::{Prefix, Token};
use super::{ImportAnswer, ImportLine, ImportProgress};
use crate::error::{ApiError, BAD_PARAMETER};
use sip_authz_directory::{Directory, DirectoryError, Incoming, MergeError, Merged, Touched};
use sip_authz_store::Store;

/// The most entries of a document that is one commit. etcd takes such a commit in a few seconds, and other
/// changes wait for it.
pub(super) const MAX_ATOMIC: usize = 10_000;
/// The most bytes of the entries of a document that is one commit. They are held until its end.
pub(super) const MAX_ATOMIC_BYTES: usize = 16 << 20;
/// The most bytes that are read at once.
const PIECE: usize = 64 << 10;
/// The number of entries of the first part of a longer document.
const FIRST_PART: usize = 64;
/// The number of entries of each further part. Fewer entries are hardly faster: the sync of the disk takes most
/// of the time then.
const PARTS: RangeInclusive<usize> = 64..=2_048;
/// After a part that took less time, the next one has twice as many entries.
const SHORT: Duration = Duration::from_millis(30);
/// After a part that took more time, the next one has half as many entries: other changes wait for it.
const LONG: Duration = Duration::from_millis(60);
/// The interval between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);
/// The most warnings of a document that is applied in parts.
const MAX_WARNINGS: usize = 1_000;

/// Why an import ended.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ApiError,
    /// The entries that are applied; none if nothing has changed.
    pub(super) applied: Option<ImportProgress>,
}

/// The options of an import.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ImportOptions {
    pub(super) dry_run: bool,
    /// The entries that an earlier request has applied.
    pub(super) resume: Option<Token>,
}

/// An entry that is read and not yet applied.
struct Waiting {
    array: Array,
    hash: [u8; 32],
    record: Incoming,
}

/// An import that runs.
pub(super) struct Import<'i, S: Store> {
    directory: &'i Directory<S>,
    options: ImportOptions,
    /// Takes the progress.
    reports: Option<&'i Sender>,
    next_report: Instant,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Whether the document is applied in parts.
    in_parts: bool,
    /// The number of entries of the next part.
    part: usize,
    /// The entries that are applied.
    applied: Prefix,
    merged: Merged,
    touched: Touched,
}

impl<'i, S: Store> Import<'i, S> {
    pub(super) fn new(
        directory: &'i Directory<S>,
        options: ImportOptions,
        reports: Option<&'i Sender>,
    ) -> Self {
        Self {
            directory,
            options,
            reports,
            next_report: Instant::now() + REPORT,
            waiting: Vec::new(),
            waiting_bytes: 0,
            in_parts: options.resume.is_some(),
            part: FIRST_PART,
            applied: Prefix::default(),
            merged: Merged::default(),
            touched: Touched::default(),
        }
    }

    /// Reads the document and applies it.
    pub(super) async fn run(mut self, body: Body) -> Result<ImportAnswer, Failed> {
        match self.read(body).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let has_applied = self.in_parts && self.applied.count > 0;
                Err(Failed { error, applied: has_applied.then(|| self.progress()) })
            }
        }
    }

    async fn read(&mut self, mut body: Body) -> Result<ImportAnswer, ApiError> {
        let mut reader = DocumentReader::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| bad("the request body ended early"))?;
            let Ok(bytes) = frame.into_data() else { continue };
            for piece in bytes.chunks(PIECE) {
                reader.push(piece);
                while let Some(entry) = reader.next_entry().map_err(invalid)? {
                    self.take(entry, reader.has_format()).await?;
                }
            }
        }
        reader.finish().map_err(invalid)?;
        self.finish().await
    }

    /// Takes the next entry.
    async fn take(&mut self, entry: ReadEntry, has_format: bool) -> Result<(), ApiError> {
        let (array, hash, len) = (entry.entry.array(), entry.hash, entry.len);
        if let Some(token) = self.options.resume
            && self.applied.count < token.count
        {
            self.applied.add(hash);
            if self.applied.count == token.count && self.applied.token() != token {
                self.applied = Prefix::default();
                return Err(other_document(token));
            }
            return Ok(());
        }
        let record = entry.into_incoming().map_err(|error| bad(error.to_string()))?;
        self.waiting.push(Waiting { array, hash, record });
        self.waiting_bytes += len;
        if self.waiting.len() > MAX_ATOMIC || self.waiting_bytes > MAX_ATOMIC_BYTES {
            self.in_parts = true;
        }
        if !self.in_parts {
            return Ok(());
        }
        if self.options.dry_run {
            let message = format!(
                "a dry run takes at most {MAX_ATOMIC} entries and {MAX_ATOMIC_BYTES} bytes"
            );
            return Err(bad(message));
        }
        if !has_format {
            return Err(bad("expected `format` first, because the document is applied in parts"));
        }
        while self.waiting.len() >= self.part {
            self.apply(self.part).await?;
        }
        Ok(())
    }

    /// Ends the document.
    async fn finish(&mut self) -> Result<ImportAnswer, ApiError> {
        let dry_run = self.options.dry_run;
        if !self.in_parts {
            let mut all = std::mem::take(&mut self.waiting);
            // the arrays can be in any order
            all.sort_by_key(|entry| entry.array);
            let records = all.into_iter().map(|entry| entry.record).collect();
            let merged = self.directory.merge(records, dry_run).await.map_err(refused)?;
            return Ok(ImportAnswer::of(&merged, dry_run));
        }
        if let Some(token) = self.options.resume
            && self.applied.count < token.count
        {
            self.applied = Prefix::default();
            return Err(other_document(token));
        }
        while !self.waiting.is_empty() {
            self.apply(self.part.min(self.waiting.len())).await?;
        }
        self.merged.warnings = self.directory.warnings(&self.touched).await?;
        let mut answer = ImportAnswer::of(&self.merged, dry_run);
        let more = answer.warnings.len().saturating_sub(MAX_WARNINGS);
        answer.warnings.truncate(MAX_WARNINGS);
        if more > 0 {
            answer.warnings.push(format!("and {more} more"));
        }
        if self.touched.is_full() {
            let missing = "too many domains, trunks and lists changed to look for warnings on all";
            answer.warnings.push(missing.to_owned());
        }
        Ok(answer)
    }

    /// Applies the next `count` entries in one commit.
    async fn apply(&mut self, count: usize) -> Result<(), ApiError> {
        let begin = Instant::now();
        let mut applied = self.applied;
        let part = self.waiting.drain(..count).map(|entry| {
            applied.add(entry.hash);
            entry.record
        });
        let merged = self.directory.merge_part(part.collect(), &mut self.touched).await;
        let merged = merged.map_err(|error| match error {
            MergeError::Refused { .. } => bad(format!(
                "{error}; in a document of more than {MAX_ATOMIC} entries, each record must come after \
                 those that it refers to"
            )),
            other => refused(other),
        })?;
        self.applied = applied;
        self.merged.new += merged.new;
        self.merged.changed += merged.changed;
        self.merged.unchanged += merged.unchanged;
        let took = begin.elapsed();
        if took < SHORT && count == self.part {
            self.part = (self.part * 2).min(*PARTS.end());
        } else if took > LONG {
            self.part = (self.part / 2).max(*PARTS.start());
        }
        self.report().await;
        Ok(())
    }

    async fn report(&mut self) {
        let now = Instant::now();
        if let Some(reports) = self.reports
            && now >= self.next_report
        {
            self.next_report = now + REPORT;
            // a client that has gone ends the import elsewhere
            let _ = reports.send(ImportLine::Progress(self.progress()).encode()).await;
        }
    }

    fn progress(&self) -> ImportProgress {
        ImportProgress {
            applied: self.applied.count,
            new: self.merged.new,
            changed: self.merged.changed,
            unchanged: self.merged.unchanged,
            resume: self.applied.token().to_string(),
        }
    }
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(BAD_PARAMETER, message)
}

fn invalid(error: ReadError) -> ApiError {
    bad(format!("invalid document: {error}"))
}

fn other_document(token: Token) -> ApiError {
    bad(format!("the document does not begin with the {} entries of the token", token.count))
}

fn refused(error: MergeError) -> ApiError {
    match error {
        MergeError::Directory(error) => DirectoryError::into(error),
        refused => bad(refused.to_string()),
    }
}
