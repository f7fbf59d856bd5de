//! The API's answers for people.

use serde_json::Value;

use crate::pricing::Cost;
use crate::time::{Human, seconds};

/// An answer as people read it. Which one it is shows in its members.
pub(super) fn pretty(answer: &Value) -> String {
    let lists: [(&str, Columns); 4] = [
        ("checkpoints", CHECKPOINTS),
        ("history", HISTORY),
        ("rollbacks", ROLLBACKS),
        ("errors", ERRORS),
    ];
    for (name, columns) in lists {
        if let Some(rows) = answer[name].as_array() {
            return list(rows, columns);
        }
    }
    if answer.get("versions").is_some() {
        return stats(answer);
    }
    if answer.get("shares").is_some() {
        return weights(answer);
    }
    if answer.get("phase").is_some() {
        return release(answer);
    }
    list(std::slice::from_ref(answer), CHECKPOINTS)
}

/// Headings, each with the member that stands below it.
type Columns = &'static [(&'static str, &'static str)];

const CHECKPOINTS: Columns = &[
    ("ID", "id"),
    ("KIND", "kind"),
    ("CREATED", "created_at"),
    ("CANARY", "canary_share"),
    ("ROLLED BACK", "rolled_back"),
    ("INTACT", "intact"),
    ("NAME", "name"),
];
const HISTORY: Columns = &[
    ("REVISION", "revision"),
    ("AT", "at"),
    ("WHAT", "kind"),
    ("DETAIL", "detail"),
];
const ROLLBACKS: Columns = &[
    ("ID", "id"),
    ("AT", "at"),
    ("FROM", "from"),
    ("TO", "to"),
    ("REASON", "reason"),
    ("WORDS", "words"),
    ("AFFECTED", "affected_requests"),
    ("RESTORED", "restored"),
    ("TOLD", "told"),
];
const ERRORS: Columns = &[
    ("AT", "at"),
    ("REQUEST", "request"),
    ("OF", "of"),
    ("VERSION", "version"),
    ("KIND", "kind"),
    ("OUTCOME", "outcome"),
    ("MS", "latency_ms"),
];

fn list(rows: &[Value], columns: Columns) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let head = columns.iter().map(|(title, _)| (*title).to_owned());
    let mut lines = vec![head.collect::<Vec<_>>()];
    for row in rows {
        let cells = columns.iter().map(|(_, name)| cell(name, &row[*name]));
        lines.push(cells.collect());
    }
    table(&lines)
}

/// A value in a cell; a dash for none.
fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => clean(text),
        Value::Number(_) if name.ends_with("share") => percent(value),
        Value::Number(n) if n.is_f64() => {
            let text = format!("{:.4}", value.as_f64().unwrap_or_default());
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Object(_) if name == "told" => told(value),
        other => other.to_string(),
    }
}

fn told(told: &Value) -> String {
    let sum = |names: [&str; 2]| names.iter().filter_map(|n| told[*n].as_u64()).sum::<u64>();
    let all = sum(["peers", "webhooks"]);
    let reached = sum(["peers_acknowledged", "webhooks_delivered"]);
    match all {
        0 => "-".to_owned(),
        _ => format!("{reached} of {all}"),
    }
}

/// What others wrote, without anything that a terminal would obey.
fn clean(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn percent(share: &Value) -> String {
    match share.as_f64() {
        Some(share) => {
            let text = format!("{:.2}", share * 100.0);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            format!("{text} %")
        }
        None => "-".to_owned(),
    }
}

/// Columns as wide as their widest cell.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths);
        let padded = padded.map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    lines.iter().map(line).collect()
}

fn release(answer: &Value) -> String {
    let text = |name: &str| cell(name, &answer[name]);
    let mut lines = vec![
        ("phase", text("phase")),
        ("revision", text("revision")),
        ("step", step(answer)),
        ("stable", text("stable")),
        (
            "canary",
            format!("{}, gets {}", text("canary"), text("canary_share")),
        ),
        ("weights", pairs(&answer["weights"], |w| w.to_string())),
    ];
    if !answer["canary_closed"].is_null() {
        lines.push(("closed", text("canary_closed")));
    }
    lines.extend(missing(answer));
    lines.push(("sha256", text("sha256")));
    let record = &answer["rollback"];
    if record.is_object() {
        let why = cell("words", &record["words"]);
        let (id, reason) = (cell("id", &record["id"]), cell("reason", &record["reason"]));
        lines.push(("rollback", format!("{id} ({reason}: {why})")));
    }
    if answer["kept"] == false {
        let note = "the record is not written yet: the store is in trouble";
        lines.push(("note", note.to_owned()));
    }
    facts(&lines)
}

/// What the next step of the ramp waits for, a line each.
fn missing(answer: &Value) -> impl Iterator<Item = (&'static str, String)> {
    let all = answer["missing"].as_array().into_iter().flatten();
    all.map(|one| ("missing", cell("", &one["words"])))
}

fn step(answer: &Value) -> String {
    let step = &answer["step"];
    let Some(position) = step["position"].as_u64() else {
        return "no ramp".to_owned();
    };
    let held = seconds(answer["held_s"].as_f64().unwrap_or_default());
    let (of, name) = (&step["of"], cell("name", &step["name"]));
    format!("{} of {of}: {name}, held {}", position + 1, Human(held))
}

