//! Parses the text into a tree of keys and values, and collects the syntax errors.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use zeroize::Zeroizing;

use crate::headers::{self, wrong_headers};
use crate::keys::is_known_key;
use crate::problem::{Problem, Problems, Subject};

/// Copies of a text, made if some of its lines must be replaced before they are parsed.
#[derive(Default)]
pub(crate) struct Copies {
    closed: Option<Zeroizing<String>>,
    blanked: Option<Zeroizing<String>>,
    repaired: Option<Zeroizing<String>>,
    blanked_again: Option<Zeroizing<String>>,
}

/// The readable parts of a text, and its syntax errors.
pub(crate) struct Syntax<'t> {
    /// The text that all places refer to. It has the lines of the file.
    pub(crate) text: &'t str,
    pub(crate) root: Spanned<DeTable<'t>>,
    pub(crate) problems: Problems,
    /// The lines whose keys and values may have been misread.
    broken: Parts,
    /// The tables whose keys may be missing from the tree.
    damaged: Parts,
    /// The lines with bytes that are not UTF-8.
    unreadable: Parts,
    /// The places of the syntax errors, ascending.
    starts: Vec<usize>,
}

/// Ranges of a text, ascending and disjoint.
#[derive(Default)]
struct Parts(Vec<Range<usize>>);

impl Parts {
    fn add(&mut self, mut part: Range<usize>) {
        while let Some(last) = self.0.pop_if(|last| last.end >= part.start) {
            part = last.start.min(part.start)..last.end.max(part.end);
        }
        self.0.push(part);
    }

    fn touches(&self, span: &Range<usize>) -> bool {
        let end = span.end.max(span.start + 1);
        let next = self.0.partition_point(|part| part.end <= span.start);
        self.0.get(next).is_some_and(|part| part.start < end)
    }
}

/// The maximum number of brackets that are added to read the rest of a text.
const MAX_CLOSED: usize = 16;

/// The place and the message of a parser error.
type ParserError = (Range<usize>, String);

impl<'t> Syntax<'t> {
    /// Parses `text`, in which the bytes at `unreadable` (ascending) were not UTF-8 and have been
    /// replaced.
    pub(crate) fn parse(
        mut text: &'t str,
        unreadable: Vec<Range<usize>>,
        copies: &'t mut Copies,
    ) -> Self {
        let Copies { closed: copy, blanked, repaired, blanked_again } = copies;
        let mut unclosed = Vec::new();
        // a repair would move the unreadable bytes
        if unreadable.is_empty()
            && let Some((closed, reports)) = closed(text)
        {
            (text, unclosed) = (copy.insert(closed), reports);
        }
        let (mut root, mut errors, mut commas) = tree(text, blanked);
        let wrong = match unreadable.is_empty() {
            true => wrong_headers(text, root.get_ref(), &errors),
            false => Vec::new(),
        };
        let reports = headers::reports(text, &wrong);
        for (span, _) in &mut unclosed {
            let moved = headers::moved(&wrong, span.start);
            *span = moved..moved;
        }
        if !wrong.is_empty() {
            text = repaired.insert(headers::repaired(text, &wrong));
            (root, errors, commas) = tree(text, blanked_again);
        }
        let (problems, broken, damaged, starts) = Default::default();
        let unreadable_lines = Parts::default();
        let mut syntax =
            Self { text, root, problems, broken, damaged, unreadable: unreadable_lines, starts };
        syntax.add_unreadable(unreadable);
        for (at, message) in reports {
            syntax.problems.add(at..at, message, Subject::Header);
        }
        if !errors.is_empty() || !unclosed.is_empty() {
            syntax.add(text, errors, unclosed, commas);
        }
        syntax
    }

