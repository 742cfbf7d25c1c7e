// A slow and simple parser of the digest credentials header, to compare the fast one with.
//
// It shares no code with the library. It splits the text into pieces, the pieces into list elements and
// the elements into parameters, and only then interprets them. An integration test and a fuzz target
// include it as a module.

/// The result of parsing a header value for a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OracleParsed {
    /// For another realm.
    Ignored,
    /// For this realm, but not in the grammar.
    Unreadable,
    /// For this realm, without nonce or response.
    Incomplete,
    /// For this realm, but malformed: the text of the defect, such as `missing-uri`, and the nonce.
    Malformed(String, Vec<u8>),
    /// For this realm, and well-formed.
    Credentials(OracleCredentials),
}

/// The contents of a well-formed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OracleCredentials {
    /// The user name, or its hash in lower case.
    pub username: String,
    /// Whether `username` is a hash.
    pub is_hash: bool,
    /// As sent.
    pub nonce: Vec<u8>,
    /// As sent.
    pub uri: Vec<u8>,
    /// As sent.
    pub response: Vec<u8>,
    /// The name of the algorithm as in RFC 7616 and RFC 8760.
    pub algorithm: String,
    /// `auth` or `auth-int`, cnonce, nc, and nc as sent.
    pub qop: Option<(String, Vec<u8>, u32, Vec<u8>)>,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Comma,
    Equals,
    Space,
    Word(Vec<u8>),
    Quoted(Vec<u8>),
    /// A byte that starts no other piece. Parsing stops here.
    Bad,
}

struct Parameter {
    name: String,
    value: Vec<u8>,
    quoted: bool,
}

/// Parses `value` for `realm`.
pub fn parse(value: &[u8], realm: &str) -> OracleParsed {
    let mut pieces = pieces(value);

    // Digest LWS digest-cln
    if pieces.first() == Some(&Piece::Space) {
        pieces.remove(0);
    }
    match (pieces.first(), pieces.get(1)) {
        (Some(Piece::Word(scheme)), Some(Piece::Space)) if lower(scheme) == "digest" => {}
        _ => return OracleParsed::Ignored,
    }
    let pieces: Vec<Piece> =
        pieces.into_iter().skip(1).filter(|piece| *piece != Piece::Space).collect();

    // *(parameter COMMA), up to the first element that is not a parameter
    let mut parameters = Vec::new();
    let mut syntax_is_right = true;
    for element in pieces.split(|piece| *piece == Piece::Comma) {
        if element.is_empty() {
            continue;
        }
        if let [Piece::Word(name), Piece::Equals, value, ..] = element {
            match value.clone() {
                Piece::Word(value) => {
                    parameters.push(Parameter { name: lower(name), value, quoted: false });
                }
                Piece::Quoted(value) => {
                    parameters.push(Parameter { name: lower(name), value, quoted: true });
                }
                _ => {}
            }
        }
        if !matches!(element, [Piece::Word(_), Piece::Equals, Piece::Word(_) | Piece::Quoted(_)]) {
            syntax_is_right = false;
            break;
        }
    }

    let is_ours = parameters.iter().any(|parameter| {
        parameter.name == "realm" && unescaped(&parameter.value) == realm.as_bytes()
    });
    if !is_ours {
        return OracleParsed::Ignored;
    }
    if !syntax_is_right {
        return OracleParsed::Unreadable;
    }
    let last = |name: &str| {
        let named = parameters.iter().filter(|parameter| parameter.name == name);
        named.fold(Vec::new(), |_, parameter| parameter.value.clone())
    };
    let nonce = last("nonce");
    if nonce.is_empty() || last("response").is_empty() {
        return OracleParsed::Incomplete;
    }
    if let Some(fault) = first_text_defect(&parameters) {
        return OracleParsed::Malformed(fault, nonce);
    }
    match credentials(&parameters) {
        Ok(credentials) => OracleParsed::Credentials(credentials),
        Err(fault) => OracleParsed::Malformed(fault, nonce),
    }
}

