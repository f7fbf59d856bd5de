//! Reading mappings: each key is asked for once, and what nobody asked for is a mistake.

use std::cell::RefCell;

use crate::config::diagnostic::{Diagnostic, Problems, Source};
use crate::config::node::{Entry, Node, Place, Value};

/// Where a reader is: the file, and where mistakes go.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    /// The file.
    pub source: &'a Source,
    /// Where mistakes go.
    pub problems: &'a Problems,
}

impl<'a> Cx<'a> {
    /// Reports an error at a place and gives none, for `return cx.error(…)`.
    pub fn error<T>(&self, diagnostic: Diagnostic) -> Option<T> {
        self.problems.add(diagnostic);
        None
    }

    /// A diagnostic at a place of the file.
    pub fn at(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        if self.problems.is_full() {
            // It will only be counted: its line need not be looked for.
            return Diagnostic::file("", "");
        }
        Diagnostic::at(self.source, place, message)
    }

    /// Reports that a value has the wrong form.
    pub fn wrong<T>(&self, node: &Node, what: &str, expected: &str) -> Option<T> {
        let message = format!("{} is not {what}", node.describe());
        self.error(self.at(node.place, message).expected(expected))
    }

    /// The text of a single value.
    pub fn text<'n>(&self, node: &'n Node, what: &str, expected: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            _ => self.wrong(node, what, expected),
        }
    }

    /// The items of a list.
    pub fn list<'n>(&self, node: &'n Node, expected: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.wrong(node, "a list", expected),
        }
    }

    /// The keys of a mapping, to be read one by one. `what` names the mapping in messages.
    pub fn fields<'n>(&self, node: &'n Node, what: &'static str) -> Option<Fields<'a, 'n>> {
        match &node.value {
            Value::Map(entries) => Some(Fields {
                cx: *self,
                what,
                place: node.place,
                entries,
                known: RefCell::new(Vec::new()),
            }),
            _ => self.wrong(node, &format!("a mapping ({what})"), "key: value"),
        }
    }

    /// A mapping without keys, for a value that may be left out.
    pub fn no_fields<'n>(&self, node: &'n Node, what: &'static str) -> Fields<'a, 'n> {
        Fields {
            cx: *self,
            what,
            place: node.place,
            entries: &[],
            known: RefCell::new(Vec::new()),
        }
    }

    /// A mapping with exactly one key, as written for choices: `{poisson: 50/s}`. `choices` are the
    /// keys that exist.
    pub fn choice<'n>(&self, node: &'n Node, what: &str, choices: &[&str]) -> Option<&'n Entry> {
        let expected = format!("{{key: value}} with one of {}", listed(choices));
        let Value::Map(entries) = &node.value else {
            return self.wrong(node, what, &expected);
        };
        let [entry] = entries.as_slice() else {
            let message = format!("{what} has {} keys", entries.len());
            return self.error(self.at(node.place, message).expected(expected));
        };
        if choices.contains(&entry.key.as_str()) {
            return Some(entry);
        }
        self.error(unknown(*self, entry, what, choices))
    }
}

/// The fields of a mapping.
pub struct Fields<'a, 'n> {
    cx: Cx<'a>,
    what: &'static str,
    place: Place,
    entries: &'n [Entry],
    known: RefCell<Vec<String>>,
}

impl<'a, 'n> Fields<'a, 'n> {
    /// Reports a mistake about the mapping as a whole.
    pub fn complain(&self, message: &str, expected: &str) {
        let diagnostic = self.cx.at(self.place(), message).expected(expected);
        self.cx.problems.add(diagnostic);
    }

