//! Many INVITEs at once: what takes waiting for memory or hashing is done for all of them side by
//! side, before they are decided one after the other.
//!
//! Only what has no effect and depends on nothing that a decision changes is done ahead: reading
//! headers, looking up, hashing. So each decision is the one that it would be alone.

use arrayvec::ArrayVec;

use super::decide::{Asked, Deciding, reject};
use super::explain::NoTrace;
use super::judge::{Ahead, Checked};
use crate::decision::Decision;
use crate::digest::{MOST, Parsed, Question, parse, right_responses};
use crate::invite::Invite;

impl Deciding<'_> {
    pub(super) fn decide_batch(&self, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
        out.reserve(invites.len());
        for invites in invites.chunks(MOST) {
            self.decide_chunk(invites, out);
        }
    }

    fn decide_chunk(&self, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
        if let [invite] = invites {
            out.push(self.decide(invite, &mut NoTrace));
            return;
        }
        let asked: ArrayVec<_, MOST> = invites.iter().map(Asked::of).collect();
        let entries: ArrayVec<_, MOST> = asked
            .iter()
            .map(|asked| self.snapshot.named_entry(asked.as_ref().ok()?.host()))
            .collect();
        let gates: ArrayVec<_, MOST> = asked
            .iter()
            .zip(&entries)
            .zip(invites)
            .map(|((asked, entry), invite)| match asked {
                Ok(asked) => self.gate(asked, *entry, invite, &mut NoTrace).map(|gate| (asked, gate)),
                Err(reason) => Err(reject(None, *reason)),
            })
            .collect();
        let parsed: ArrayVec<Option<Parsed<'_>>, MOST> = gates
            .iter()
            .zip(invites)
            .map(|(gate, invite)| match (gate, invite.credentials()) {
                (Ok((_, gate)), [(_, value)]) => Some(parse(value, gate.realm.as_str())),
                _ => None,
            })
            .collect();

        // whoever has to be compared with, and for which INVITE
        let mut claims = ArrayVec::<_, MOST>::new();
        for (number, (parsed, gate)) in parsed.iter().zip(&gates).enumerate() {
            let (Some(Parsed::Credentials(credentials)), Ok((asked, gate))) = (parsed, gate) else {
                continue;
            };
            let Some(invite) = invites.get(number) else { continue };
            let judge = self.judge(asked, gate, invite);
            if let Some(first) = gate.entry.credential_lists.first()
                && Question::is_usual(credentials)
                && judge.is_offered(credentials)
            {
                claims.push((number, credentials, judge.claim(first, credentials)));
            }
        }
        let questions: ArrayVec<_, MOST> = claims
            .iter()
            .map(|(_, credentials, claim)| Question { credentials, ha1: claim.ha1() })
            .collect();
        let mut checked: ArrayVec<Option<Checked<'_>>, MOST> =
            invites.iter().map(|_| None).collect();
        for ((number, _, claim), right) in claims.iter().zip(right_responses(&questions)) {
            if let (Some(checked), Some(right)) = (checked.get_mut(*number), right) {
                *checked = Some(claim.checked(right));
            }
        }

        let ahead = parsed.iter().zip(checked);
        for ((invite, gate), (parsed, checked)) in invites.iter().zip(gates).zip(ahead) {
            out.push(match gate {
                Ok((asked, gate)) => {
                    let ahead = parsed.as_ref().map(|parsed| Ahead { parsed, checked });
                    self.pass(asked, &gate, invite, ahead, &mut NoTrace)
                }
                Err(decision) => decision,
            });
        }
    }
}
