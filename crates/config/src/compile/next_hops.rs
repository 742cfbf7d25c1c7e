//! The answers to accepted calls, and the next hops that they can name.

use sip_authz::model::{NextHop, NextHopRefusal, OnAccept};

use super::Compiler;
use crate::read::{Elements, Given};

impl Compiler<'_> {
    /// Adds the next hops that the file allows.
    pub(super) fn allow(&mut self, hops: Elements<NextHop>) {
        let misplaced = "unknown key `next_hop_allow`";
        let is_misplaced = self.problems.0.iter().any(|found| found.message.starts_with(misplaced));
        match &mut self.next_hops {
            Some(next_hops) if !hops.is_incomplete && !is_misplaced => next_hops.extend(hops.read),
            next_hops => *next_hops = None,
        }
    }

    /// The answer of a domain or trunk. Reports a target or hop that is not allowed.
    pub(super) fn on_accept(&mut self, given: Given<OnAccept>) -> Option<OnAccept> {
        let Given::Value(given) = given else { return None };
        let (span, on_accept) = (given.span(), given.into_inner());
        if let Some(Err(refusal)) = self.next_hops.as_ref().map(|hops| hops.check(&on_accept)) {
            let hint = match refusal {
                NextHopRefusal::NotAllowed(_) => {
                    "; allow it in `next_hop_allow` or in the program that reads the file \
                     (sip-authz: --next-hop-allow)"
                }
                _ => "",
            };
            self.problems.push(span, format_args!("{refusal}{hint}"));
        }
        Some(on_accept)
    }
}
