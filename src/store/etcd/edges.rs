//! What edges say of themselves: one key for each, rewritten by each report.
//!
//! The engine's own leases take no part. A node that was leader once and does not know yet that it no
//! longer is may renew or end them (3.4.23), and a fence must not rest on that; a report is a write,
//! which a majority of the nodes has agreed to.

use std::time::Duration;

use etcd_client::{GetOptions, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};

use super::layout::State;
use super::{Etcd, StoreError};
use crate::store::Edge;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    applied: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_ms: Option<u64>,
}

impl Etcd {
    pub(super) async fn report(&self, edge: Edge) -> Result<u64, StoreError> {
        // a fraction of a millisecond counts in full, so that nobody waits too short
        let whole = |lease: Duration| u64::try_from(lease.as_micros().div_ceil(1_000));
        let lease_ms = edge.lease.map(|lease| whole(lease).unwrap_or(u64::MAX));
        let written = Written { v: 1, applied: edge.applied, lease_ms };
        let value = serde_json::to_vec(&written).map_err(|error| StoreError(error.to_string()))?;
        let put = TxnOp::put(self.layout.edge(&edge.name), value, None);
        let head = TxnOp::get(self.layout.head(), None);
        // one transaction: the head is the one that the report was written at
        let answer = self.link.write(Txn::new().and_then(vec![put, head])).await?;
        match answer.op_responses().get(1) {
            Some(TxnOpResponse::Get(got)) => match got.kvs().first() {
                Some(value) => Ok(State::decode(value.value(), value.mod_revision())?.head.number),
                None => Ok(0),
            },
            _ => Err(StoreError("etcd did not answer what it was asked".to_owned())),
        }
    }

    pub(super) async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        let prefix = self.layout.all_edges();
        let found = self.link.get(prefix.clone(), GetOptions::new().with_prefix()).await?;
        let edge = |value: &etcd_client::KeyValue| {
            let wrong = |error: &dyn std::fmt::Display| {
                StoreError(format!("the report of an edge cannot be read: {error}"))
            };
            let written: Written =
                serde_json::from_slice(value.value()).map_err(|error| wrong(&error))?;
            if written.v != 1 {
                return Err(wrong(&format_args!("unknown version {}", written.v)));
            }
            let name = value.key().strip_prefix(prefix.as_slice()).unwrap_or_default();
            Ok(Edge {
                name: String::from_utf8_lossy(name).into_owned(),
                applied: written.applied,
                lease: written.lease_ms.map(Duration::from_millis),
            })
        };
        found.kvs().iter().map(edge).collect()
    }

    pub(super) async fn forget(&self, name: &str) -> Result<(), StoreError> {
        let delete = TxnOp::delete(self.layout.edge(name), None);
        self.link.write(Txn::new().and_then(vec![delete])).await?;
        Ok(())
    }
}
