//! YAML text to a tree of nodes, within budgets: no file can eat the memory or the stack.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::config::diagnostic::{Diagnostic, Source};
use crate::config::node::{Entry, Node, Place, Value};

/// Longest text, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most nodes, repetitions by aliases included.
pub const MAX_NODES: usize = 20_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Most memory of all nodes with their texts, copies for aliases included, in bytes.
const MAX_MEMORY: usize = 4 << 20;

/// Parses the one document of a file.
///
/// # Errors
/// When the text is no YAML, holds no or several documents, repeats a key, uses tags or merge keys,
/// or exceeds a budget.
pub fn parse(source: &Source) -> Result<Node, Diagnostic> {
    if source.text.len() > MAX_BYTES {
        return Err(too_much(source, "larger than 1 MiB"));
    }
    let mut builder = Builder {
        source,
        nodes: 0,
        memory: 0,
        anchors: BTreeMap::new(),
        stack: Vec::new(),
        root: None,
    };
    for event in Parser::new_from_str(&source.text) {
        let (event, span) = event.map_err(|e| syntax_error(source, &e))?;
        builder.event(event, span)?;
    }
    builder
        .root
        .ok_or_else(|| Diagnostic::file(&source.name, "the file is empty"))
}

fn too_much(source: &Source, what: &str) -> Diagnostic {
    Diagnostic::file(&source.name, format!("the file is {what}")).expected(format!(
        "at most 1 MiB, {MAX_NODES} values and 4 MiB with its aliases followed, {MAX_DEPTH} levels"
    ))
}

fn syntax_error(source: &Source, error: &ScanError) -> Diagnostic {
    let marker = error.marker();
    let place = Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
        width: 1,
    };
    if let Some(unquoted) = unquoted_comparison(source, place.line) {
        return unquoted;
    }
    let is_too_deep = error.info().contains("recursion limit");
    if is_too_deep {
        return too_much(source, "nested too deeply");
    }
    Diagnostic::at(source, place, format!("not valid YAML: {}", error.info()))
}

/// `success: >= 99.9%` starts a folded text in YAML. The parser stumbles there or later, and says so
/// in words that help nobody.
fn unquoted_comparison(source: &Source, last: usize) -> Option<Diagnostic> {
    let lines = source.text.lines().enumerate().take(last);
    let (index, at, line) = lines
        .filter_map(|(index, line)| Some((index, line.find(": >")? + 2, line)))
        .last()?;
    let bare = line[at..].split([',', '}']).next()?.trim();
    let is_comparison = bare
        .trim_start_matches(['>', '=', ' '])
        .starts_with(|c: char| c.is_ascii_digit());
    let place = Place {
        line: index + 1,
        column: line[..at].chars().count() + 1,
        width: bare.chars().count(),
    };
    is_comparison.then(|| unquoted(source, place, bare))
}

fn unquoted(source: &Source, place: Place, bare: &str) -> Diagnostic {
    let message = format!("the comparison `{bare}` is not quoted");
    Diagnostic::at(source, place, message)
        .expected(format!("\"{bare}\""))
        .hint("a bare `>` starts a folded text in YAML: put comparisons into quotes")
}

struct Builder<'s> {
    source: &'s Source,
    nodes: usize,
    memory: usize,
    anchors: BTreeMap<usize, Node>,
    stack: Vec<Open>,
    root: Option<Node>,
}

/// A list or mapping that is not complete yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
    },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let place = place(span);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(self
                .error(place, "a second document starts here")
                .expected("one document a file")),
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err(self.error(place, "tags (`!…`) mean nothing here"));
                }
                self.spend(Size::of_scalar(&text))?;
                let is_plain = style == ScalarStyle::Plain;
                if is_plain && text.starts_with('>') {
                    // This parser lets it pass inside braces; other YAML tools do not.
                    return Err(unquoted(self.source, place, &text));
                }
                let value = match text.as_ref() {
                    "" | "~" | "null" if is_plain => Value::Null,
                    _ => Value::Scalar(text.into_owned()),
                };
                self.complete(Node { place, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let (entries, key) = (Vec::new(), None);
                self.open(place, anchor, Content::Map { entries, key })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(self.error(place, "this alias contains itself"));
                };
                // Paid for before it is copied: a copy may be a megabyte.
                self.spend(Size::of(node))?;
                let copy = self.anchors.get(&anchor).cloned();
                copy.map_or(Ok(()), |copy| self.complete(copy, 0))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn error(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.source, place, message)
    }

    fn spend(&mut self, size: Size) -> Result<(), Diagnostic> {
        self.nodes += size.nodes;
        self.memory += size.memory;
        if self.nodes > MAX_NODES || self.memory > MAX_MEMORY {
            return Err(too_much(
                self.source,
                "too large once its aliases are followed",
            ));
        }
        Ok(())
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Diagnostic> {
        self.spend(Size::of_scalar(""))?;
        if self.stack.len() == MAX_DEPTH {
            return Err(too_much(self.source, "nested too deeply"));
        }
        self.stack.push(Open {
            place,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let place = open.place;
        self.complete(Node { place, value }, open.anchor)
    }

    /// Puts a complete node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostic> {
        if anchor != 0 {
            // The copy that is kept takes memory, but is no value of the file. Anchors within
            // anchors keep one a level.
            let nodes = 0;
            self.spend(Size {
                nodes,
                ..Size::of(&node)
            })?;
            self.anchors.insert(anchor, node.clone());
        }
        let source = self.source;
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((key, place)) => entries.push(Entry {
                    key,
                    place,
                    value: node,
                }),
                None => *key = Some(map_key(source, entries, node)?),
            },
        }
        Ok(())
    }
}