/// Splits the text into pieces.
fn pieces(text: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text.to_vec();
    while !rest.is_empty() {
        let (piece, len) = first_piece(&rest);
        if piece == Piece::Bad {
            pieces.push(piece);
            break;
        }
        // folded white space counts as one space
        if !(piece == Piece::Space && pieces.last() == Some(&Piece::Space)) {
            pieces.push(piece);
        }
        rest = rest.split_off(len);
    }
    pieces
}

/// The first piece of `text`, and its length in bytes.
fn first_piece(text: &[u8]) -> (Piece, usize) {
    if text.starts_with(b",") {
        return (Piece::Comma, 1);
    }
    if text.starts_with(b"=") {
        return (Piece::Equals, 1);
    }
    if text.starts_with(b" ") || text.starts_with(b"\t") {
        return (Piece::Space, 1);
    }
    if text.starts_with(b"\r\n ") || text.starts_with(b"\r\n\t") {
        return (Piece::Space, 3);
    }
    if text.starts_with(b"\"") {
        return first_quoted_string(text);
    }
    let word: Vec<u8> = text.iter().copied().take_while(|&byte| is_token_byte(byte)).collect();
    if word.is_empty() {
        return (Piece::Bad, 0);
    }
    let len = word.len();
    (Piece::Word(word), len)
}

/// Whether a byte is allowed in a token (RFC 7230 §3.2.6).
fn is_token_byte(byte: u8) -> bool {
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        .bytes()
        .any(|token_byte| token_byte == byte)
}

/// The quoted string at the start of `text`.
fn first_quoted_string(text: &[u8]) -> (Piece, usize) {
    let mut content = Vec::new();
    let mut after_backslash = false;
    for &byte in text.iter().skip(1) {
        let is_control = byte < 0x20 || byte == 0x7F;
        if is_control || (after_backslash && byte > 0x7F) {
            return (Piece::Bad, 0);
        }
        if byte == b'"' && !after_backslash {
            let len = content.len() + 2;
            return (Piece::Quoted(content), len);
        }
        content.push(byte);
        after_backslash = byte == b'\\' && !after_backslash;
    }
    (Piece::Bad, 0)
}

/// The first parameter that is repeated, too long, or has a forbidden backslash.
fn first_text_defect(parameters: &[Parameter]) -> Option<String> {
    let mut seen: Vec<String> = Vec::new();
    for Parameter { name, value, .. } in parameters {
        let (name, bound) = match name.as_str() {
            "username" => ("username", 192),
            "username*" => ("username*", 199),
            "realm" => ("realm", 255),
            "nonce" => ("nonce", 256),
            "uri" => ("uri", 1024),
            "response" => ("response", 128),
            "cnonce" => ("cnonce", 256),
            "opaque" => ("opaque", 256),
            "algorithm" => ("algorithm", 1024),
            "qop" => ("qop", 1024),
            "nc" => ("nc", 1024),
            "userhash" => ("userhash", 1024),
            _ => ("other", 1024),
        };
        if name != "other" && seen.contains(&name.to_owned()) {
            return Some(format!("duplicate-{name}"));
        }
        if value.len() > bound {
            return Some(format!("too-long-{name}"));
        }
        if ["nonce", "uri", "response", "cnonce"].contains(&name) && value.contains(&b'\\') {
            return Some(format!("backslash-{name}"));
        }
        seen.push(name.to_owned());
    }
    None
}

fn credentials(parameters: &[Parameter]) -> Result<OracleCredentials, String> {
    let (username, is_hash) = username(parameters)?;
    let nonce = mandatory(parameters, "nonce")?;
    let uri = mandatory(parameters, "uri")?;
    let response = mandatory(parameters, "response")?;

    let algorithm = lower(&raw(parameters, "algorithm").unwrap_or(b"MD5".to_vec()));
    let known = ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"];
    let Some(algorithm) = known.iter().find(|name| name.to_lowercase() == algorithm) else {
        return Err("unknown-algorithm".to_owned());
    };

    let mut qop = None;
    if let Some(text) = raw(parameters, "qop") {
        let text = lower(&text);
        if text != "auth" && text != "auth-int" {
            return Err("unknown-qop".to_owned());
        }
        let nc_text = mandatory(parameters, "nc")?;
        if nc_text.len() > 8 || !nc_text.iter().all(u8::is_ascii_hexdigit) {
            return Err("bad-nonce-count".to_owned());
        }
        let nc = u32::from_str_radix(&lower(&nc_text), 16).unwrap_or(0);
        if nc == 0 {
            return Err("bad-nonce-count".to_owned());
        }
        qop = Some((text, mandatory(parameters, "cnonce")?, nc, nc_text));
    }
    if algorithm.ends_with("-sess") && qop.is_none() {
        return Err("missing-qop".to_owned());
    }
    let algorithm = (*algorithm).to_owned();
    Ok(OracleCredentials { username, is_hash, nonce, uri, response, algorithm, qop })
}

