//! A log of made-up traffic, as `graygate generate` asks for it on the command line.

use std::io::{self, Write};
use std::path::Path;

use crate::config::diagnostic::{Diagnostics, Problems};
use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::id::Seed;
use crate::rng::distribution::Distribution;
use crate::scenario::arrivals;
use crate::scenario::conversion::lines::{Lines, Written};
use crate::scenario::distributions::{self, Files, Kind};
use crate::scenario::load::Loader;
use crate::scenario::replay::{argument, value};
use crate::traffic::arrivals::Stage;
use crate::traffic::format::MAX_TOKENS;
use crate::traffic::format::write::Writer;
use crate::traffic::generated::{Generated, Pattern};
use crate::verdict::result::grouped;

/// What `graygate generate` was asked for.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// The option that says when requests arrive, and what it says, as in a scenario's traffic.
    pub arrivals: (&'static str, String),
    /// `--input-tokens`: a distribution, or a number.
    pub input_tokens: String,
    /// `--output-tokens`: a distribution, or a number.
    pub output_tokens: String,
    /// The seed.
    pub seed: Seed,
}

/// Reads what was asked for.
///
/// # Errors
/// All mistakes of the arguments.
pub fn compile(request: &GenerateRequest) -> Result<Pattern, Diagnostics> {
    let problems = Problems::default();
    let (name, text) = &request.arrivals;
    let stages = argument(name, text, &problems, stages);
    let input = tokens("--input-tokens", &request.input_tokens, &problems);
    let output = tokens("--output-tokens", &request.output_tokens, &problems);
    let pattern = stages.zip(input).zip(output);
    match pattern {
        Some(((stages, input_tokens), output_tokens)) if !problems.has_errors() => Ok(Pattern {
            stages,
            input_tokens,
            output_tokens,
            seed: request.seed,
        }),
        _ => Err(problems.into_diagnostics()),
    }
}

fn stages(cx: Cx<'_>, node: &Node) -> Option<Vec<Stage>> {
    arrivals::read_open(cx, node)
}

fn tokens(name: &'static str, text: &str, problems: &Problems) -> Option<Distribution> {
    let loader = Loader::default();
    // What an argument names is where graygate was started.
    let files = Files {
        from: Path::new(""),
        loader: &loader,
    };
    value(name, text, problems, |cx, node| {
        let tokens = distributions::read(cx, node, Kind::Tokens, files)?;
        is_bearable(cx, node, &tokens).then_some(tokens)
    })
}

/// A middle above the longest that any log may have would be cut there without a word. (Rare long ones still are.)
fn is_bearable(cx: Cx<'_>, node: &Node, tokens: &Distribution) -> bool {
    let most = MAX_TOKENS;
    let is_short = tokens.mean() <= f64::from(most);
    if !is_short {
        let message = format!(
            "that is more than the {} tokens that are replayed",
            grouped(most.into())
        );
        let expected = format!("a mean of up to {most}");
        let _: Option<()> = cx.error(cx.at(node.place, message).expected(expected));
    }
    is_short
}

/// Writes so many records, or fewer where the arrivals end before.
///
/// # Errors
/// When writing fails.
pub fn generate(
    pattern: Pattern,
    rows: u64,
    writer: &'static Writer,
    output: &mut dyn Write,
) -> io::Result<Written> {
    let mut lines = Lines::begin(writer, output)?;
    for (number, record) in (1..=rows).zip(Generated::new(pattern)) {
        lines.record(record, number)?;
    }
    lines.finish()
}