fn weights(answer: &Value) -> String {
    let shares = pairs(&answer["shares"], percent);
    let mut lines = vec![
        ("phase", cell("phase", &answer["phase"])),
        ("revision", cell("revision", &answer["revision"])),
        ("weights", pairs(&answer["weights"], |w| w.to_string())),
        ("shares", shares),
        ("canary now", percent(&answer["canary_share"])),
    ];
    if !answer["canary_closed"].is_null() {
        lines.push(("closed", cell("", &answer["canary_closed"])));
    }
    lines.extend(missing(answer));
    facts(&lines)
}

fn pairs(map: &Value, show: impl Fn(&Value) -> String) -> String {
    let pairs = map.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{}={}", clean(name), show(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

fn facts(lines: &[(&str, String)]) -> String {
    let line = |(name, text): &(&str, String)| format!("{name:<11} {text}\n");
    lines.iter().map(line).collect()
}

fn stats(answer: &Value) -> String {
    let requests = &answer["requests"];
    let number = |value: &Value| cell("", value);
    let fallbacks = &answer["fallbacks"];
    let head = facts(&[
        ("since", number(&answer["since"])),
        (
            "requests",
            format!(
                "{} arrived, {} succeeded, {} failed, {} under way",
                number(&requests["arrived"]),
                number(&requests["succeeded"]),
                number(&requests["failed"]),
                number(&requests["in_flight"])
            ),
        ),
        (
            "fallbacks",
            format!(
                "{} tried, {} answered",
                number(&fallbacks["tried"]),
                number(&fallbacks["answered"])
            ),
        ),
        ("retries", number(&answer["retries"])),
    ]);
    let missing = facts(&missing(answer).collect::<Vec<_>>());
    let missing = match missing.is_empty() {
        true => missing,
        false => format!("\n{missing}"),
    };
    let judge = answer["judge"].as_array().map_or(&[][..], Vec::as_slice);
    let judge = match judge {
        [] => String::new(),
        findings => format!("\n{}", list(findings, JUDGE)),
    };
    let held = match answer["held"].as_str() {
        Some(reason) => format!("\nthe judge holds: {}\n", clean(reason)),
        None => String::new(),
    };
    format!(
        "{head}\n{}{held}{missing}{judge}",
        versions(&answer["versions"])
    )
}

const JUDGE: Columns = &[
    ("JUDGED", "version"),
    ("MEASURE", "measure"),
    ("VALUE", "value"),
    ("BOUND", "bound"),
    ("SAMPLES", "samples"),
    ("VIOLATED", "violated"),
];

fn versions(map: &Value) -> String {
    let titles = [
        "VERSION",
        "GIVEN",
        "SHARE",
        "SERVED",
        "COST",
        "OUTCOMES OF ATTEMPTS",
        "DRIFT",
    ];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for (name, version) in map.as_object().into_iter().flatten() {
        lines.push(vec![
            clean(name),
            cell("", &version["assigned"]),
            percent(&version["share"]),
            cell("", &version["served"]),
            cost(&version["cost"]),
            pairs(&version["outcomes"], |n| n.to_string()),
            pairs(&version["drift"], |n| n.to_string()),
        ]);
    }
    table(&lines)
}

fn cost(cost: &Value) -> String {
    let Some(total) = cost["total_nano_usd"].as_u64() else {
        return "-".to_owned();
    };
    match cost["unknown_attempts"].as_u64() {
        Some(unknown @ 1..) => format!("{} and {unknown} unknown", Cost::from_nanos(total)),
        _ => Cost::from_nanos(total).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_wrote_commands_no_terminal() {
        let shown = pretty(&json!({"history": [
            {"revision": 2, "at": null, "kind": "checkpoint", "detail": "a\u{1b}[2Jb"},
        ]}));
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        assert!(shown.starts_with("REVISION  AT  WHAT"), "{shown}");
    }

    #[test]
    fn what_the_next_step_waits_for_is_a_line_each() {
        let missing = json!([{"words": "the ramp is paused"}, {"words": "12 of 271"}]);
        let weights = json!({
            "revision": 2, "phase": "paused", "weights": {"v1": 3}, "shares": {"v1": 1.0},
            "canary_share": 0.3, "canary_closed": null, "missing": missing,
        });
        let shown = pretty(&weights);
        assert!(shown.starts_with("phase       paused\n"), "{shown}");
        assert!(shown.contains("missing     12 of 271\n"), "{shown}");
        let release = json!({"phase": "paused", "missing": missing});
        let shown = pretty(&release);
        assert!(
            shown.contains("missing     the ramp is paused\n"),
            "{shown}"
        );
        let stats = json!({"versions": {}, "missing": missing});
        assert!(pretty(&stats).contains("missing     12 of 271\n"));
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(percent(&json!(0.05)), "5 %");
        assert_eq!(percent(&json!(0.125)), "12.5 %");
        assert_eq!(percent(&json!(1.0)), "100 %");
        assert_eq!(percent(&json!(null)), "-");
    }
}
