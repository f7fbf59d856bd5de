//! What is wrong with a file: the place, the line, what was expected, and a hint.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::config::node::Place;
use crate::config::redact::redact;

/// How many mistakes are shown before the rest is only counted.
const SHOWN: usize = 50;
/// How much of a line is shown.
const LINE_SHOWN: usize = 160;

/// A file (or an argument) that was read, for showing its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as the user wrote it, or `--fault` for an argument.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

impl Source {
    /// A file's text under its name.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    fn line(&self, number: usize) -> Option<&str> {
        self.text.lines().nth(number.checked_sub(1)?)
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
    /// The line at that place.
    pub line: Option<String>,
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
            message: message.into(),
            expected: None,
            hint: None,
        }
    }

    /// An error at a place of a file.
    pub fn at(source: &Source, place: Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            line: source.line(place.line).map(str::to_owned),
            ..Self::file(source.name.clone(), message)
        }
    }

    /// The same, saying what was expected.
    pub fn expected(mut self, form: impl Into<String>) -> Self {
        self.expected = Some(form.into());
        self
    }

    /// The same, saying what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
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
        writeln!(f, "{severity}: {}", redact(&self.message))?;
        match self.place {
            None => writeln!(f, "  --> {}", self.file)?,
            Some(place) => {
                writeln!(f, "  --> {}:{}:{}", self.file, place.line, place.column)?;
                if let Some(line) = &self.line {
                    excerpt(f, place, line)?;
                }
            }
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "   = expected: {}", redact(expected))?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "   = hint: {}", redact(hint))?;
        }
        Ok(())
    }
}

/// The line with a mark under the place; long lines are cut around it.
fn excerpt(f: &mut fmt::Formatter<'_>, place: Place, line: &str) -> fmt::Result {
    // Redacting may shorten the line, so that the mark would miss: such lines go without one.
    let safe = redact(line);
    let is_whole = safe == line;
    let skip = match safe.chars().count() > LINE_SHOWN {
        true => place.column.saturating_sub(LINE_SHOWN / 2 + 1),
        false => 0,
    };
    let shown: String = safe
        .chars()
        .skip(if is_whole { skip } else { 0 })
        .take(LINE_SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    writeln!(f, "{gutter} |")?;
    writeln!(f, "{number} | {shown}")?;
    if is_whole {
        let before = " ".repeat(place.column.saturating_sub(1 + skip));
        let mark = "^".repeat(place.width.clamp(1, LINE_SHOWN / 2));
        writeln!(f, "{gutter} | {before}{mark}")?;
    }
    Ok(())
}

/// The mistakes found so far. Shared by everything that reads one set of files.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Diagnostic>>,
}

impl Problems {
    /// Adds one.
    pub fn add(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// Is any of them an error?
    pub fn has_errors(&self) -> bool {
        let is_error = |d: &Diagnostic| d.severity == Severity::Error;
        self.found.borrow().iter().any(is_error)
    }

    /// All of them, in the order of files and lines.
    pub fn into_diagnostics(self) -> Diagnostics {
        let mut all = self.found.into_inner();
        // Stable: mistakes at one place keep the order in which they were found.
        all.sort_by_key(|d| (d.file.clone(), d.place.map(|p| (p.line, p.column))));
        all.dedup();
        Diagnostics(all)
    }
}

/// All mistakes of a set of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// The number of errors.
    pub fn errors(&self) -> usize {
        let is_error = |d: &&Diagnostic| d.severity == Severity::Error;
        self.0.iter().filter(is_error).count()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(single: Diagnostic) -> Self {
        Self(vec![single])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.0.iter().take(SHOWN) {
            writeln!(f, "{diagnostic}")?;
        }
        if self.0.len() > SHOWN {
            writeln!(f, "… and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
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
            .0
            .iter()
            .filter_map(|d| d.place.map(|p| p.line))
            .collect();
        assert_eq!(lines, [1, 2, 3]);
    }
}