    /// Whether keys of the text may be missing from the tree.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.damaged.0.is_empty()
    }

    /// Whether a problem may be a consequence of an error of the syntax.
    pub(crate) fn is_doubtful(&self, problem: &Problem) -> bool {
        match problem.subject {
            Subject::Header => false,
            Subject::Syntax => self.unreadable.touches(&problem.span),
            Subject::Missing => {
                self.damaged.touches(&problem.span) || self.broken.touches(&problem.span)
            }
            Subject::Value | Subject::Key => {
                self.broken.touches(&problem.span)
                    || self.unreadable.touches(&problem.span)
                    || self.has_error_in(&problem.span)
                    // the parser inserts values with an empty span
                    || (!self.starts.is_empty() && problem.span == (0..0))
            }
        }
    }

    /// Whether a syntax error is inside a value, such as a string without an end.
    fn has_error_in(&self, span: &Range<usize>) -> bool {
        let at = self.starts.partition_point(|start| *start < span.start);
        self.starts.get(at).is_some_and(|start| *start <= span.end)
    }

    /// Adds an error for each line with unreadable bytes.
    fn add_unreadable(&mut self, spans: Vec<Range<usize>>) {
        let mut end = 0;
        for span in spans {
            if span.start < end {
                continue;
            }
            let line = lines(self.text, &span);
            end = line.end;
            self.unreadable.add(line);
            // no key: the line may be a comment
            self.problems.add(span, "expected UTF-8", Subject::Header);
        }
    }

    /// Adds the first error of each line; further ones in a line are mostly consequences. `closed` are
    /// the brackets that were added, and `commas` says whether missing commas were.
    fn add(
        &mut self,
        text: &str,
        mut errors: Vec<ParserError>,
        closed: Vec<ParserError>,
        commas: bool,
    ) {
        let headers = headers(text);
        let unclosed = unclosed(text, &headers, &errors);
        // to the parser, the place of an added bracket is no error
        let closed_at: Vec<usize> = closed.iter().map(|(span, _)| span.start).collect();
        errors.extend(closed);
        let at = unclosed.as_ref().map(|(span, _)| span.start);
        if let Some(at) = at {
            errors.retain(|(span, _)| span.start < at);
        }
        errors.extend(unclosed);
        errors.sort_by_key(|(span, _)| span.start);
        let mut last = None;
        for (span, message) in errors {
            self.broken.add(lines(text, &span));
            let since = last.map(|last| text.get(last..span.start).unwrap_or_default());
            if since.is_some_and(|since| !since.contains('\n')) {
                continue;
            }
            last = Some(span.start);
            self.starts.push(span.start);
            let subject = match at != Some(span.start) && is_in_one_value(text, &span, &message) {
                true => Subject::Syntax,
                // the parser has read the text with the bracket, or with the comma
                false if closed_at.contains(&span.start) => Subject::Syntax,
                false if commas && message.starts_with("missing comma") => Subject::Syntax,
                false => self.damage(text, &headers, span.start, at == Some(span.start)),
            };
            let message = reworded(&message, span.clone(), text);
            // the parser stops in the middle of a value such as `192.0.2.7`
            let span = if message == BARE_WORD { word_around(text, span) } else { span };
            self.problems.add(span, message, subject);
        }
    }

    /// Marks the table around an error as damaged, and the rest of the text too if the error hides the
    /// headers of other tables.
    fn damage(
        &mut self,
        text: &str,
        headers: &[usize],
        offset: usize,
        to_the_end: bool,
    ) -> Subject {
        let count = headers.partition_point(|header| *header < offset);
        let from = count.checked_sub(1).and_then(|last| headers.get(last)).copied();
        let next = headers.get(count).copied();
        // after an unreadable header the index of a table in its array would be wrong
        let in_header = from
            .is_some_and(|from| text.get(from..offset).is_some_and(|since| !since.contains('\n')));
        let end = next.filter(|_| !to_the_end && !in_header).unwrap_or(text.len() + 1);
        let table = from.unwrap_or(0)..end;
        if to_the_end || in_header {
            self.broken.add(table.clone());
        }
        self.damaged.add(table);
        if in_header { Subject::Header } else { Subject::Syntax }
    }
}

/// The readable tree of keys and values, the errors in the order of the text, and whether the tree has
/// been read with the missing commas. `copy` holds a copy of the text, if one is needed.
fn tree<'t>(
    text: &'t str,
    copy: &'t mut Option<Zeroizing<String>>,
) -> (Spanned<DeTable<'t>>, Vec<ParserError>, bool) {
    let (root, errors) = parsed(text);
    let has = |start: &str| errors.iter().any(|(_, message)| message.starts_with(start));
    // the parser stops at a key without a value, so such lines are blanked
    let stops = "key with no value";
    let (rest, kept, commas) = if has(stops) {
        (blanked(text, &of_kind(&errors, stops)), stops, false)
    } else if has("missing comma") && !has("unclosed") {
        let Some(rest) = with_commas(text, &errors) else { return (root, errors, false) };
        (rest, "missing comma", true)
    } else {
        return (root, errors, false);
    };
    let mut errors = of_kind(&errors, kept);
    let (root, others) = parsed(copy.insert(rest));
    errors.extend(others);
    errors.sort_by_key(|(span, _)| span.start);
    (root, errors, commas)
}

fn of_kind(errors: &[ParserError], start: &str) -> Vec<ParserError> {
    errors.iter().filter(|(_, message)| message.starts_with(start)).cloned().collect()
}

