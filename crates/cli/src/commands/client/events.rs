//! Reads server-sent events (WHATWG HTML, "Interpreting an event stream").

use std::io::{self, BufRead};

/// The maximum number of bytes of a line and of the data of an event; longer than any decision.
const MAX_BYTES: usize = 1 << 20;

/// A part of an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamItem {
    /// An event.
    Event {
        /// The name; `message` if the server gave none.
        name: String,
        /// The data without the last line end.
        data: String,
    },
    /// A comment: the server is alive.
    Comment,
}

/// The items of an event stream.
pub(crate) struct EventStream<R> {
    reader: R,
    line: Vec<u8>,
    /// Whether the last line ended in CR, so that an LF belongs to it.
    after_cr: bool,
    is_first: bool,
    name: String,
    data: String,
}

impl<R: BufRead> EventStream<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            after_cr: false,
            is_first: true,
            name: String::new(),
            data: String::new(),
        }
    }

    /// The next item; none at the end of the stream. An event that the end cuts is discarded.
    pub(crate) fn next_item(&mut self) -> io::Result<Option<StreamItem>> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&self.line);
            let mut line = line.as_ref();
            if std::mem::take(&mut self.is_first) {
                line = line.strip_prefix('\u{feff}').unwrap_or(line);
            }
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if let Some(data) = data.strip_suffix('\n') {
                    let name = if name.is_empty() { "message".to_owned() } else { name };
                    return Ok(Some(StreamItem::Event { name, data: data.to_owned() }));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => return Ok(Some(StreamItem::Comment)),
                "event" => value.clone_into(&mut self.name),
                "data" if self.data.len() + value.len() < MAX_BYTES => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "data" => return Err(too_long()),
                // `id` and `retry`, which this reader does not need, and unknown fields
                _ => {}
            }
        }
    }

    /// Reads a line without its end: CR, LF or both. Returns false at the end of the stream.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(false);
            }
            if std::mem::take(&mut self.after_cr) && available.first() == Some(&b'\n') {
                self.reader.consume(1);
                continue;
            }
            let end = available.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            if self.line.len() + part.len() > MAX_BYTES {
                return Err(too_long());
            }
            self.line.extend_from_slice(part);
            let read = part.len();
            match end {
                Some(at) => {
                    self.after_cr = available.get(at) == Some(&b'\r');
                    self.reader.consume(read + 1);
                    return Ok(true);
                }
                None => self.reader.consume(read),
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an event is longer than 1 MiB")
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The items of a text that arrives in parts of `size` bytes.
    fn items(text: &str, size: usize) -> Vec<StreamItem> {
        let mut stream = EventStream::new(BufReader::with_capacity(size, text.as_bytes()));
        std::iter::from_fn(|| stream.next_item().unwrap()).collect()
    }

    fn event(name: &str, data: &str) -> StreamItem {
        StreamItem::Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_and_comments_in_any_parts_and_with_any_line_ends() {
        let text = "\u{feff}:\n\nevent: decision\ndata: {\"a\":1}\n\n: alive\n\ndata:one\ndata: two\n\
                    id: 7\nretry: 9\n\nevent: empty\n\ndata\n\ndata: cut";
        let expected = [
            StreamItem::Comment,
            event("decision", "{\"a\":1}"),
            StreamItem::Comment,
            event("message", "one\ntwo"),
            event("message", ""),
        ];
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            for size in [1, 2, 3, 7, 4096] {
                assert_eq!(items(&text, size), expected, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn an_endless_line_or_event_is_an_error() {
        for text in ["x".repeat(MAX_BYTES + 1), "data: 0123456789\n".repeat(MAX_BYTES / 10)] {
            let mut stream = EventStream::new(text.as_bytes());
            assert_eq!(stream.next_item().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_end_nothing() {
        let mut stream = EventStream::new(&b"data: \xff\xfe\n\n"[..]);
        let item = stream.next_item().unwrap();
        assert_eq!(item, Some(event("message", "\u{fffd}\u{fffd}")));
        assert_eq!(stream.next_item().unwrap(), None);
    }
}
