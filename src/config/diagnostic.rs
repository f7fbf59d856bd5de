//! What is wrong with a file: the place, the line, what was expected, and a hint.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use crate::config::node::Place;
use crate::config::redact::redact;

/// How many mistakes are shown before the rest is only counted.
const SHOWN: usize = 50;
/// How many mistakes are kept before the rest is only counted.
const KEPT: usize = 1_000;
/// How much of a line is kept and shown, in characters.
const LINE_SHOWN: usize = 160;
/// How far around that part keys are looked for: one that is cut in two would not be known again.
const LINE_READ: usize = 1_000;
/// How long each of a diagnostic's texts may be, in characters.
const LONGEST_TEXT: usize = 600;

/// A file (or an argument) that was read, for showing its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as the user wrote it, or `--fault` for an argument.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
    /// Where each line starts. Looking for it at every mistake would take long in a large file.
    starts: Arc<[usize]>,
}

impl Source {
    /// A file's text under its name.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after_breaks).collect();
        Self {
            name: name.into(),
            text,
            starts,
        }
    }

    fn line(&self, number: usize) -> Option<&str> {
        let index = number.checked_sub(1)?;
        let start = *self.starts.get(index)?;
        self.text[start..].lines().next()
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something deserves a thought.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Where in the file; none when the file as a whole is meant.
    pub place: Option<Place>,
    /// What is shown of the line at that place.
    pub line: Option<Excerpt>,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error about a file as a whole.
    pub fn file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            place: None,
            line: None,
            message: bounded(&message.into()),
            expected: None,
            hint: None,
        }
    }

    /// An error at a place of a file.
    pub fn at(source: &Source, place: Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            line: source.line(place.line).map(|l| Excerpt::new(l, place)),
            ..Self::file(source.name.clone(), message)
        }
    }

    /// An error at a place of a file of which only this line is at hand.
    pub fn in_line(
        file: impl Into<String>,
        place: Place,
        line: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            place: Some(place),
            line: Some(Excerpt::new(line, place)),
            ..Self::file(file, message)
        }
    }

    /// The same, saying what was expected.
    pub fn expected(mut self, form: impl Into<String>) -> Self {
        self.expected = Some(bounded(&form.into()));
        self
    }

    /// The same, saying what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(bounded(&hint.into()));
        self
    }

    /// The same without the line: where it holds a secret.
    pub fn without_line(mut self) -> Self {
        self.line = None;
        self
    }

    /// The same as a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

/// Rendered like a compiler's message. Keys are cut out of everything.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        match self.place {
            None => writeln!(f, "  --> {}", self.file)?,
            Some(place) => {
                writeln!(f, "  --> {}:{}:{}", self.file, place.line, place.column)?;
                if let Some(line) = &self.line {
                    line.show(f, place)?;
                }
            }
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "   = expected: {expected}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "   = hint: {hint}")?;
        }
        Ok(())
    }
}

/// A text without keys, and not too long: a file of one long word must not fill the memory with
/// messages about it.
fn bounded(text: &str) -> String {
    // Keys are looked for a little beyond the cut, so that none is cut to a part that looks harmless.
    let read: String = text.chars().take(LONGEST_TEXT + LINE_READ).collect();
    let safe = redact(&read);
    if safe.chars().count() <= LONGEST_TEXT {
        return safe;
    }
    let kept = safe.chars().take(LONGEST_TEXT - 1);
    kept.chain(['…']).collect()
}

/// The part of a line around a place, without keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    /// Where the place is in it, from 0; none where something was cut out, so that nobody can tell.
    mark: Option<usize>,
}

impl Excerpt {
    fn new(line: &str, place: Place) -> Self {
        let column = place.column.saturating_sub(1);
        let start = column.saturating_sub(LINE_SHOWN / 2 + LINE_READ);
        let length = 2 * LINE_READ + LINE_SHOWN;
        let read: String = line.chars().skip(start).take(length).collect();
        let safe = redact(&read);
        let is_long = start > 0 || safe.chars().count() > LINE_SHOWN;
        let skip = match is_long {
            true => (column - start).saturating_sub(LINE_SHOWN / 2),
            false => 0,
        };
        let shown = safe.chars().skip(skip).take(LINE_SHOWN);
        Self {
            text: shown
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
            mark: (safe == read).then(|| column - start - skip),
        }
    }

    /// The line with a mark under the place.
    fn show(&self, f: &mut fmt::Formatter<'_>, place: Place) -> fmt::Result {
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.text)?;
        if let Some(before) = self.mark {
            let before = " ".repeat(before);
            let mark = "^".repeat(place.width.clamp(1, LINE_SHOWN / 2));
            writeln!(f, "{gutter} | {before}{mark}")?;
        }
        Ok(())
    }
}

/// The mistakes found so far. Shared by everything that reads one set of files.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Diagnostic>>,
    /// Those beyond what is kept, and whether any of them is an error.
    more: Cell<usize>,
    more_errors: Cell<bool>,
}

