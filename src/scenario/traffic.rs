//! `traffic`: what is sent, and when.

use std::path::Path;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Cx;
use crate::config::node::{Node, Place};
use crate::config::values;
use crate::experiment::Traffic;
use crate::observe::meta::LogMeta;
use crate::scenario::load::{Loader, beside, named_here};
use crate::scenario::{arrivals, callers, forced, recorded};
use crate::traffic::arrivals::Arrivals;
use crate::traffic::body::{Bodies, Template};
use crate::traffic::format::lines::{Line, Lines};
use crate::traffic::synthetic::SyntheticConfig;
use crate::traffic::users::Users;

/// Largest file of prompts.
const MAX_PROMPTS_BYTES: usize = 64 << 20;

/// Traffic as a scenario describes it.
#[derive(Clone, Debug)]
pub struct TrafficSpec {
    /// When and by whom.
    pub traffic: Traffic,
    /// What is asked.
    pub templates: Vec<Template>,
    /// Where recorded traffic came from.
    pub log: Option<LogMeta>,
}

/// How long the scenario says requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// For so long; none when it is not said, or said wrongly.
    pub duration: Option<Duration>,
    /// Is anything said, even if wrongly?
    pub is_given: bool,
}

/// Reads `traffic` for versions of these names. None means that mistakes were reported.
pub fn read(
    cx: Cx<'_>,
    node: &Node,
    length: Length,
    names: &[String],
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let entry = cx.choice(node, "traffic", &["synthetic", "replay"])?;
    match entry.key.as_str() {
        "synthetic" => synthetic(cx, &entry.value, length, names, file, loader),
        _ => recorded::replay(cx, &entry.value, length.duration, file, loader),
    }
}

fn synthetic(
    cx: Cx<'_>,
    node: &Node,
    length: Length,
    names: &[String],
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let fields = cx.fields(node, "synthetic traffic")?;
    let arrivals = fields.required("arrivals", "{poisson: 50/s}", arrivals::read);
    let requests = fields.optional("requests", values::positive);
    let prompts = fields.optional("prompts", |cx, n| prompts(cx, n, file, loader));
    let users = fields.optional("users", callers::users);
    let tenants = fields.optional("tenants", callers::tenants);
    let cancel = fields.optional("cancel", callers::cancel);
    let forced = fields.optional("forced", |cx, n| forced::read(cx, n, names));
    let stream = fields.optional("stream", values::share);
    let arrivals_at = fields.node("arrivals").map_or(node.place, |n| n.place);
    fields.finish();
    let stages_end = arrivals.as_ref().and_then(Arrivals::length);
    if !length.is_given && requests.is_none() && stages_end.is_none() {
        let message = "nothing ends the traffic";
        let expected = "duration: 10m at the top of the scenario, requests: 1000 here, or stages that all have a length";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let users = Users {
        tenants: tenants.unwrap_or_default(),
        ..users.unwrap_or_default()
    };
    if matches!(arrivals, Some(Arrivals::Sessions(_))) && users.count.is_none() {
        let message = "a session is one user's, and there are no users";
        return cx.error(cx.at(arrivals_at, message).expected("users: {count: 500}"));
    }
    let config = SyntheticConfig {
        arrivals: arrivals?,
        duration: length.duration.or(stages_end).unwrap_or(Duration::MAX),
        requests: requests.map(u64::from),
        users,
        stream: stream.unwrap_or(0.0),
        forced: forced.unwrap_or_default(),
        cancel,
    };
    Some(TrafficSpec {
        traffic: Traffic::Synthetic(config),
        templates: prompts.unwrap_or_else(Bodies::built_in),
        log: None,
    })
}

fn prompts(cx: Cx<'_>, node: &Node, file: &Path, loader: &Loader) -> Option<Vec<Template>> {
    let text = cx.text(node, "a path", "the path of a JSON-lines file")?;
    let path = beside(file, text);
    let bytes = match loader.bytes(&path, MAX_PROMPTS_BYTES) {
        Ok(bytes) => bytes,
        Err(unreadable) => return cx.error(named_here(cx, node, unreadable)),
    };
    let name = path.display().to_string();
    let mut lines = Lines::new(&bytes[..]);
    let mut templates = Vec::new();
    let mut is_good = true;
    while let Ok(Some((number, line))) = lines.next_line() {
        let read = match line {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => Template::parse(text).map_err(|why| (why.to_string(), text)),
            Line::TooLong(text) => Err(("the line is longer than 1 MiB".to_owned(), text)),
            Line::NotUtf8 => Err(("the line is not UTF-8 text".to_owned(), "")),
        };
        match read {
            Ok(template) => templates.push(template),
            Err((message, text)) => {
                is_good = false;
                let place = place_of_line(number);
                cx.problems.add(
                    Diagnostic::in_line(&name, place, text, message)
                        .expected("{\"prompt\": \"text\"} or {\"messages\": […]}"),
                );
                if cx.problems.is_full() {
                    // Millions of bad lines are one mistake: the wrong file.
                    break;
                }
            }
        }
    }
    if is_good && templates.is_empty() {
        return cx.error(Diagnostic::file(name, "the file holds no prompt"));
    }
    Some(templates)
}

fn place_of_line(number: u64) -> Place {
    Place {
        line: number as usize,
        column: 1,
        width: 1,
    }
}
