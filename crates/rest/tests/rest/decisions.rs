//! The questions about decisions, over decisions in memory.

mod alerts;
mod explain;
mod fake;
mod limits;
mod list;
mod stream;

use super::*;
use fake::*;
