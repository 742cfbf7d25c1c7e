//! The responses of many headers, hashed side by side.

use arrayvec::ArrayVec;

use sip_authz_arch::Message;

use super::bytes::Bytes;
use super::credentials::Credentials;
use super::function::{HashImpl, HashVisitor};
use super::hash::same_hex;
use super::response::{a2, unfinished};
use super::{HashFunction, Qop};

/// How many are hashed at once.
pub(crate) const MOST: usize = 32;

/// Texts of more than four blocks are rare and are left to be hashed one at a time.
type Text = Message<4>;

/// Whether a header's response is the one that an H(A1) makes.
pub(crate) struct Question<'q, 'a> {
    pub(crate) credentials: &'q Credentials<'a>,
    pub(crate) ha1: &'q [u8],
}

impl Question<'_, '_> {
    /// Whether responses of this kind are hashed side by side: those that nearly all clients send.
    pub(crate) fn is_usual(credentials: &Credentials<'_>) -> bool {
        !credentials.algorithm.is_session()
            && credentials.algorithm.hash_function().has_lanes()
            && credentials.qop.is_some_and(|fields| fields.qop == Qop::Auth)
    }
}

/// The answers, in the order of the questions; none for what has to be asked by itself.
pub(crate) fn right_responses(questions: &[Question<'_, '_>]) -> ArrayVec<Option<bool>, MOST> {
    let mut answers = ArrayVec::new();
    answers.extend(questions.iter().take(MOST).map(|_| None));
    for function in HashFunction::ALL {
        function.with(OfFunction { questions, answers: &mut answers });
    }
    answers
}

/// Answers the questions of one function.
struct OfFunction<'b, 'q, 'a> {
    questions: &'b [Question<'q, 'a>],
    answers: &'b mut [Option<bool>],
}

impl HashVisitor for OfFunction<'_, '_, '_> {
    type Out = ();

    fn visit<F: HashImpl>(self) {
        if F::HAS_LANES {
            of_function::<F>(self.questions, self.answers);
        }
    }
}

fn of_function<F: HashImpl>(questions: &[Question<'_, '_>], answers: &mut [Option<bool>]) {
    let mut chosen = ArrayVec::<_, MOST>::new();
    let mut firsts = ArrayVec::<Text, MOST>::new();
    let mut seconds = ArrayVec::<Text, MOST>::new();
    for (question, answer) in questions.iter().zip(answers) {
        let Question { credentials, ha1 } = question;
        if credentials.algorithm.hash_function() != F::FUNCTION || !Question::is_usual(credentials)
        {
            continue;
        }
        let Some(ha1) = F::Output::from_slice(ha1) else { continue };
        // written where they stand, as moving them costs more than writing them
        let at = chosen.len();
        seconds.iter_mut().skip(at).for_each(Message::wipe);
        firsts.truncate(at);
        seconds.truncate(at);
        firsts.push(Message::EMPTY);
        seconds.push(Message::EMPTY);
        let (Some(first), Some(second)) = (firsts.last_mut(), seconds.last_mut()) else { continue };
        let mut fits = true;
        a2(credentials, b"INVITE", b"", |part| fits &= first.push(part));
        let mut digits = F::hex(ha1);
        unfinished(credentials, digits.as_bytes(), |part| fits &= second.push(part));
        zeroize::Zeroize::zeroize(digits.as_bytes_mut());
        if fits && second.spare() >= F::Hex::LEN {
            chosen.push((answer, credentials.response));
        }
    }
    let count = chosen.len();
    let mut hashes = [F::Output::ZERO; MOST];
    let (Some(hashes), Some(firsts), Some(texts)) =
        (hashes.get_mut(..count), firsts.get_mut(..count), seconds.get_mut(..count))
    else {
        return;
    };
    // leaves the messages empty, with zeros where HA1 was
    F::hash_messages(firsts, hashes);
    for (text, ha2) in texts.iter_mut().zip(&*hashes) {
        // there is room for it
        debug_assert!(text.spare() >= F::Hex::LEN);
        let _ = text.push(F::hex(ha2).as_bytes());
    }
    F::hash_messages(texts, hashes);
    for ((answer, response), hash) in chosen.into_iter().zip(&*hashes) {
        *answer = Some(same_hex(&F::hex(hash), response));
    }
    seconds.iter_mut().skip(count).for_each(Message::wipe);
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::super::credentials::{Parsed, parse};
    use super::super::response::ExpectedResponse;
    use super::*;

    /// A header that is right for an INVITE without a body, and the H(A1) that it is made of.
    fn right(algorithm: Algorithm, qop: &str, number: usize) -> (String, Vec<u8>) {
        let hash = |text: String| match algorithm.hash_function() {
            HashFunction::Md5 => sip_authz_arch::md5(text.as_bytes()).to_vec(),
            _ => sip_authz_arch::sha256(text.as_bytes()).to_vec(),
        };
        let hex = |text: String| hex::encode(hash(text));
        let uri = format!("sip:{}", "1".repeat(number));
        let body = if qop == "auth" { String::new() } else { ":".to_owned() + &hex(String::new()) };
        let ha1 = hash(format!("the user of {number}"));
        let mut first = hex::encode(&ha1);
        if algorithm.is_session() {
            first = hex(format!("{first}:n:c"));
        }
        let ha2 = hex(format!("INVITE:{uri}{body}"));
        let response = hex(format!("{first}:n:00000001:c:{qop}:{ha2}"));
        let name = algorithm.name();
        let header = format!(
            "Digest username=a,realm=r,nonce=n,uri=\"{uri}\",response=\"{response}\",\
             algorithm={name},qop={qop},nc=00000001,cnonce=c"
        );
        (header, ha1)
    }

    #[test]
    fn usual_headers_that_fit_are_answered_and_no_others() {
        let mut headers = Vec::new();
        for number in [3, 40, 400] {
            for algorithm in
                [Algorithm::Md5, Algorithm::Sha256, Algorithm::Md5Sess, Algorithm::Sha256Sess]
            {
                for qop in ["auth", "auth-int"] {
                    let usual = !algorithm.is_session() && qop == "auth" && number < 400;
                    headers.push((right(algorithm, qop, number), usual));
                }
            }
        }
        let parsed: Vec<_> = headers
            .iter()
            .map(|((header, _), _)| match parse(header.as_bytes(), "r") {
                Parsed::Credentials(credentials) => credentials,
                _ => panic!("{header}"),
            })
            .collect();
        for is_right in [true, false] {
            let mut hashes: Vec<_> = headers.iter().map(|((_, ha1), _)| ha1.clone()).collect();
            hashes.iter_mut().for_each(|ha1| ha1[0] ^= u8::from(!is_right));
            let questions: Vec<_> = parsed
                .iter()
                .zip(&hashes)
                .map(|(credentials, ha1)| Question { credentials, ha1 })
                .collect();
            let expected = headers.iter().map(|(_, usual)| usual.then_some(is_right));
            assert!(right_responses(&questions).into_iter().eq(expected));
            // those that are left are asked one at a time
            for (credentials, ha1) in parsed.iter().zip(&hashes) {
                assert_eq!(ExpectedResponse::new(credentials, b"").equals(ha1), is_right);
            }
        }
    }
}