fn map_key(source: &Source, entries: &[Entry], node: Node) -> Result<(String, Place), Diagnostic> {
    let Value::Scalar(key) = node.value else {
        let message = "a key must be a plain word";
        return Err(Diagnostic::at(source, node.place, message));
    };
    if key == "<<" {
        let message = "merge keys (`<<`) are not supported";
        return Err(Diagnostic::at(source, node.place, message));
    }
    if let Some(first) = entries.iter().find(|e| e.key == key) {
        let message = format!("the key `{key}` stands here twice");
        let hint = format!("it stands on line {} already", first.place.line);
        return Err(Diagnostic::at(source, node.place, message).hint(hint));
    }
    Ok((key, node.place))
}

/// What a node costs.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    memory: usize,
}

impl Size {
    fn of_scalar(text: &str) -> Self {
        Self {
            nodes: 1,
            memory: size_of::<Node>() + text.len(),
        }
    }

    fn of(node: &Node) -> Self {
        let sum = |own: Self, part: Self| Self {
            nodes: own.nodes + part.nodes,
            memory: own.memory + part.memory,
        };
        let own = Self::of_scalar("");
        match &node.value {
            Value::Null => own,
            Value::Scalar(text) => Self::of_scalar(text),
            Value::List(items) => items.iter().map(Self::of).fold(own, sum),
            Value::Map(entries) => entries
                .iter()
                .flat_map(|e| [Self::of_scalar(&e.key), Self::of(&e.value)])
                .fold(own, sum),
        }
    }
}

fn place(span: Span) -> Place {
    let is_one_line = span.start.line() == span.end.line();
    let width = if is_one_line {
        span.end.col().saturating_sub(span.start.col())
    } else {
        1
    };
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
        width: width.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Node, Diagnostic> {
        parse(&Source::new("t.yaml", text))
    }

    #[test]
    fn values_know_their_place() {
        let node = parsed("a: 1\nb: [x, \"y z\"]\nc:\n").unwrap();
        let Value::Map(entries) = node.value else {
            panic!("not a map")
        };
        assert_eq!(entries[1].place.line, 2);
        let Value::List(items) = &entries[1].value.value else {
            panic!("not a list")
        };
        assert_eq!(items[1].value, Value::Scalar("y z".to_owned()));
        assert_eq!((items[1].place.column, items[1].place.width), (8, 5));
        assert_eq!(entries[2].value.value, Value::Null);
    }

    #[test]
    fn what_is_refused_says_why() {
        let cases = [
            ("", "the file is empty"),
            ("a: 1\na: 2", "twice"),
            ("a: !!str 1", "tags"),
            ("a: &x 1\nb: *y", "not valid YAML"),
            ("a: &x [*x]", "contains itself"),
            ("a: 1\n---\nb: 2", "second document"),
            ("? [a]\n: 1", "plain word"),
            ("b: &b {x: 1}\na:\n  <<: *b", "merge keys"),
            ("a: [1", "not valid YAML"),
        ];
        for (text, expected) in cases {
            let message = parsed(text).unwrap_err().message;
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn an_unquoted_comparison_is_explained() {
        for text in [
            "expect:\n  - requests: {success: >= 99.9%, p99: \"< 1s\"}\n",
            "requests:\n  success: >= 99.9%\n  p99: 3\n",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.message.contains("`>= 99.9%` is not quoted"),
                "{error}"
            );
            assert_eq!(error.expected.as_deref(), Some("\">= 99.9%\""));
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let previous = format!("*a{}, ", i - 1).repeat(10);
            text += &format!("a{i}: &a{i} [{}]\n", previous.trim_end_matches(", "));
        }
        let error = parsed(&text).unwrap_err();
        assert!(error.message.contains("too large"), "{error}");
    }

    /// Long texts instead of many values: every copy would be half a megabyte.
    #[test]
    fn a_bomb_of_long_texts_does_not_go_off() {
        let long = "x".repeat(MAX_BYTES / 2);
        let text = format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(19_000));
        let error = parsed(&text).unwrap_err();
        assert!(error.message.contains("too large"), "{error}");
        let nested = format!("{}{long}{}", "[&x [".repeat(30), "]]".repeat(30));
        let nested = (0..30).fold(nested, |text, i| text.replacen("&x", &format!("&x{i}"), 1));
        let error = parsed(&nested).unwrap_err();
        assert!(error.message.contains("too large"), "{error}");
        let twice = format!("a: &a {long}\nb: *a\n");
        assert!(parsed(&twice).is_ok(), "a few copies are no bomb");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        for deep in ["[".repeat(50_000), "a: ".repeat(5), "{a: ".repeat(50_000)] {
            let _ = parsed(&deep);
        }
        let nested = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        assert!(parsed(&nested).unwrap_err().message.contains("too deeply"));
        let large = "x".repeat(MAX_BYTES + 1);
        assert!(parsed(&large).unwrap_err().message.contains("1 MiB"));
        let many = format!("[{}]", "1,".repeat(MAX_NODES));
        assert!(parsed(&many).unwrap_err().message.contains("too large"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[ -~\n\t&*{}\\[\\]:>|#!'\"-]{0,200}") {
            let _ = parsed(&text);
        }
    }
}
