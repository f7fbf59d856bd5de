//! `graygate admin`: looks at a gateway's release, and changes it, by its admin API.

mod client;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::cli::admin::client::{Ask, Client, Told, Trouble};
use crate::cli::output::{data, error};
use crate::cli::serve::admin as serve_admin;
use crate::cli::{env, exit};

/// Largest router file that is sent.
const MAX_FILE: u64 = 1 << 20;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    refused: another change came first, it is not allowed now, the token is wrong
  2    wrong usage, or a configuration with mistakes
  5    the gateway cannot be reached

The token is in the environment variable GRAYGATE_ADMIN_TOKEN.";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct AdminArgs {
    /// The gateway's admin API
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8081"
    )]
    url: String,
    /// Change nothing unless the revision is still this one
    #[arg(long, global = true, value_name = "N")]
    revision: Option<u64>,
    /// How answers are written to stdout
    #[arg(long, global = true, value_enum, default_value = "pretty")]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Pretty,
    /// As the admin API gives them
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Where the release stands
    Status,
    /// Show the weights, or set them: v1=90 v2=10
    Weights {
        /// A weight for every version
        #[arg(value_name = "VERSION=WEIGHT", value_parser = weight)]
        weights: Vec<(String, f64)>,
    },
    /// The whole configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Go to the next step, whatever the judge says
    Promote,
    /// Stand still at the present step
    Pause,
    /// Go on, or begin
    Resume,
    /// End the release: close the canary for good
    Abort(Why),
    /// Close the canary for good
    Rollback(Why),
    /// The same, provided there is a checkpoint to go back to
    InstantRollback(Why),
    /// List the checkpoints, make one, go back to one
    Checkpoints {
        #[command(subcommand)]
        command: Option<CheckpointCommand>,
    },
    /// What happened to the release, newest first
    History(Limit),
    /// The records of rollbacks, newest first
    Rollbacks(Limit),
    /// Requests, shares, fallbacks, outcomes, the judge's evidence
    Stats,
    /// The last 50 errors
    Errors,
}

#[derive(Debug, Args)]
struct Why {
    /// Why, in your words: it stands in the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct Limit {
    /// How many to show
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the configuration in force
    Get,
    /// Apply a router file: a new release, from its first step on
    Put {
        /// The router file
        file: PathBuf,
        /// Even if it is the one that was rolled back last
        #[arg(long)]
        again: bool,
    },
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Keep the present configuration
    Create {
        /// Its name
        name: Option<String>,
    },
    /// Apply a checkpoint's configuration
    Restore {
        /// The checkpoint's id, like cp-1
        id: String,
    },
}

fn weight(text: &str) -> Result<(String, f64), String> {
    let expected = "expected VERSION=WEIGHT, like v2=10";
    let (name, weight) = text.split_once('=').ok_or(expected)?;
    let weight: f64 = weight.parse().map_err(|_| expected)?;
    let is_weight = weight.is_finite() && weight >= 0.0 && !name.is_empty();
    let wrong = || "a weight is a number that is not negative".to_owned();
    is_weight
        .then(|| (name.to_owned(), weight))
        .ok_or_else(wrong)
}

pub(super) fn run(args: &AdminArgs) -> u8 {
    match answer(args) {
        Ok(Told { value, text }) => {
            data(&match args.format {
                // The order of its versions means something, and it is to be put again.
                _ if value.get("config").is_some() => format!("{text}\n"),
                Format::Json => format!("{value:#}\n"),
                Format::Pretty => show::pretty(&value),
            });
            exit::PASS
        }
        Err(trouble) => {
            error(&trouble);
            match trouble {
                Trouble::Usage(_) => exit::USAGE,
                Trouble::Unreachable(_) => exit::BROKEN,
                Trouble::Refused { code, .. } if code == "invalid_config" => exit::USAGE,
                Trouble::Refused { .. } => exit::FAIL,
            }
        }
    }
}

fn answer(args: &AdminArgs) -> Result<Told, Trouble> {
    let ask = ask(&args.command)?;
    let token = env::variable(serve_admin::TOKEN);
    Client::new(&args.url, token)?.ask(&ask, args.revision)
}

/// What a command asks of the API.
fn ask(command: &Command) -> Result<Ask, Trouble> {
    let deployment = |what: &str| format!("/v1/deployment/{what}");
    Ok(match command {
        Command::Status => Ask::get("/v1/deployment"),
        Command::Weights { weights } if weights.is_empty() => Ask::get("/v1/routing/config"),
        Command::Weights { weights } => {
            let map: Map<String, Value> = weights
                .iter()
                .map(|(name, weight)| (name.clone(), json!(weight)))
                .collect();
            Ask::post("/v1/routing/config", json!({ "weights": map }))
        }
        Command::Config(ConfigCommand::Get) => Ask::get(deployment("config")),
        Command::Config(ConfigCommand::Put { file, again }) => {
            Ask::put(deployment(&format!("config?again={again}")), read(file)?)
        }
        Command::Promote => Ask::post(deployment("promote"), json!({})),
        Command::Pause => Ask::post(deployment("pause"), json!({})),
        Command::Resume => Ask::post(deployment("resume"), json!({})),
        Command::Abort(why) => Ask::post(deployment("abort"), why.body()),
        Command::Rollback(why) => Ask::post(deployment("rollback"), why.body()),
        Command::InstantRollback(why) => Ask::post(deployment("instant-rollback"), why.body()),
        Command::Checkpoints { command } => checkpoints(command.as_ref())?,
        Command::History(Limit { limit }) => {
            Ask::get(deployment(&format!("history?limit={limit}")))
        }
        Command::Rollbacks(Limit { limit }) => {
            Ask::get(deployment(&format!("rollbacks?limit={limit}")))
        }
        Command::Stats => Ask::get("/v1/stats"),
        Command::Errors => Ask::get("/v1/errors"),
    })
}

fn checkpoints(command: Option<&CheckpointCommand>) -> Result<Ask, Trouble> {
    let path = "/v1/deployment/checkpoints";
    Ok(match command {
        None => Ask::get(path),
        Some(CheckpointCommand::Create { name }) => Ask::post(path, json!({ "name": name })),
        Some(CheckpointCommand::Restore { id }) => {
            let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if id.is_empty() || !id.chars().all(is_fine) {
                let message = format!("`{id}` is no checkpoint's id: they look like cp-1");
                return Err(Trouble::Usage(message));
            }
            Ask::post(format!("{path}/{id}/restore"), json!({}))
        }
    })
}

impl Why {
    fn body(&self) -> Value {
        json!({ "reason": self.reason })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    let trouble = |why: &dyn std::fmt::Display| {
        Trouble::Usage(format!("cannot read {}: {why}", file.display()))
    };
    let meta = std::fs::metadata(file).map_err(|e| trouble(&e))?;
    if meta.len() > MAX_FILE {
        return Err(trouble(&"it is larger than 1 MiB"));
    }
    std::fs::read(file).map_err(|e| trouble(&e))
}