/// The user name or its hash, and whether it is a hash.
fn username(parameters: &[Parameter]) -> Result<(String, bool), String> {
    let is_hash = match raw(parameters, "userhash").map(|text| lower(&text)).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("bad-userhash".to_owned()),
    };
    let plain = raw(parameters, "username");
    let ext = parameters.iter().find(|parameter| parameter.name == "username*");
    let (bytes, name) = match (plain, ext) {
        (None, None) => return Err("missing-username".to_owned()),
        (Some(_), Some(_)) => return Err("two-usernames".to_owned()),
        (Some(plain), None) => (unescaped(&plain), "username"),
        (None, Some(_)) if is_hash => return Err("bad-userhash".to_owned()),
        (None, Some(ext)) if ext.quoted => return Err("bad-username".to_owned()),
        (None, Some(ext)) => (decoded(&ext.value)?, "username*"),
    };
    if bytes.len() > 64 {
        return Err(format!("too-long-{name}"));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err("bad-username".to_owned());
    };
    if text.chars().any(char::is_control) {
        return Err("bad-username".to_owned());
    }
    if text.is_empty() {
        return Err("missing-username".to_owned());
    }
    if is_hash {
        if text.len() < 32 || !text.chars().all(|character| character.is_ascii_hexdigit()) {
            return Err("bad-userhash".to_owned());
        }
        return Ok((text.to_lowercase(), true));
    }
    Ok((text, false))
}

/// Decodes `UTF-8''` and value-chars, RFC 8187 §3.2.1.
fn decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    // a token is ASCII
    let text: Vec<char> = text.iter().copied().map(char::from).collect();
    let prefix: String = text.iter().take(7).collect();
    if prefix.to_lowercase() != "utf-8''" {
        return Err("bad-username".to_owned());
    }
    let mut decoded = Vec::new();
    let mut at = 7;
    while let Some(&character) = text.get(at) {
        let is_attr_char = character.is_ascii_alphanumeric() || "!#$&+-.^_`|~".contains(character);
        if is_attr_char {
            decoded.push(character as u8);
            at += 1;
        } else {
            let pair: String = text.iter().skip(at + 1).take(2).collect();
            let is_hex = pair.len() == 2 && pair.chars().all(|digit| digit.is_ascii_hexdigit());
            match u8::from_str_radix(&pair, 16) {
                Ok(byte) if character == '%' && is_hex => decoded.push(byte),
                _ => return Err("bad-username".to_owned()),
            }
            at += 3;
        }
        if decoded.len() > 64 {
            return Err("too-long-username*".to_owned());
        }
    }
    Ok(decoded)
}

/// The value as sent.
fn raw(parameters: &[Parameter], name: &str) -> Option<Vec<u8>> {
    let parameter = parameters.iter().find(|parameter| parameter.name == name)?;
    Some(parameter.value.clone())
}

/// The value as sent, which must be present and not empty.
fn mandatory(parameters: &[Parameter], name: &str) -> Result<Vec<u8>, String> {
    match raw(parameters, name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("missing-{name}")),
    }
}

/// The value without the backslashes of its quoted-pairs.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut after_backslash = false;
    for &byte in value {
        if byte == b'\\' && !after_backslash {
            after_backslash = true;
        } else {
            plain.push(byte);
            after_backslash = false;
        }
    }
    plain
}

/// In lower case. A byte outside ASCII equals nothing in a comparison.
fn lower(text: &[u8]) -> String {
    text.iter().map(|&byte| char::from(byte).to_ascii_lowercase()).collect()
}
