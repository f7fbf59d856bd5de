//! Variables from a `.env` file, beside the router file or in the working directory. They are looked up
//! and never put into the environment of the process.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::node::Place;

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The variables of all `.env` files, those that win first.
#[derive(Default)]
pub(super) struct DotEnv {
    variables: Vec<(String, String)>,
}

impl DotEnv {
    /// Reads the files beside `router` and in the working directory, those that are there. Of two
    /// values the one beside the router file wins, and of two in one file the first.
    pub(super) fn near(router: &Path, problems: &Problems) -> Self {
        let beside = router.with_file_name(".env");
        let here = PathBuf::from(".env");
        let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        };
        let mut dotenv = Self::default();
        dotenv.read(&beside, problems);
        if !same(&beside, &here) {
            dotenv.read(&here, problems);
        }
        dotenv
    }

    /// The value of a variable with white space trimmed; none when it is not there or blank.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let values = self.variables.iter().filter(|(n, _)| n == name);
        let mut values = values.map(|(_, value)| value.trim());
        values.find(|v| !v.is_empty()).map(str::to_owned)
    }

    fn read(&mut self, path: &Path, problems: &Problems) {
        let file = path.display().to_string();
        match text(path) {
            Ok(Some(text)) => self.parse(&file, &text, problems),
            Ok(None) => {}
            Err(error) => problems.add(Diagnostic::file(file, format!("cannot read: {error}"))),
        }
    }

    /// Every mistake is told with its place, and none with its line, which may hold a key.
    fn parse(&mut self, file: &str, text: &str, problems: &Problems) {
        let lines = Lines::new(text);
        let count = lines.count.clone();
        for entry in dotenvy::from_read_iter(lines) {
            match entry {
                Ok(variable) => self.variables.push(variable),
                Err(error) => {
                    let inner = match &error {
                        dotenvy::Error::LineParse(line, _) => line.trim_end().matches('\n').count(),
                        _ => 0,
                    };
                    let place = Place {
                        line: count.get().saturating_sub(inner).max(1),
                        column: 1,
                        width: 1,
                    };
                    let message = "this line sets no variable";
                    let mistake = Diagnostic::in_line(file, place, "", message).without_line();
                    problems.add(mistake.expected("NAME=value, or a comment that begins with #"));
                }
            }
        }
    }
}

/// The text of a file; none when there is none, or a folder of this name.
fn text(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.is_dir() {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    // Some editors begin a file with a mark of its encoding.
    Ok(Some(text.trim_start_matches('\u{feff}').to_owned()))
}

/// A text that is read line by line, and counts them: the parser does not say where it is.
struct Lines<'t> {
    rest: &'t [u8],
    count: Rc<Cell<usize>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.as_bytes(),
            count: Rc::default(),
        }
    }
}

impl Read for Lines<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let end = self.rest.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let line = end.unwrap_or(self.rest.len());
        let length = line.min(into.len());
        let (now, later) = self.rest.split_at(length);
        into[..length].copy_from_slice(now);
        self.rest = later;
        if length > 0 && length == line {
            self.count.set(self.count.get() + 1);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (DotEnv, String) {
        let problems = Problems::default();
        let mut dotenv = DotEnv::default();
        dotenv.parse("x/.env", text, &problems);
        (dotenv, problems.into_diagnostics().to_string())
    }

    #[test]
    fn values_are_trimmed_and_quotes_are_taken_off() {
        let (dotenv, said) = parsed(
            "# keys\nexport A=sk-1  \nB=\" sk-2 \"\r\nC='sk-3'\nD=\nA=again\n\nE=sk-4 # new",
        );
        assert_eq!(said, "");
        for (name, value) in [("A", "sk-1"), ("B", "sk-2"), ("C", "sk-3"), ("E", "sk-4")] {
            assert_eq!(dotenv.variable(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(dotenv.variable("D"), None);
        assert_eq!(dotenv.variable("F"), None);
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_without_what_it_holds() {
        let (dotenv, said) = parsed("A=1\n\n# fine\nhunter2 hunter2\nB=2\nC=\"3\n4\nhunter2");
        assert!(said.contains("x/.env:4:1"), "{said}");
        assert!(said.contains("x/.env:6:1"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(dotenv.variable("B").as_deref(), Some("2"));
    }
}
