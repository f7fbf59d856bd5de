//! `graygate validate`: every mistake in scenario and router files.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit;
use crate::cli::output::{data, say};
use crate::config::diagnostic::{Diagnostics, Problems};
use crate::config::node::{Node, Value};
use crate::config::yaml;
use crate::scenario::compile;
use crate::scenario::load::Loader;

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Scenario or router files
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &ValidateArgs) -> u8 {
    let codes: Vec<u8> = args.paths.iter().map(|path| one(path)).collect();
    exit::worst(codes)
}

fn one(path: &Path) -> u8 {
    let found = match is_router_file(path) {
        true => router(path),
        false => compile::file(path).map(|(_, warnings)| warnings),
    };
    let (problems, is_valid) = match found {
        Ok(warnings) => (warnings, true),
        Err(mistakes) => (mistakes, false),
    };
    if !problems.list.is_empty() {
        say(problems.in_full().trim_end());
        say("");
    }
    let name = path.display();
    if is_valid {
        let note = match problems.list.len() {
            0 => String::new(),
            n => format!(" ({n} warnings)"),
        };
        data(&format!("{name}: valid{note}\n"));
        return exit::PASS;
    }
    data(&format!("{name}: {} errors\n", problems.errors()));
    exit::USAGE
}

/// A router file has versions and no traffic.
fn is_router_file(path: &Path) -> bool {
    let node = Loader::default()
        .yaml(path)
        .and_then(|source| yaml::parse(&source));
    let Ok(Node {
        value: Value::Map(entries),
        ..
    }) = node
    else {
        return false;
    };
    let has = |key: &str| entries.iter().any(|e| e.key == key);
    has("versions") && !has("traffic")
}

fn router(path: &Path) -> Result<Diagnostics, Diagnostics> {
    let problems = Problems::default();
    let config = compile::router_from_file(&problems, path, &Loader::default());
    let is_valid = config.is_some() && !problems.has_errors();
    let found = problems.into_diagnostics();
    if is_valid { Ok(found) } else { Err(found) }
}