/// The text with each missing comma in the place of the space or line end before it, so that all offsets
/// stay. `None` if there is no such place.
fn with_commas(text: &str, errors: &[ParserError]) -> Option<Zeroizing<String>> {
    let mut copy = Zeroizing::new(text.as_bytes().to_vec());
    for (span, _) in of_kind(errors, "missing comma") {
        let at = span.start.checked_sub(1)?;
        let place = copy.get_mut(at)?;
        let line = lines(text, &(at..at));
        let is_comment = text.get(line.start..at)?.contains('#');
        if !place.is_ascii_whitespace() || is_comment {
            return None;
        }
        *place = b',';
    }
    // an ASCII byte took the place of another
    str::from_utf8(&copy).ok().map(|copy| Zeroizing::new(copy.to_owned()))
}

fn parsed(text: &str) -> (Spanned<DeTable<'_>>, Vec<ParserError>) {
    let (root, reported) = DeTable::parse_recoverable(text);
    let reported = reported.iter();
    let mut errors: Vec<ParserError> =
        reported.map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    (root, errors)
}

/// The text with the lines of these errors replaced by spaces, so that all offsets stay.
fn blanked(text: &str, errors: &[ParserError]) -> Zeroizing<String> {
    // allocate the full size: a buffer that grows leaves copies in memory
    let mut copy = Zeroizing::new(String::with_capacity(text.len()));
    for (span, _) in errors {
        let line = lines(text, span);
        let end = line.end.min(text.len());
        if let (Some(before), Some(line)) =
            (text.get(copy.len()..line.start), text.get(line.start..end))
        {
            copy.push_str(before);
            copy.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
    }
    let rest = text.get(copy.len()..).unwrap_or_default();
    copy.push_str(rest);
    copy
}

/// The range of the lines that contain `span`.
fn lines(text: &str, span: &Range<usize>) -> Range<usize> {
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.end..).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    start..after.find('\n').map_or(text.len() + 1, |end| span.end + end + 1)
}

/// The offsets of lines that look like headers of known tables.
fn headers(text: &str) -> Vec<usize> {
    let mut headers = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if let Some(path) = line.trim_start().strip_prefix('[') {
            let path = path.trim_start_matches(['[', ' ', '\t']);
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if is_known_key(path.get(..end.unwrap_or(path.len())).unwrap_or_default()) {
                headers.push(offset);
            }
        }
        offset += line.len();
    }
    headers
}

/// The error for an unclosed array or inline table.
///
/// The parser takes the rest of the text for a part of it, and reports an error for each line. This
/// function returns one error, at the first of them.
fn unclosed(text: &str, headers: &[usize], errors: &[ParserError]) -> Option<ParserError> {
    if let Some(error) = unclosed_before_header(headers, errors) {
        return Some(error);
    }
    let end = text.trim_end().len();
    let (at_end, message) = errors.iter().find(|(span, message)| {
        (message.starts_with("unclosed array,") || message.starts_with("unclosed inline table"))
            && span.start >= end
    })?;
    let consequences =
        ["missing comma", "missing key", "unexpected", "invalid inline table element"];
    let mut starts = errors
        .iter()
        .filter(|(_, message)| consequences.iter().any(|known| message.starts_with(known)))
        .map(|(span, _)| span.start);
    // a header is an error only inside an unclosed value, which begins in the table before it
    let swallowed = starts.clone().find(|start| headers.contains(start));
    let count = headers.partition_point(|header| swallowed.is_none_or(|at| *header < at));
    let table = count.checked_sub(1).and_then(|last| headers.get(last)).copied().unwrap_or(0);
    let start = starts.find(|start| *start >= table).unwrap_or(at_end.start);
    Some((start..start, message.clone()))
}

/// The error for an array that is not closed after its last comma. The parser reads the header that
/// follows as an element of it, and reports the name in the header as a bare word.
fn unclosed_before_header(headers: &[usize], errors: &[ParserError]) -> Option<ParserError> {
    let words = errors.iter().filter(|(_, message)| is_bare_word(message));
    words.map(|(span, _)| span.start).find_map(|word| {
        let count = headers.partition_point(|header| *header <= word);
        let header = *headers.get(count.checked_sub(1)?)?;
        // the name follows one or two brackets
        let is_name = word.saturating_sub(header) <= 4;
        is_name.then(|| (header..header, "unclosed array, expected `]`".to_owned()))
    })
}

/// Whether the parser's message is about a value without quotes. It guesses the type of such a value by
/// the first letter.
fn is_bare_word(message: &str) -> bool {
    let known = [
        "string values must be quoted",
        "invalid boolean",
        "invalid float, expected `nan`",
        "invalid float, expected `inf`",
    ];
    known.iter().any(|known| message.starts_with(known))
}