impl Problems {
    /// Adds one.
    pub fn add(&self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.more.set(self.more.get() + 1);
            let is_error = diagnostic.severity == Severity::Error;
            self.more_errors.set(self.more_errors.get() || is_error);
            return;
        }
        self.found.borrow_mut().push(diagnostic);
    }

    /// Are further mistakes only counted? Then nobody needs to find words for them.
    pub fn is_full(&self) -> bool {
        self.found.borrow().len() >= KEPT
    }

    /// Is any of them an error?
    pub fn has_errors(&self) -> bool {
        let is_error = |d: &Diagnostic| d.severity == Severity::Error;
        self.more_errors.get() || self.found.borrow().iter().any(is_error)
    }

    /// All of them, in the order of files and lines.
    pub fn into_diagnostics(self) -> Diagnostics {
        let mut list = self.found.into_inner();
        let place = |d: &Diagnostic| d.place.map(|p| (p.line, p.column));
        // Stable: mistakes at one place keep the order in which they were found.
        list.sort_by(|a, b| (&a.file, place(a)).cmp(&(&b.file, place(b))));
        list.dedup();
        Diagnostics {
            list,
            more: self.more.get(),
        }
    }
}

/// The mistakes of a set of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// In the order of files and lines.
    pub list: Vec<Diagnostic>,
    /// How many more there are.
    pub more: usize,
}

impl Diagnostics {
    /// The number of errors.
    pub fn errors(&self) -> usize {
        let is_error = |d: &&Diagnostic| d.severity == Severity::Error;
        self.list.iter().filter(is_error).count() + self.more
    }

    /// Takes in those of another set of files.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
        self.more += other.more;
    }

    /// All that are kept as text, instead of the first few.
    pub fn in_full(&self) -> String {
        self.text(self.list.len())
    }

    fn text(&self, shown: usize) -> String {
        let shown = shown.min(self.list.len());
        let list = self.list[..shown].iter().map(|d| format!("{d}\n"));
        let more = self.list.len() - shown + self.more;
        let rest = (more > 0).then(|| format!("… and {more} more mistakes\n"));
        list.chain(rest).collect()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(single: Diagnostic) -> Self {
        Self {
            list: vec![single],
            more: 0,
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(SHOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_the_place_and_hides_the_key() {
        let source = Source::new("a.yaml", "one: 1\nnäme: x # sk-abcdef0123456789\n");
        let place = Place {
            line: 2,
            column: 1,
            width: 4,
        };
        let text = Diagnostic::at(&source, place, "unknown key `näme`")
            .expected("`name`")
            .hint("did you mean `name`?")
            .to_string();
        assert!(text.contains("a.yaml:2:1"));
        assert!(text.contains("sk-***") && !text.contains("abcdef0123"));
        assert!(text.contains("= hint: did you mean `name`?"));
    }

    #[test]
    fn a_monstrous_line_is_cut_around_its_place() {
        let text = format!("{}HERE{}", "x".repeat(50_000), "y".repeat(50_000));
        let source = Source::new("a.yaml", text);
        let place = Place {
            line: 1,
            column: 50_001,
            width: 4,
        };
        let shown = Diagnostic::at(&source, place, "no").to_string();
        assert!(shown.len() < 500, "{}", shown.len());
        let lines: Vec<&str> = shown.lines().collect();
        let mark = lines[4].find('^').unwrap();
        assert_eq!(&lines[3][mark..mark + 4], "HERE");
    }

    #[test]
    fn mistakes_are_sorted_by_place() {
        let source = Source::new("a.yaml", "1\n2\n3\n");
        let problems = Problems::default();
        for line in [3, 1, 2] {
            let place = Place {
                line,
                column: 1,
                width: 1,
            };
            problems.add(Diagnostic::at(&source, place, "no"));
        }
        let lines: Vec<_> = problems
            .into_diagnostics()
            .list
            .iter()
            .filter_map(|d| d.place.map(|p| p.line))
            .collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn a_key_at_the_edge_of_what_is_shown_stays_hidden() {
        for before in 0..400 {
            let key = "sk-abcdefgh0123456789abcdefgh0123456789";
            let line = format!("{} {key} {}", "x".repeat(before), "y".repeat(2_000));
            let place = Place {
                line: 1,
                column: 200,
                width: 1,
            };
            let source = Source::new("a.yaml", line.clone());
            let shown = Diagnostic::at(&source, place, line).to_string();
            assert!(!shown.contains("23456789"), "{shown}");
        }
    }

    #[test]
    fn mistakes_without_end_are_counted_not_kept() {
        let source = Source::new("a.yaml", "x".repeat(1 << 20));
        let problems = Problems::default();
        for column in 1..=3_000 {
            let place = Place {
                line: 1,
                column,
                width: 1,
            };
            problems.add(Diagnostic::at(&source, place, "no ".repeat(1_000)));
        }
        assert!(problems.has_errors() && problems.is_full());
        let all = problems.into_diagnostics();
        assert_eq!((all.list.len(), all.errors()), (KEPT, 3_000));
        assert!(all.in_full().len() < KEPT * 2_000);
        let text = all.to_string();
        assert!(text.ends_with("… and 2950 more mistakes\n"), "{text}");
    }

    #[test]
    fn a_line_is_found_whatever_ends_it() {
        let source = Source::new("a.yaml", "one\r\ntwo\n\nfour");
        let lines = [1, 2, 3, 4, 5, 0].map(|n| source.line(n));
        let expected = [Some("one"), Some("two"), None, Some("four"), None, None];
        assert_eq!(lines.map(|l| l.filter(|l| !l.is_empty())), expected);
    }
}
