//! What reports say of a gateway that is none of ours: by which key requests and ledgers were put together.

use crate::observe::event::KeysSeen;
use crate::report::Report;
use crate::time::Human;
use crate::verdict::gates::orders::in_words;
use crate::verdict::result::grouped;

/// A line for people; none for the built-in gateway.
pub(super) fn line(report: &Report) -> Option<String> {
    let keys = report.summary.keys.as_ref()?;
    let known = match keys.key() {
        Some(key) => format!("requests told apart by {key}"),
        None => "requests cannot be told apart".to_owned(),
    };
    Some(format!("{known}; {}", survived(keys)))
}

/// How many of the requests that came through bore which key.
fn survived(keys: &KeysSeen) -> String {
    let all = [
        ("header", keys.header),
        ("user", keys.user),
        ("metadata", keys.metadata),
        ("prompt", keys.prompt),
    ];
    let all = all.map(|(name, n)| format!("{name} {}", grouped(n)));
    format!(
        "of {} that came through bore: {}",
        grouped(keys.rows),
        all.join(", ")
    )
}

/// A paragraph of `report.md`; nothing for the built-in gateway.
pub(super) fn markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    use std::fmt::Write;

    let (Some(gateway), Some(line)) = (&report.meta.gateway, line(report)) else {
        return Ok(());
    };
    let gateway = super::markdown::exact_code(gateway);
    writeln!(text, "Tested is another gateway: {gateway} ({line}).\n")
}

/// The orders that it was given, in `report.md`; nothing without any.
pub(super) fn orders(text: &mut String, report: &Report) -> std::fmt::Result {
    use std::fmt::Write;

    let orders = &report.summary.orders;
    if orders.is_empty() {
        return Ok(());
    }
    writeln!(text, "## Orders\n")?;
    writeln!(text, "| | at | order | answer | took |")?;
    writeln!(text, "|---:|---:|---|---|---:|")?;
    for (at, order, end) in orders {
        let status = end.as_ref().and_then(|end| end.status);
        let status = status.map(|status| status.to_string());
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            order.number,
            Human(at.elapsed()),
            in_words(order.kind),
            status.as_deref().unwrap_or("none"),
            match end {
                Some(end) => Human(end.took).to_string(),
                None => "–".to_owned(),
            },
        )?;
    }
    writeln!(text)
}