/// Whether an error concerns the value of one key in one line, so that it hides no other key.
fn is_in_one_value(text: &str, span: &Range<usize>, message: &str) -> bool {
    let line = lines(text, span);
    let before = text.get(line.start..span.start).unwrap_or_default();
    let after = text.get(span.start..line.end.min(text.len())).unwrap_or_default();
    let is_key = |key: &str| {
        let key = key.trim();
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    let Some((key, value)) = before.split_once('=') else { return false };
    // an array or an inline table has other keys, and so may the rest of the line
    is_key(key)
        && !value.contains(['[', '{', '='])
        && !after.contains(['[', '{', '='])
        && !message.contains("multi-line")
        && !message.starts_with("unclosed")
}

/// The text with the missing brackets of arrays and inline tables that swallow the header after them,
/// each at the end of the line before the header, and the errors. Columns of other text stay the same.
/// `None` if there is no such array or table.
fn closed(text: &str) -> Option<(Zeroizing<String>, Vec<ParserError>)> {
    let mut current: Option<Zeroizing<String>> = None;
    let mut reports: Vec<ParserError> = Vec::new();
    for _ in 0..MAX_CLOSED {
        let now = current.as_ref().map_or(text, |current| current.as_str());
        let mut copy = None;
        let (_, errors, _) = tree(now, &mut copy);
        let headers = headers(now);
        let Some((span, message)) = unclosed(now, &headers, &errors) else { break };
        let before = now.get(..span.start).unwrap_or_default();
        let at = before.trim_end().len();
        let line = before.get(..at).and_then(|before| before.rsplit('\n').next());
        // behind a comment the bracket would be a part of it
        let is_comment = line.is_none_or(|line| line.contains('#'));
        if is_comment || !headers.contains(&span.start) {
            break;
        }
        let bracket = if message.contains("`}`") { "}" } else { "]" };
        // allocate the full size: a buffer that grows leaves copies in memory
        let mut next = Zeroizing::new(String::with_capacity(now.len() + bracket.len()));
        next.push_str(now.get(..at)?);
        next.push_str(bracket);
        next.push_str(now.get(at..)?);
        for (other, _) in reports.iter_mut().filter(|(other, _)| other.start > at) {
            *other = other.start + 1..other.end + 1;
        }
        // a further bracket in the same place is part of the same error
        if !reports.iter().any(|(other, _)| other.start + 1 == at || other.start + 2 == at) {
            reports.push((at..at, message));
        }
        current = Some(next);
    }
    current.map(|current| (current, reports))
}

/// The message about a value without quotes.
const BARE_WORD: &str = "expected a value; a string must be in quotes";

/// The place of the word that begins before `span` and ends with it.
fn word_around(text: &str, span: Range<usize>) -> Range<usize> {
    let before = text.get(..span.start).unwrap_or_default();
    let is_end = |c: char| c.is_whitespace() || "=,[{".contains(c);
    let start = before.rfind(is_end).map_or(0, |at| at + 1);
    start..span.end
}

/// The parser's message, reworded if it does not name the expected text.
fn reworded(message: &str, span: Range<usize>, text: &str) -> String {
    let ends_line = text.get(span.start..).is_none_or(|rest| {
        rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n') || rest.trim().is_empty()
    });
    if is_bare_word(message) {
        let found = text.get(span.clone()).unwrap_or_default();
        let is = |words: &[&str]| words.iter().any(|word| found.eq_ignore_ascii_case(word));
        return match span.is_empty() {
            true => "expected a value",
            false if is(&["true", "false"]) => "expected `true` or `false`, in lower case",
            false if is(&["yes", "no", "on", "off"]) => {
                "expected a value, such as `true`, `false` or a string in quotes"
            }
            false if found.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) => {
                "expected a value; quotes must be `\"` or `'`"
            }
            false => BARE_WORD,
        }
        .to_owned();
    }
    // an address or a name that begins with digits; no key has a date or a time
    if ["invalid float", "invalid date", "invalid time"]
        .iter()
        .any(|begin| message.starts_with(begin))
    {
        return BARE_WORD.to_owned();
    }
    if message == "unexpected key or value, expected newline, `#`" {
        return "expected the end of the line".to_owned();
    }
    if message.starts_with("extra `=`") {
        return "expected a value, found a second `=`".to_owned();
    }
    if message == "invalid key-value pair, expected key" {
        return "expected a key".to_owned();
    }
    if message == "recursion limit" || message.starts_with("cannot recurse further") {
        return "too many levels of arrays or tables".to_owned();
    }
    if message == "duplicate key" {
        // an unknown key could be a misplaced password
        let key = text.get(span).filter(|key| is_known_key(key));
        return key.map_or_else(|| message.to_owned(), |key| format!("duplicate key `{key}`"));
    }
    if let Some((_, quotes)) = message.split_once(" string, expected ")
        && message.starts_with("invalid")
        && ends_line
    {
        return format!("unclosed string, expected {quotes}");
    }
    if message.contains(" string, expected non-") && message.contains(" visible characters") {
        return "expected a string without control characters".to_owned();
    }
    // the parser's message can have several lines
    message.trim_end().trim_end_matches(", expected nothing").replace('\n', "; ")
}
