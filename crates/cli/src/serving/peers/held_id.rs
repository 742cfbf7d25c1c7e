//! The ids of held names and sources in a fleet: the name of the edge in base64url, a dot, and the id at
//! that edge. The text needs no escape in a URL as far as the edge's own id needs none.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The id in the fleet of `id` at `edge`.
pub(super) fn write(edge: &str, id: &str) -> String {
    format!("{}.{id}", BASE64_URL_SAFE_NO_PAD.encode(edge))
}

/// The edge and the id at that edge; none for other texts.
pub(super) fn read(text: &str) -> Option<(String, &str)> {
    let (edge, id) = text.split_once('.')?;
    let edge = BASE64_URL_SAFE_NO_PAD.decode(edge).ok()?;
    Some((String::from_utf8(edge).ok()?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_edge() {
        for (edge, id) in [("north", "7"), ("a.b:5060", "x.y"), ("ü ?", ""), ("", ".")] {
            let text = write(edge, id);
            assert_eq!(read(&text), Some((edge.to_owned(), id)), "{text}");
        }
        for text in ["", "7", "!.7", "bm9ydGg=.7", "_w.7"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