    /// Where the mapping starts.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Reads a key that may be missing. None when it is missing or wrong (which is then reported).
    pub fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Cx<'a>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        read(self.cx, self.node(key)?)
    }

    /// Reads a key that must be there. None when it is missing or wrong (which is then reported).
    pub fn required<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Cx<'a>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        match self.node(key) {
            Some(node) => read(self.cx, node),
            None => {
                let message = format!("`{key}` is missing in {}", self.what);
                let diagnostic = self.cx.at(self.place, message);
                self.cx
                    .error(diagnostic.expected(format!("{key}: {expected}")))
            }
        }
    }

    /// The value of a key, noted as asked for.
    pub fn node(&self, key: &'static str) -> Option<&'n Node> {
        let mut known = self.known.borrow_mut();
        if !known.iter().any(|k| k == key) {
            known.push(key.to_owned());
        }
        self.entries.iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// Reads every key that nobody asked for so far and that `is_mine`, noted as asked for: keys
    /// that are names, like versions, or have many forms, like quantiles.
    pub fn take_others(&self, is_mine: impl Fn(&str) -> bool) -> Vec<&'n Entry> {
        let mut known = self.known.borrow_mut();
        let others = self.entries.iter().filter(|e| !known.contains(&e.key));
        let mine: Vec<&Entry> = others.filter(|e| is_mine(&e.key)).collect();
        known.extend(mine.iter().map(|e| e.key.clone()));
        mine
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        self.finish_with(&[]);
    }

    /// Reports every key that nobody asked for, where `more` would have been known too.
    pub fn finish_with(self, more: &[&str]) {
        let known = self.known.borrow();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let new = more.iter().filter(|word| !known.contains(word));
        let all: Vec<&str> = known.iter().chain(new).copied().collect();
        for entry in self.entries {
            if !known.contains(&entry.key.as_str()) {
                self.cx
                    .problems
                    .add(unknown(self.cx, entry, self.what, &all));
            }
        }
    }
}

fn unknown(cx: Cx<'_>, entry: &Entry, what: &str, known: &[&str]) -> Diagnostic {
    let message = format!("unknown key `{}` in {what}", head(&entry.key));
    let diagnostic = cx
        .at(entry.place, message)
        .expected(format!("one of {}", listed(known)));
    match closest(&entry.key, known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// Longest word that is compared with known ones: comparing takes the product of both lengths, and
/// nobody misspells a word at such length.
const LONGEST_MISSPELT: usize = 64;

/// The known word that somebody who wrote `word` most likely meant.
pub fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > LONGEST_MISSPELT {
        return None;
    }
    let distance = |k: &&&str| strsim::damerau_levenshtein(&word.to_lowercase(), k);
    let known = known.iter().filter(|k| k.len() <= LONGEST_MISSPELT);
    let near = known.min_by_key(distance)?;
    let length = near.chars().count();
    // Of a name of two letters, one wrong letter leaves nothing to recognise.
    let is_near = length > 2 && distance(&near) <= 1 + length / 4;
    is_near.then_some(*near)
}

/// The beginning of a word that a file may make as long as it likes.
pub fn head(word: &str) -> String {
    word.chars().take(60).collect()
}

/// `a`, `b`, `c` in code quotes.
pub fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{values, yaml};

    fn mistakes(text: &str, read: impl FnOnce(Cx<'_>, &Node)) -> Vec<String> {
        let source = Source::new("t.yaml", text);
        let problems = Problems::default();
        let cx = Cx {
            source: &source,
            problems: &problems,
        };
        read(cx, &yaml::parse(&source).unwrap());
        let all = problems.into_diagnostics().list;
        all.into_iter()
            .map(|d| format!("{} | {}", d.message, d.hint.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn every_mistake_of_a_mapping_is_reported_at_once() {
        let found = mistakes("sede: 7\nname: [1]\n", |cx, node| {
            let fields = cx.fields(node, "a scenario").unwrap();
            fields.required("name", "text", values::text);
            fields.required("traffic", "{…}", values::text);
            fields.optional("seed", values::count);
            fields.node("seed");
            fields.finish();
        });
        assert_eq!(
            found,
            [
                "`traffic` is missing in a scenario | ",
                "unknown key `sede` in a scenario | did you mean `seed`?",
                "a list is not a text | ",
            ]
        );
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["unauthorized", "timeout", "seed"];
        assert_eq!(closest("unauthorised", &known), Some("unauthorized"));
        assert_eq!(closest("Timeout", &known), Some("timeout"));
        assert_eq!(closest("banana", &known), None);
        let long = "unauthorized".repeat(10);
        assert_eq!(closest(&long, &[&long]), None, "not even looked for");
    }

    #[test]
    fn a_choice_has_exactly_one_known_key() {
        for (text, expected) in [
            ("{a: 1, b: 2}", "arrivals has 2 keys"),
            ("{posson: 1}", "unknown key `posson` in arrivals"),
            ("x", "`x` is not arrivals"),
        ] {
            let found = mistakes(text, |cx, node| {
                cx.choice(node, "arrivals", &["poisson", "constant"]);
            });
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
