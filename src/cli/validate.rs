//! `graygate validate`: every mistake in scenario and router files, and in price tables.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::budgets::{self, Seeds};
use crate::cli::exit;
use crate::cli::files::scenario_files;
use crate::cli::output::{data, error, say};
use crate::cli::signals;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::config::node::{Node, Value};
use crate::config::yaml;
use crate::scenario::compile;
use crate::scenario::load::Loader;

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Scenario files, router files, price tables, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also run scenarios whose rollback has a budget over so many seeds, in virtual time, to see what a correct
    /// router needs [30,000 show the 99.99 % quantile]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: Option<u64>,
    /// With --runs: on so many threads [default: one a core]
    #[arg(long, value_name = "N", requires = "runs", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

pub(super) fn run(args: &ValidateArgs) -> u8 {
    let seeds = args.runs.map(|runs| Seeds {
        runs,
        jobs: args.jobs.map(usize::from),
        cancel: signals::install(),
    });
    let seeds = seeds.as_ref();
    let codes: Vec<u8> = args.paths.iter().map(|path| all(path, seeds)).collect();
    exit::worst(codes)
}

fn all(path: &Path, seeds: Option<&Seeds>) -> u8 {
    match scenario_files(path) {
        Ok(files) if files.is_empty() => {
            let message = "no scenario or router file in this folder (*.yaml, *.yml)";
            error(Diagnostic::file(path.display().to_string(), message));
            exit::USAGE
        }
        Ok(files) => exit::worst(
            files
                .iter()
                .map(|file| one(file, seeds))
                .collect::<Vec<_>>(),
        ),
        Err(problem) => {
            error(&problem);
            exit::USAGE
        }
    }
}

fn one(path: &Path, seeds: Option<&Seeds>) -> u8 {
    let mut scenario = None;
    let found = match kind(path) {
        Kind::Router => {
            checked(|problems, loader| compile::router_from_file(problems, path, loader).is_some())
        }
        Kind::Prices => checked(|problems, loader| {
            compile::price_table_from_file(problems, path, loader).is_some()
        }),
        Kind::Scenario => compile::file(path).map(|(read, warnings)| {
            scenario = Some(read);
            warnings
        }),
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
            1 => " (1 warning)".to_owned(),
            n => format!(" ({n} warnings)"),
        };
        data(&format!("{name}: valid{note}\n"));
        return scenario.map_or(exit::PASS, |scenario| budgets::tell(&scenario, seeds));
    }
    let errors = problems.errors();
    let plural = if errors == 1 { "" } else { "s" };
    data(&format!("{name}: {errors} error{plural}\n"));
    exit::USAGE
}

/// What kind of file it is.
enum Kind {
    Scenario,
    Router,
    Prices,
}

/// A router file has versions and no traffic; a price table has prices alone.
fn kind(path: &Path) -> Kind {
    let node = Loader::default()
        .yaml(path)
        .and_then(|source| yaml::parse(&source));
    let Ok(Node {
        value: Value::Map(entries),
        ..
    }) = node
    else {
        return Kind::Scenario;
    };
    let has = |key: &str| entries.iter().any(|e| e.key == key);
    match (has("versions"), has("prices")) {
        _ if has("traffic") => Kind::Scenario,
        (true, _) => Kind::Router,
        (false, true) => Kind::Prices,
        (false, false) => Kind::Scenario,
    }
}

fn checked(read: impl FnOnce(&Problems, &Loader) -> bool) -> Result<Diagnostics, Diagnostics> {
    let problems = Problems::default();
    let is_read = read(&problems, &Loader::default());
    let is_valid = is_read && !problems.has_errors();
    let found = problems.into_diagnostics();
    if is_valid { Ok(found) } else { Err(found) }
}
