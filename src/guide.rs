//! The guide: how to embed the library and how to run it, what it defends and what it does not.
//!
//! - [`embedding`]: from the socket to the answer
//! - [`policies`]: what each choice costs
//! - [`rejections`]: how to read a refusal
//! - [`questions`]: what happens when a store is away, a clock jumps, a list is emptied, two lists
//!   disagree
//! - [`operating`]: what to watch, alerts worth having, the decision log
//! - [`threats`]: what is defended and what is not
//! - [`tests`]: how all this is tested

#[doc = include_str!("../docs/guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("../docs/guide/policies.md")]
pub mod policies {}

#[doc = include_str!("../docs/guide/rejections.md")]
pub mod rejections {}

#[doc = include_str!("../docs/guide/questions.md")]
pub mod questions {}

#[doc = include_str!("../docs/guide/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/guide/threats.md")]
pub mod threats {}

#[doc = include_str!("../docs/guide/tests.md")]
pub mod tests {}
