//! What a report says of recorded traffic: what was read, what is replayed of it, and how true that is to the log.

use std::fmt::Write;

use crate::observe::meta::LogMeta;
use crate::report::Report;
use crate::report::markdown::code;
use crate::time::{Human, seconds};
use crate::traffic::log::survey::Spacing;
use crate::verdict::result::{grouped, percent, share_of};

/// The section of `report.md`; nothing when no recorded traffic was sent.
///
/// # Errors
/// Never: a text takes everything.
pub(super) fn section(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(log) = report.meta.log.as_ref().filter(|_| report.audit.is_none()) else {
        return match report.summary.recorded.total() {
            0 => Ok(()),
            _ => writeln!(text, "## Recorded answers\n\n{}\n", answers(report)),
        };
    };
    writeln!(text, "## Recorded traffic\n")?;
    writeln!(
        text,
        "{}, read as {}{}{}: {} rows over {:.1} s, sent at {}. {} rows replayed; {} stood before \
         their time and were sorted; {} share a moment with another.\n",
        code(&log.file),
        log.format,
        because(log),
        packed(log),
        grouped(log.read),
        log.recorded.span_s,
        log.speed,
        grouped(log.replayed),
        grouped(log.inversions),
        grouped(log.recorded.ties),
    )?;
    for (reason, n) in &log.dropped {
        writeln!(text, "- dropped, {reason}: {} rows", grouped(*n))?;
    }
    writeln!(text, "{}", clock(log))?;
    made(text, log)?;
    spacing(text, log)?;
    failures(text, log)?;
    if report.summary.recorded.total() > 0 {
        writeln!(text, "{}", answers(report))?;
    }
    writeln!(text)
}

/// Where the answers came from of upstreams that answer as a log says.
fn answers(report: &Report) -> String {
    let recorded = report.summary.recorded;
    format!(
        "- recorded answers: {} of the attempts at upstreams that answer as a log says were answered so; for the others a \
         profile stood in",
        share_of(recorded.from_log, recorded.total()),
    )
}

/// What makes another number of requests of its rows.
fn made(text: &mut String, log: &LogMeta) -> std::fmt::Result {
    if log.merged > 0 {
        writeln!(
            text,
            "- merged: {} rows are further attempts of a request, and sent with it",
            grouped(log.merged)
        )?;
    }
    if log.cut_short > 0 {
        writeln!(
            text,
            "- **{} requests may lack attempts**, which are sent as requests of their own: more could go on than are kept",
            grouped(log.cut_short)
        )?;
    }
    if let Some(factor) = log.scale_rate {
        writeln!(
            text,
            "- **sent {factor} times** (seeded, by conversation): {} requests are copies, which begin up to 10 s later",
            grouped(log.copies)
        )?;
    }
    if let Some(rounds) = log.rounds {
        writeln!(
            text,
            "- **{rounds} rounds**, one after the other: {} requests are of later rounds",
            grouped(log.repeated)
        )?;
    }
    match log.streams {
        0 => Ok(()),
        n => writeln!(
            text,
            "- streams: {} rows ask for one, and get one",
            grouped(n)
        ),
    }
}

/// What its times are, and where they begin.
pub(super) fn clock(log: &LogMeta) -> String {
    match (&log.origin, log.times) {
        (_, "none") => "- its times: none".to_owned(),
        (Some(origin), times) => format!("- its times: {times}; the first is {origin}"),
        (None, times) => format!("- its times: {times}, and not every row has one"),
    }
}

fn because(log: &LogMeta) -> String {
    let because = log.detected.map(|why| format!(" ({why})"));
    because.unwrap_or_default()
}

fn packed(log: &LogMeta) -> String {
    let packed = log.packed.map(|packing| format!(", packed by {packing}"));
    packed.unwrap_or_default()
}

fn spacing(text: &mut String, log: &LogMeta) -> std::fmt::Result {
    let Spacing {
        distinct,
        quantum_s,
        gap_p50_s,
        gap_p99_s,
        gap_max_s,
        gap_cv,
        rate_per_s,
        peak_per_s,
        ..
    } = &log.recorded;
    if let Some(rate) = rate_per_s {
        let peak = grouped(*peak_per_s);
        writeln!(
            text,
            "- rate, as recorded: {rate:.2}/s; at most {peak} in one second"
        )?;
    }
    if let (Some(p50), Some(p99)) = (gap_p50_s, gap_p99_s) {
        writeln!(
            text,
            "- gaps between arrivals, as recorded: median {}, p99 {}, longest {}{}; {} moments",
            Human(seconds(*p50)),
            Human(seconds(*p99)),
            Human(seconds(gap_max_s.unwrap_or_default())),
            gap_cv
                .map(|cv| format!(", variation {cv:.2}"))
                .unwrap_or_default(),
            grouped(*distinct),
        )?;
    }
    match (quantum_s, log.spread_s) {
        (_, Some(by)) => writeln!(
            text,
            "- **rows were moved** by up to {by:.3} s each (seeded), as if the log's clock had been finer"
        )?,
        (Some(quantum), None) => writeln!(
            text,
            "- the log's clock shows a grain of {quantum:.3} s: rows that came apart share a moment, and are sent in \
             bursts that may never have been (`--spread auto` moves them within the grain)"
        )?,
        (None, None) => {}
    }
    if let Some(distance) = log.gap_distance {
        writeln!(
            text,
            "- gaps as replayed differ from those recorded by {distance:.3} (Kolmogorov-Smirnov distance, 0 to 1)"
        )?;
    }
    Ok(())
}

/// What had failed when it was recorded.
fn failures(text: &mut String, log: &LogMeta) -> std::fmt::Result {
    let failed: u64 = log.failed.iter().map(|(_, n)| n).sum();
    if failed == 0 {
        return Ok(());
    }
    let kinds = log.failed.iter();
    let kinds = kinds.map(|(outcome, n)| format!("{} {outcome}", grouped(*n)));
    writeln!(
        text,
        "- the log's own failures: {} of the rows whose end it tells ({}); they are sent like any other",
        share_of(failed, log.ended),
        kinds.collect::<Vec<_>>().join(", "),
    )
}

/// The same in one line, for people.
pub(super) fn line(log: &LogMeta) -> String {
    let dropped: u64 = log.dropped.iter().map(|(_, n)| n).sum();
    let reasons = log.dropped.iter();
    let reasons: Vec<String> = reasons
        .map(|(reason, n)| format!("{} {reason}", grouped(*n)))
        .collect();
    let reasons = match reasons.is_empty() {
        true => String::new(),
        false => format!(" ({})", reasons.join(", ")),
    };
    let failed: u64 = log.failed.iter().map(|(_, n)| n).sum();
    let failed = match failed {
        0 => String::new(),
        _ => format!(
            "; {} % of it had failed when it was recorded",
            percent(failed as f64 / log.ended.max(1) as f64)
        ),
    };
    let spread = log
        .spread_s
        .map(|by| format!("; rows moved by up to {by:.3} s"));
    let some = |n: u64, what: &str| match n {
        0 => String::new(),
        n => format!(", {} {what}", grouped(n)),
    };
    let made = [
        some(log.merged, "merged as attempts"),
        some(log.copies, "copies"),
        some(log.repeated, "in later rounds"),
    ];
    format!(
        "{} rows read, {} replayed, {} dropped{reasons}{}; {:.1} s of {} at {}{failed}{}",
        grouped(log.read),
        grouped(log.replayed),
        grouped(dropped),
        made.concat(),
        log.recorded.span_s,
        log.format,
        log.speed,
        spread.unwrap_or_default(),
    )
}
