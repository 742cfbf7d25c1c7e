//! The responses of many headers, hashed side by side.

use arrayvec::ArrayVec;

use super::credentials::Credentials;
use super::hash::{hex16, hex32, md5_many, sha256_many};
use super::response::{Text, a2, equal, finish, unfinished};
use super::{Algorithm, Qop};

/// How many are hashed at once.
pub(crate) const MOST: usize = 32;

/// Longer texts than these are rare and are left to be hashed one at a time.
const A2: usize = 192;
const RESPONSE: usize = 256;

/// Whether a header's response is the one that an H(A1) makes.
pub(crate) struct Question<'q, 'a> {
    pub(crate) credentials: &'q Credentials<'a>,
    pub(crate) ha1: &'q [u8],
}

impl Question<'_, '_> {
    /// Whether responses of this kind are hashed side by side: those that nearly all clients send.
    pub(crate) fn is_usual(credentials: &Credentials<'_>) -> bool {
        matches!(credentials.algorithm, Algorithm::Md5 | Algorithm::Sha256)
            && credentials.qop.is_some_and(|fields| fields.qop == Qop::Auth)
    }
}

/// The answers, in the order of the questions; none for what has to be asked by itself.
pub(crate) fn right_responses(questions: &[Question<'_, '_>]) -> ArrayVec<Option<bool>, MOST> {
    let mut answers = ArrayVec::new();
    answers.extend(questions.iter().take(MOST).map(|_| None));
    of_function(Algorithm::Md5, questions, &mut answers, md5_many, hex16);
    of_function(Algorithm::Sha256, questions, &mut answers, sha256_many, hex32);
    answers
}

fn of_function<const N: usize, const H: usize>(
    algorithm: Algorithm,
    questions: &[Question<'_, '_>],
    answers: &mut [Option<bool>],
    hash_many: impl Fn(&[&[u8]], &mut [[u8; N]]),
    hex: impl Fn(&[u8; N]) -> [u8; H],
) {
    let mut chosen = ArrayVec::<_, MOST>::new();
    let mut firsts = ArrayVec::<Text<A2>, MOST>::new();
    let mut seconds = ArrayVec::<Text<RESPONSE>, MOST>::new();
    for (question, answer) in questions.iter().zip(answers) {
        let Question { credentials, ha1 } = question;
        if credentials.algorithm != algorithm || !Question::is_usual(credentials) {
            continue;
        }
        let Ok(ha1) = <&[u8; N]>::try_from(*ha1) else { continue };
        // filled where they stand, as moving them costs more than filling them
        let at = chosen.len();
        firsts.truncate(at);
        seconds.truncate(at);
        firsts.push(Text::new());
        seconds.push(Text::new());
        let (Some(first), Some(second)) = (firsts.last_mut(), seconds.last_mut()) else { continue };
        a2(first, credentials, b"INVITE", b"");
        let mut digits = hex(ha1);
        unfinished(second, credentials, &digits);
        zeroize::Zeroize::zeroize(digits.as_mut_slice());
        if first.whole().is_none() || second.spare() < H {
            continue;
        }
        chosen.push((answer, credentials.response));
    }
    firsts.truncate(chosen.len());
    seconds.truncate(chosen.len());
    let mut hashes = [[0; N]; MOST];
    let Some(hashes) = hashes.get_mut(..chosen.len()) else { return };
    hash_many(&wholes(&firsts), hashes);
    for (second, ha2) in seconds.iter_mut().zip(&*hashes) {
        finish(second, &hex(ha2));
    }
    hash_many(&wholes(&seconds), hashes);
    for ((answer, response), hash) in chosen.into_iter().zip(&*hashes) {
        *answer = Some(equal(&hex(hash), response));
    }
}

fn wholes<const N: usize>(texts: &[Text<N>]) -> ArrayVec<&[u8], MOST> {
    texts.iter().map(|text| text.whole().unwrap_or_default()).collect()
}
