//! The cause of a decision on several credentials, by rules that are written out plainly.

use sip_authz::Cause;

/// The state of a user in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Absent,
    Disabled,
    /// Enabled, with a hash for SHA-256 only.
    OnlySha256,
    Enabled,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Absent, Self::Disabled, Self::OnlySha256, Self::Enabled];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    WellFormed,
    Basic,
    OtherRealm,
    /// The realm, then text outside the grammar.
    Unreadable,
    /// The realm and nothing else.
    Incomplete,
    /// A nonce count of zero.
    Malformed,
    WithoutQop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nonce {
    /// Not of the form of nonces.
    Malformed,
    OtherProcess,
    OtherBinding,
    Expired,
    /// Live and issued before [`Self::Live`]; its count was used.
    Used,
    Live,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
    NotOffered,
}

/// One credentials header.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub form: Form,
    pub nonce: Nonce,
    pub algorithm: Algorithm,
    /// Whether the qop was offered.
    pub qop: bool,
    /// Whether the user name is hashed.
    pub userhash: bool,
    /// The user, by its states in the lists.
    pub user: [State; 2],
    /// The list whose password is used, if it is not wrong for both.
    pub password: Option<usize>,
}

/// The outcome, with the list of the credential that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted by the header and list with these places.
    Accept(usize, usize),
    /// A challenge without `stale`; also wrong credentials, which a policy may reject.
    Asked(Cause, Option<(usize, usize)>),
    Stale(Cause, Option<(usize, usize)>),
    Reject(Cause),
}

/// Decides a request with these headers. The domain has two lists; `order` has their places in the
/// order of their SIDs. It offers MD5, SHA-256 and `auth`, and hashed names if `userhash`.
pub fn decide(plans: &[Plan], order: [usize; 2], userhash: bool) -> Outcome {
    let mut ignored = vec![Cause::NoCredentials];
    let mut dead = Vec::new();
    let mut judged = Vec::<usize>::new();
    for (place, plan) in plans.iter().enumerate() {
        match plan.form {
            Form::Basic => ignored.push(Cause::NotDigest),
            Form::OtherRealm => ignored.push(Cause::OtherRealm),
            Form::Unreadable => ignored.push(Cause::UnreadableCredentials),
            Form::Incomplete => ignored.push(Cause::IncompleteCredentials),
            _ if plan.nonce == Nonce::Malformed => dead.push(Cause::NonceMalformed),
            _ if plan.nonce == Nonce::OtherProcess => dead.push(Cause::NonceOfOtherProcess),
            _ if plan.nonce == Nonce::OtherBinding => dead.push(Cause::NonceOfOtherBinding),
            _ if plan.nonce == Nonce::Expired => dead.push(Cause::NonceExpired),
            Form::Malformed => return Outcome::Reject(Cause::MalformedCredentials),
            Form::WithoutQop => return Outcome::Reject(Cause::QopMissing),
            Form::WellFormed => {
                // of one algorithm the newest nonce counts, of one nonce the last header
                let same = |other: &&mut usize| plans[**other].algorithm == plan.algorithm;
                match judged.iter_mut().find(same) {
                    None => judged.push(place),
                    Some(other)
                        if plans[*other].nonce == Nonce::Live && plan.nonce == Nonce::Used => {}
                    Some(other) => *other = place,
                }
            }
        }
    }
    let (mut wrong, mut used) = (Vec::new(), None);
    for place in judged {
        let plan = &plans[place];
        match verify(plan, order, userhash) {
            Ok(list) if plan.nonce == Nonce::Live => return Outcome::Accept(place, list),
            Ok(list) => used = used.or(Some((place, list))),
            Err((cause, list)) => wrong.push((cause, list.map(|list| (place, list)))),
        }
    }
    if used.is_some() {
        return Outcome::Stale(Cause::NonceCountUsed, used);
    }
    let nonces = [
        Cause::NonceExpired,
        Cause::NonceOfOtherBinding,
        Cause::NonceOfOtherProcess,
        Cause::NonceMalformed,
    ];
    if let Some(cause) = nonces.into_iter().find(|cause| dead.contains(cause)) {
        return Outcome::Stale(cause, None);
    }
    // the first header with the cause that is nearest to a right one
    let nearest = [
        Cause::WrongPassword,
        Cause::HashMissing,
        Cause::UserDisabled,
        Cause::UserUnknown,
        Cause::UserhashNotOffered,
        Cause::QopNotOffered,
        Cause::AlgorithmNotOffered,
    ];
    let found = nearest.into_iter().find_map(|it| wrong.iter().find(|(cause, _)| *cause == it));
    if let Some((cause, place)) = found {
        return Outcome::Asked(*cause, *place);
    }
    let ours = [
        Cause::IncompleteCredentials,
        Cause::UnreadableCredentials,
        Cause::OtherRealm,
        Cause::NotDigest,
        Cause::NoCredentials,
    ];
    let cause = ours.into_iter().find(|cause| ignored.contains(cause));
    Outcome::Asked(cause.unwrap_or(Cause::NoCredentials), None)
}

/// The list whose user has sent a right response, or the cause and the list of the user that is named.
fn verify(plan: &Plan, order: [usize; 2], userhash: bool) -> Result<usize, (Cause, Option<usize>)> {
    if plan.algorithm == Algorithm::NotOffered {
        return Err((Cause::AlgorithmNotOffered, None));
    }
    if !plan.qop {
        return Err((Cause::QopNotOffered, None));
    }
    if plan.userhash && !userhash {
        return Err((Cause::UserhashNotOffered, None));
    }
    let can = |list: usize| match plan.user[list] {
        State::Absent | State::Disabled => false,
        State::OnlySha256 => plan.algorithm == Algorithm::Sha256,
        State::Enabled => true,
    };
    if let Some(list) = order.into_iter().find(|list| can(*list) && plan.password == Some(*list)) {
        return Ok(list);
    }
    let first = |is: &dyn Fn(usize) -> bool| order.into_iter().find(|list| is(*list));
    let named = [
        (Cause::WrongPassword, first(&can)),
        (Cause::HashMissing, first(&|list| plan.user[list] == State::OnlySha256 && !can(list))),
        (Cause::UserDisabled, first(&|list| plan.user[list] == State::Disabled)),
    ];
    let found = named.into_iter().find(|(_, list)| list.is_some());
    Err(found.unwrap_or((Cause::UserUnknown, None)))
}
